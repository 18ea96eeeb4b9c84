import { write, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import type { LineTarget } from './line-queue.ts';

const standardError = 2;
const writeDescriptor = promisify(write);

/** Under systemd the journal keeps and bounds what is written here. A reader that is slow, or gone, holds up nobody. */
export const standardErrorTarget: LineTarget = {
  open: () => Promise.resolve(),
  write: async (lines) => {
    await writeDescriptor(standardError, lines);
  },
  writeNow: (lines) => {
    if (lines.length > 0) writeSync(standardError, lines);
  },
  close: () => Promise.resolve(),
};
