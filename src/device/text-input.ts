import { closeSync, openSync } from 'node:fs';
import { refuseZeroByte } from '../io/open-error.ts';
import { readWaiting } from '../io/waiting-read.ts';
import { SetupError } from './setup-error.ts';

/** A table of a million lines would be somebody's mistake. */
export const tableBytesMax = 1_048_576;

const standardInput = 0;
const chunkBytes = 262_144;

/**
 * A text that an operator names: a file, a pipe, or `-` for standard input. No more than `bytesMax` of it is read, for it may
 * have no end (/dev/zero). `what` says in messages what it should have been. Throws `SetupError`.
 */
export function readTextInput(path: string, bytesMax: number, what: string): string {
  const chunks: Buffer[] = [];
  let length = 0;
  let descriptor = standardInput;
  try {
    refuseZeroByte(path);
    if (path !== '-') descriptor = openSync(path, 'r');
    for (;;) {
      const chunk = Buffer.alloc(chunkBytes);
      const count = readWaiting(descriptor, chunk, 0, chunk.length);
      if (count === 0) return Buffer.concat(chunks).toString('utf8');
      length += count;
      if (length > bytesMax)
        throw new SetupError('usage', `${path}: over ${bytesMax} bytes: expected ${what}`);
      chunks.push(chunk.subarray(0, count));
    }
  } catch (error) {
    if (error instanceof SetupError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const why = reasons[code] ?? (error instanceof Error ? error.message : String(error));
    const reason = code === 'ENOENT' ? 'not-found' : 'failed';
    throw new SetupError(reason, `${path}: ${why}; expected ${what}`, { cause: error });
  } finally {
    if (descriptor !== standardInput) closeSync(descriptor);
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EISDIR: 'is a directory',
  EACCES: 'permission denied',
};
