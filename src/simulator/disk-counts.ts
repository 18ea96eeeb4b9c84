import type { OperationKind } from './operation-counter.ts';

/** Requests and bytes that reached the disk, counted at submission. */
export interface DiskCounts {
  reads: number;
  writes: number;
  flushes: number;
  discards: number;
  writeZeroes: number;
  bytesRead: number;
  bytesWritten: number;
  settled: number;
  failed: number;
}

/** Which count a request is one more of. */
export const countByKind: Readonly<Record<OperationKind, keyof DiskCounts>> = {
  read: 'reads',
  write: 'writes',
  flush: 'flushes',
  discard: 'discards',
  'write-zeroes': 'writeZeroes',
};

export function zeroDiskCounts(): DiskCounts {
  return {
    reads: 0,
    writes: 0,
    flushes: 0,
    discards: 0,
    writeZeroes: 0,
    bytesRead: 0,
    bytesWritten: 0,
    settled: 0,
    failed: 0,
  };
}
