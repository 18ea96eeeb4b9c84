import type { OperationKind } from '../operation-counter.ts';
import type { RequestDelay } from '../simulated-faults.ts';
import type { WorldGeometry } from './world-geometry.ts';

export type DiskName = 'main' | 'spare';

export interface SectorRange {
  readonly sector: number;
  readonly sectorCount: number;
}

/** Something goes wrong with a disk; with a range: with requests that touch it. */
export type FaultStep =
  | {
      readonly fault: 'bad';
      readonly sector: number;
      readonly sectorCount: number;
      readonly on: 'read' | 'write' | 'both';
      /** Writes succeed all the same and heal nothing: only reading back tells (R24). */
      readonly blind: boolean;
    }
  | ({
      readonly fault: 'fail';
      readonly kinds: readonly OperationKind[];
      readonly errno: number;
      readonly count: number;
    } & Partial<SectorRange>)
  /** The block of the spare that this sector was moved to; nothing when it was not. */
  | { readonly fault: 'slot'; readonly sector: number; readonly on: 'read' | 'write' | 'both' }
  | { readonly fault: 'partial-write'; readonly errno: number }
  | { readonly fault: 'stuck'; readonly kinds: readonly OperationKind[]; readonly forMs: number }
  | ({
      readonly fault: 'delay';
      readonly kinds: readonly OperationKind[];
      readonly delay: RequestDelay;
      /** Default 1. */
      readonly count?: number;
    } & Partial<SectorRange>)
  | { readonly fault: 'path'; readonly errno: number; readonly forMs: number }
  | { readonly fault: 'unplugged'; readonly forMs: number }
  /** Another disk is in its place for the second half of the time. */
  | { readonly fault: 'swapped'; readonly forMs: number }
  /** A segment of the table over main misbehaves; `amount` says how. */
  | { readonly fault: 'target'; readonly segment: number; readonly amount: number; readonly forMs: number }
  | { readonly fault: 'failing-flush' }
  | { readonly fault: 'lying-flush'; readonly count: number };

/** One thing that happens. A client does its steps one after the other, the clients of a session do theirs together. */
export type Step =
  | ({ readonly verb: 'write'; readonly fua: boolean; readonly inSectors?: boolean } & SectorRange)
  /** `inSectors`: by a client that never asked for block sizes (R11). */
  | ({ readonly verb: 'read'; readonly inSectors?: boolean } & SectorRange)
  /** `raw-read`: of main beside the device (R29). */
  | ({
      readonly verb: 'discard' | 'write-zeroes' | 'fast-zeroes' | 'raw-read' | 'extents';
    } & SectorRange)
  | { readonly verb: 'flush' | 'repair-replicas' }
  | { readonly verb: 'pause'; readonly forMs: number }
  | { readonly verb: 'message'; readonly words: readonly string[] }
  | { readonly verb: 'suspend'; readonly forMs: number; readonly flush: boolean }
  | { readonly verb: 'fault'; readonly disk: DiskName; readonly what: FaultStep };

export interface PlannedStep {
  readonly session: number;
  readonly client: number;
  readonly step: Step;
}

/** How one run of the process ends. */
export interface SessionEnd {
  readonly how: 'close' | 'power' | 'kill';
  /** Device operations after its beginning; when the work is done before, it ends then. */
  readonly afterOperations: number;
}

/** A part of main that is seen through a target, at its own place. */
export interface MainSegment {
  readonly target: 'linear' | 'dust' | 'flakey' | 'delay';
  readonly sector: number;
  readonly sectorCount: number;
}

/** Everything that is to happen in one world, drawn before it begins, so that steps can be left out. */
export interface WorldPlan {
  readonly seed: number;
  readonly geometry: WorldGeometry;
  /** The table that main is seen through; undefined: none. */
  readonly mainSegments: readonly MainSegment[] | undefined;
  /** Somebody looks after scrubs, as in a process that serves a device. */
  readonly isScrubbed: boolean;
  readonly sessions: readonly SessionEnd[];
  readonly steps: readonly PlannedStep[];
}

/** What is left of a plan: what the line that repeats a failure says. */
export interface PlanCut {
  readonly seed: number;
  /** Indices of the steps that stay; all when absent. */
  readonly steps?: readonly number[];
  /** Sessions that stay; all when absent. */
  readonly sessions?: number;
  /** Every step is done by one client, in their order. */
  readonly oneClient?: boolean;
}

export function cutPlan(plan: WorldPlan, cut: PlanCut): WorldPlan {
  const kept = cut.steps?.map((index) => plan.steps[index]!) ?? plan.steps;
  const sessions = plan.sessions.slice(0, cut.sessions ?? plan.sessions.length);
  const steps = kept
    .filter(({ session }) => session < sessions.length)
    .map((planned) => (cut.oneClient === true ? { ...planned, client: 0 } : planned));
  return { ...plan, sessions, steps };
}
