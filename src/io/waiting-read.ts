import { readSync } from 'node:fs';

/** Between two looks at an input that has nothing yet. */
const pauseMs = 5;

/**
 * As `readSync`, of an input that may be non-blocking though nobody of ours made it so: whoever only imports `process` as a module
 * has had Node make its standard input a stream. Blocks until there is something, or the end: 0.
 */
export function readWaiting(descriptor: number, buffer: Uint8Array, offset: number, length: number): number {
  const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  for (;;) {
    try {
      return readSync(descriptor, buffer, offset, length, null);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
      Atomics.wait(never, 0, 0, pauseMs);
    }
  }
}
