/**
 * Memory for one move, one piece of the arena: two pieces taken one after the other could be what two moves have of each
 * other's. Taken before the lock, never under it (I14).
 */
export function relocationBufferBytes(granuleBytes: number): number {
  return 3 * granuleBytes;
}

/** The parts of a move's memory: the new bytes of the granule; the slot's bytes, and behind them the same read back. */
export function relocationBuffers(
  memory: Uint8Array,
  granuleBytes: number,
): { bytes: Uint8Array; buffer: Uint8Array } {
  return { bytes: memory.subarray(2 * granuleBytes), buffer: memory.subarray(0, 2 * granuleBytes) };
}
