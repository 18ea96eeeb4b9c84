import { SeededRandom } from '../seeded-random.ts';
import type { PlannedStep, Step } from './world-plan.ts';

/** Worlds in which somebody scrubs the device while clients work and disks fail. */
const scrubbedShare = 0.12;
/** Says when to scrub, and does nothing else: no other client of a plan has this number. */
const scrubbing = 103;

const words: readonly (readonly string[])[] = [
  ['scrub', 'start'],
  ['scrub', 'start'],
  ['scrub', 'pause'],
  ['scrub', 'resume'],
  ['scrub', 'resume'],
  ['scrub', 'stop'],
  ['scrub'],
  ['policy', 'scrub-rate', '0'],
  ['policy', 'slow-read', 'move'],
];

/** From chance of its own: worlds without it are as they were. Undefined: nobody scrubs, and no scrubber is there. */
export function drawScrubs(seed: number, sessions: number): readonly PlannedStep[] | undefined {
  const random = new SeededRandom(seed).fork('scrubs');
  if (!random.chance(scrubbedShare)) return undefined;
  const steps: PlannedStep[] = [];
  for (let session = 0; session < sessions; session += 1) {
    const add = (step: Step): void => void steps.push({ session, client: scrubbing, step });
    add({ verb: 'message', words: ['scrub', 'start'] });
    for (let count = 2 + random.below(6); count > 0; count -= 1) {
      add({ verb: 'pause', forMs: random.below(random.chance(0.3) ? 15_000 : 400) });
      add({ verb: 'message', words: random.pick(words) });
    }
  }
  return steps;
}
