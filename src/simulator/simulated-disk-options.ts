import type { Capabilities } from '../block/block-device.ts';
import type { Clock } from '../block/clock.ts';
import type { OperationCounter, OperationKind, OperationPhase } from './operation-counter.ts';
import type { PagedImage } from './paged-image.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SectorFault } from './simulated-faults.ts';
import type { PowerCutLoss } from './simulated-media.ts';

/** One device operation, as the world hears of it while it happens. */
export interface DiskOperation {
  readonly disk: { readonly name: string; powerCut(): void };
  readonly phase: OperationPhase;
  readonly offset: number;
  readonly length: number;
}

/** A fault that is not of the medium has just met a request. */
export interface FaultStrike {
  /** Of the disk. */
  readonly name: string;
  readonly fault: 'transient' | 'partial-write' | 'stuck' | 'delay' | 'path' | 'flush' | 'lying-flush';
  readonly kind: OperationKind;
  readonly offset: number;
  readonly length: number;
  /** What the request is answered; 0 when it is not an error. */
  readonly errno: number;
  /** How long the request is kept, as far as that is known. */
  readonly lastsMs: number;
}

export interface SimulatedDiskOptions {
  readonly name: string;
  /** A multiple of the logical block. */
  readonly sizeBytes: number;
  readonly logicalBlockBytes?: number;
  readonly physicalBlockBytes?: number;
  readonly clock: Clock;
  /** Forked by the disk's name: disks of one world may be given the same one. */
  readonly random: SeededRandom;
  /** `volatile` (default): a write that is not flushed may be lost. `none`: every write is durable when it settles. */
  readonly writeCache?: 'volatile' | 'none';
  readonly capabilities?: Partial<Capabilities>;
  /** Virtual milliseconds of one request; one in 50 takes ten times as long. */
  readonly latencyMinMs?: number;
  readonly latencyMaxMs?: number;
  /** Every request is done and answered before its call returns: no time passes. Default false. */
  readonly immediate?: boolean;
  /** Nobody will cut the power: writes go to the media as a whole, which is a quarter of the work. Only with `immediate`. */
  readonly writeThrough?: boolean;
  /** What the media holds; zeros by default. */
  readonly image?: PagedImage;
  readonly badSectors?: ReadonlyMap<number, SectorFault>;
  /** Failed ranges name the bad blocks only. By default the whole request fails, as real disks report it. */
  readonly exactRanges?: boolean;
  readonly onStrike?: (strike: FaultStrike) => void;
  /** A write is about to succeed on a sector that fails reads and is not healed by it. Before it takes effect. */
  readonly onBlindWrite?: (sector: number, bytes: Uint8Array) => void;
  /** Called when a failing flush, or an unplugging, has thrown away what was not flushed. */
  readonly onCacheDropped?: (loss: PowerCutLoss) => void;
  /** Shared by the disks of a world, so that operation N is one moment in it. */
  readonly counter?: OperationCounter;
  /** Called at every submission and before every settlement; may cut the power then and there. */
  readonly onOperation?: (operationNumber: number, kind: OperationKind, operation: DiskOperation) => void;
}
