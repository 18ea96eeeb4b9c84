import type { DeviceError } from '../../block/device-error.ts';
import { JudgeViolation } from './judge.ts';
import type { Excuses } from './judged-client.ts';
import { looksDead } from './looks-dead.ts';
import { countOne } from './world-outcome.ts';
import { answered, type Session, type WorldState } from './world-state.ts';

/** Why a request of this session may fail. `acknowledged`: called behind every acknowledgement. */
export function excusesOf(world: WorldState, session: Session, acknowledged: () => void): Excuses {
  return {
    allowFailure: (verb, error, sinceMs) => allowFailure(world, session, verb, error, sinceMs),
    honest: () => isHonest(world),
    nowMs: () => world.clock.nowMs(),
    acknowledged,
    answered: (request) => answered(world, session, request),
  };
}

/** No disk has lied about a flush in a way that a power cut now would show. */
export function isHonest(world: WorldState): boolean {
  return !world.main.owesLiedWrites && !world.spare.owesLiedWrites;
}

function allowFailure(
  world: WorldState,
  session: Session,
  verb: string,
  error: DeviceError,
  sinceMs: number,
): void {
  countOne(world.outcome.failedRequests, verb);
  if (world.trouble.met(sinceMs)) return;
  const status = session.device?.status();
  const aboutSectors = error.ranges.every(({ kind }) => kind === 'medium' || kind === 'suspect');
  const mayBeFull = status?.slotsFree === 0 || world.spare.faults.badSectorCount > 0;
  if (verb !== 'read' && verb !== 'flush' && aboutSectors && mayBeFull) return;
  const isReadOnly = status?.slotsFree === 0 && status.policies['on-spare-full'] === 'read-only';
  if (verb !== 'read' && isReadOnly && error.ranges.every(({ kind }) => kind === 'refused')) return;
  if (verb !== 'read' && session.spareTrouble && status?.state === 'metadata-failed') return;
  const mainBad = world.main.faults.badSectors();
  const isPath = error.ranges.every(({ kind }) => kind === 'path');
  if (verb !== 'read' && isPath && looksDead(world.plan.geometry, mainBad, status?.remappedGranules ?? 0))
    return;
  throw new JudgeViolation(
    `a ${verb} failed with nothing wrong but bad sectors, at ${world.clock.nowMs()} ms: ${error.message}`,
  );
}
