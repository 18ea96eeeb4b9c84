import { Command } from './constants.ts';

/** Places in the counters of a server. Plain numbers: the control plane may look at them at any time. */
export const NbdCounter = {
  reads: 0,
  writes: 1,
  flushes: 2,
  bytesRead: 3,
  bytesWritten: 4,
  /** Requests answered with an error, of the client's making or the device's. */
  errors: 5,
  /** Connections accepted and served. */
  connections: 6,
  connectionsOpen: 7,
  /** Connections closed at once because `connectionsMax` were open. */
  connectionsRefused: 8,
  /** Connections dropped because the client broke the protocol or let a deadline pass. */
  protocolErrors: 9,
  trims: 10,
  bytesTrimmed: 11,
  zeroes: 12,
  bytesZeroed: 13,
  caches: 14,
  blockStatuses: 15,
  /** Of `errors`: failed reads whose good parts were delivered all the same. */
  partialReads: 16,
} as const;

export const nbdCounterCount: number = Object.keys(NbdCounter).length;

/** Counters at zero, in memory of their own or in `memory` (shared with another thread). */
export function createNbdCounters(memory?: ArrayBufferLike): Float64Array {
  return memory === undefined
    ? new Float64Array(nbdCounterCount)
    : new Float64Array(memory, 0, nbdCounterCount);
}

/** Counts a request that succeeded. */
export function countDone(
  counters: Float64Array,
  request: { readonly command: number; readonly length: number },
): void {
  const { command, length } = request;
  switch (command) {
    case Command.read:
      counters[NbdCounter.reads]! += 1;
      counters[NbdCounter.bytesRead]! += length;
      break;
    case Command.write:
      counters[NbdCounter.writes]! += 1;
      counters[NbdCounter.bytesWritten]! += length;
      break;
    case Command.flush:
      counters[NbdCounter.flushes]! += 1;
      break;
    case Command.trim:
      counters[NbdCounter.trims]! += 1;
      counters[NbdCounter.bytesTrimmed]! += length;
      break;
    case Command.writeZeroes:
      counters[NbdCounter.zeroes]! += 1;
      counters[NbdCounter.bytesZeroed]! += length;
      break;
    case Command.cache:
      counters[NbdCounter.caches]! += 1;
      break;
    case Command.blockStatus:
      counters[NbdCounter.blockStatuses]! += 1;
      break;
  }
}
