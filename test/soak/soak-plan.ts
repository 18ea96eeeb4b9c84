import type { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { longRunSeconds } from './soak-scale.ts';

/** What main does in a session: get bad sectors that stay, or be away for a while, whole, again and again. */
export type MainTrouble = 'bad-sectors' | 'outages';

export interface SessionPlan {
  readonly seconds: number;
  readonly trouble: MainTrouble;
  readonly end: 'kill' | 'remove';
  /** A replica of the metadata is destroyed while nobody serves, after this session. */
  readonly destroysReplica: boolean;
}

const shortestSeconds = 30;
const longestSeconds = 240;
/** A short run is so many equal sessions, in which everything happens once. */
const smallRunSessions = 4;
/** Where the one long session stands, in which a leak would show. */
const longSessionIndex = 2;

/** The sessions of a run, whose seconds add up to `seconds`. */
export function planSessions(seconds: number, random: SeededRandom): SessionPlan[] {
  const plan: SessionPlan[] = [];
  for (let left = seconds, index = 0; left > 0.001; index += 1) {
    const wanted = sessionSeconds(seconds, index, random);
    // No stump is left for the end.
    const own = left - wanted < Math.min(shortestSeconds, wanted) * 0.9 ? left : wanted;
    plan.push({
      seconds: own,
      trouble: index % 4 === 1 ? 'outages' : 'bad-sectors',
      end: index % 2 === 0 || (index > 1 && random.chance(0.4)) ? 'kill' : 'remove',
      destroysReplica: index === 0 || random.chance(0.5),
    });
    left -= own;
  }
  return plan;
}

function sessionSeconds(seconds: number, index: number, random: SeededRandom): number {
  if (seconds < longRunSeconds) return seconds / smallRunSessions;
  if (index === longSessionIndex) return Math.floor(seconds / 3);
  return shortestSeconds + random.below(longestSeconds - shortestSeconds);
}
