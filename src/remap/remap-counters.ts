/** Whole numbers since the device was opened, or since `clear_stats`. Nothing decides by them. */
export interface RemapCounters {
  mainWriteErrors: number;
  mainReadErrors: number;
  spareErrors: number;
  remaps: number;
  rewritesInPlace: number;
  readsSaved: number;
  lostReads: number;
  /** Sectors never written that were answered as zeros (R13). */
  freshZeros: number;
  /** Writes that were answered with an error of a disk, in whole or in part. */
  failedWrites: number;
  /** Writes that a disk refused for want of room (R15): the file system of an image, or a thin volume, is full. */
  writesWithoutRoom: number;
  verifyMismatches: number;
  lazyCommitsFailed: number;
  /** Granules that went back to main. */
  takenHome: number;
  /** Granules that the salvager could not take, or gave up: the next read asks main anew. */
  salvageDropped: number;
  /** Granules moved because main gave them only when asked again. */
  salvagedGranules: number;
  /** Replies of reads in which zeroes stand for lost sectors (R12). */
  zeroedReads: number;
}

export function newCounters(): RemapCounters {
  return {
    mainWriteErrors: 0,
    mainReadErrors: 0,
    spareErrors: 0,
    remaps: 0,
    rewritesInPlace: 0,
    readsSaved: 0,
    lostReads: 0,
    freshZeros: 0,
    failedWrites: 0,
    writesWithoutRoom: 0,
    verifyMismatches: 0,
    lazyCommitsFailed: 0,
    takenHome: 0,
    salvageDropped: 0,
    salvagedGranules: 0,
    zeroedReads: 0,
  };
}

/** `clear_stats`. */
export function clearCounters(counters: RemapCounters): void {
  Object.assign(counters, newCounters());
}
