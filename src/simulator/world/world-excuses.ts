import { sectorBytes } from '../../block/block-device.ts';
import type { DeviceError } from '../../block/device-error.ts';
import { stormGranulesMin } from '../../remap/path/write-storm.ts';
import { JudgeViolation } from './judge.ts';
import type { Excuses } from './judged-client.ts';
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
  const onePath = error.ranges.every(({ kind }) => kind === 'path');
  if (verb !== 'read' && onePath && mayLookDead(world, status?.remappedGranules ?? 0)) return;
  throw new JudgeViolation(
    `a ${verb} failed with nothing wrong but bad sectors, at ${world.clock.nowMs()} ms: ${error.message}`,
  );
}

/**
 * R16: main is so small that the storm began with the last of its granules, and all others were moved by then. If that one is
 * bad in earnest nothing is left that could show that main takes writes: those to it wait, then fail. Seen with seed 30011.
 */
function mayLookDead(world: WorldState, remappedGranules: number): boolean {
  const { mainSectors, granuleBytes } = world.plan.geometry;
  const granules = Math.ceil((mainSectors * sectorBytes) / granuleBytes);
  return granules <= stormGranulesMin && remappedGranules >= granules - 1;
}
