import type { RemapDevice } from '../../remap/remap-device.ts';
import { JudgeViolation } from './judge.ts';
import { answered, type Session, type WorldState } from './world-state.ts';

/** I17: what is on the spare had a reason to go there. */
export async function judgeMoved(world: WorldState, session: Session, device: RemapDevice): Promise<void> {
  const list = await answered(world, session, device.message(['list']));
  for (const line of list.split('\n')) {
    // Past the narrowing budget whole granules go, listed as such (R19).
    if (line === '' || line.endsWith(' unverified')) continue;
    if (world.trouble.hadReasonToMove(Number.parseInt(line, 10))) continue;
    throw new JudgeViolation(`I17: nothing was ever wrong with this granule, and it was moved: ${line}`);
  }
}
