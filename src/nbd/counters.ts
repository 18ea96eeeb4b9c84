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
} as const;

export const nbdCounterCount: number = Object.keys(NbdCounter).length;

/** Counters at zero, in memory of their own or in `memory` (shared with another thread). */
export function createNbdCounters(memory?: ArrayBufferLike): Float64Array {
  return memory === undefined
    ? new Float64Array(nbdCounterCount)
    : new Float64Array(memory, 0, nbdCounterCount);
}
