import type { MappedDevice } from '../../mapping/mapped-device.ts';
import type { MetadataStore } from '../../metadata/metadata-store.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import type { Scrubber } from '../../scrub/scrubber.ts';
import type { SimulatedDisk } from '../simulated-disk.ts';
import type { GenerationClock, VirtualClock } from '../virtual-clock.ts';
import { type Judge, JudgeViolation } from './judge.ts';
import type { JudgedClient } from './judged-client.ts';
import type { StackParts } from './simulated-stack.ts';
import type { Trouble } from './trouble.ts';
import type { WorldOutcome } from './world-outcome.ts';
import type { SessionEnd, WorldPlan } from './world-plan.ts';

/** R36: no request is unanswered for longer, whatever the disks of these worlds do. */
const requestMaxMs = 240_000;

/** One run of the process that has opened the device. */
export interface Session {
  readonly clock: GenerationClock;
  stack: StackParts;
  /** Over main, in worlds that have it. */
  targets: MappedDevice | undefined;
  readonly end: SessionEnd;
  device: RemapDevice | undefined;
  metadata: MetadataStore | undefined;
  /** In worlds that have it. */
  scrubber: Scrubber | undefined;
  readonly clients: JudgedClient[];
  operations: number;
  /** The spare did not do what it was asked, so that the metadata may have failed for good. */
  spareTrouble: boolean;
}

/** What the parts of one world share. */
export interface WorldState {
  readonly plan: WorldPlan;
  readonly clock: VirtualClock;
  readonly judge: Judge;
  readonly main: SimulatedDisk;
  readonly spare: SimulatedDisk;
  readonly trouble: Trouble;
  readonly outcome: WorldOutcome;
  /** The process that runs now; undefined while none does. */
  session: Session | undefined;
  violation: JudgeViolation | undefined;
  /** The spare lost what a flush had promised, and was not opened since: it may be refused, as documented. */
  spareLied: boolean;
}

/**
 * An answer that the client really gets, in time. The power can go while microtasks are still carrying an answer upwards:
 * such a one never leaves the machine.
 */
export async function answered<T>(world: WorldState, session: Session, request: Promise<T>): Promise<T> {
  const watchdog = world.clock.schedule(requestMaxMs, () => {
    if (world.session !== session) return;
    world.violation ??= new JudgeViolation(`R36: a request is not answered after ${requestMaxMs} ms`);
  });
  try {
    return await whileAlive(world, session, request);
  } finally {
    watchdog.cancel();
  }
}

/** As `answered`, for what may take as long as it likes. */
export async function whileAlive<T>(world: WorldState, session: Session, request: Promise<T>): Promise<T> {
  try {
    return await request;
  } finally {
    if (world.session !== session) await new Promise<never>(() => {});
  }
}
