import { initialVersion } from './contents.ts';

/** Versions, ascending by birth. Never changed, only replaced: forks and tokens share them. */
export type Versions = readonly number[];

export const none: Versions = [];
const firstOnly: Versions = [initialVersion];

/** A write that was answered while others of its sector were under way: which of them is the last, nobody can say. */
export interface Rival {
  readonly version: number;
  /** Those that were under way then. */
  readonly others: Versions;
}

const noRivals: readonly Rival[] = [];

/** What a judge knows of every sector. */
export interface SectorModels {
  /** What a read may give now. One version unless a write failed, a flush failed or the power was cut. */
  readonly allowed: Versions[];
  /** What a read may give after a power cut: the last flushed version and all that came since. */
  readonly afterPowerCut: Versions[];
  /** As `afterPowerCut` when no flush that a lie may be behind counts. */
  readonly afterLie: Versions[];
  /** Writes that are under way. */
  readonly inFlight: Versions[];
  /** Writes that ended beside those. None when none is under way. */
  readonly rivals: (readonly Rival[])[];
  /** Of these: what a disk has already thrown away again. */
  readonly dropped: Versions[];
  /** No older version may come back, whatever happens. */
  readonly durable: Float64Array;
  /** Flushes do not vouch for versions up to this one. */
  readonly doubtful: Float64Array;
  /** Moments of the last write's begin, of anything that happened to a sector, and of the last fault. */
  readonly touched: Float64Array;
  readonly wentBad: Float64Array;
  /** 1: an acknowledged write has covered it since its place went bad: no read may fail any more. */
  readonly safe: Uint8Array;
  /** 1: a disk that lied about a flush has lost what this sector depends on: anything may be there until it is written. */
  readonly excused: Uint8Array;
  /** 1: so it would be again, should the power go: what has been written since is not flushed. */
  readonly excusedIfCut: Uint8Array;
}

export function newModels(count: number): SectorModels {
  return {
    allowed: new Array<Versions>(count).fill(firstOnly),
    afterPowerCut: new Array<Versions>(count).fill(firstOnly),
    afterLie: new Array<Versions>(count).fill(firstOnly),
    inFlight: new Array<Versions>(count).fill(none),
    rivals: new Array<readonly Rival[]>(count).fill(noRivals),
    dropped: new Array<Versions>(count).fill(none),
    durable: new Float64Array(count),
    doubtful: new Float64Array(count).fill(-1),
    touched: new Float64Array(count),
    wentBad: new Float64Array(count),
    safe: new Uint8Array(count).fill(1),
    excused: new Uint8Array(count),
    excusedIfCut: new Uint8Array(count),
  };
}

export function copyModels(from: SectorModels): SectorModels {
  return {
    allowed: from.allowed.slice(),
    afterPowerCut: from.afterPowerCut.slice(),
    afterLie: from.afterLie.slice(),
    inFlight: from.inFlight.slice(),
    rivals: from.rivals.slice(),
    dropped: from.dropped.slice(),
    durable: from.durable.slice(),
    doubtful: from.doubtful.slice(),
    touched: from.touched.slice(),
    wentBad: from.wentBad.slice(),
    safe: from.safe.slice(),
    excused: from.excused.slice(),
    excusedIfCut: from.excusedIfCut.slice(),
  };
}
