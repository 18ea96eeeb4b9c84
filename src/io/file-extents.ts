import type { Extent, ExtentState } from '../block/block-device.ts';
import { Errno } from '../block/errno.ts';
import { seekData, seekEnd, seekHole } from '../linux/file-seek.ts';

/** Changes between data and hole that one answer looks for: about 10 ms of a helper thread. It then covers less. */
export const extentsPerAnswerMax = 128;

/**
 * Where an image file has data, as its file system tells: holes and what was allocated and never written read as zeros. A
 * write that was acknowledged before the call is data here; of one under way nothing is promised, and a block that is a hole
 * in part counts as data. What lies behind the end of a file that was cut is data too: it must not pass for zeros.
 *
 * Runs on helper threads, for the file system may have to read its own tables from a slow disk.
 */
export async function extentsOfFile(
  fd: number,
  offset: number,
  length: number,
  blockBytes: number,
): Promise<readonly Extent[]> {
  const end = offset + length;
  const extents = new ExtentList(offset, blockBytes);
  for (let looks = 0; extents.end < end && looks < extentsPerAnswerMax; looks += 1) {
    const at = extents.end;
    const data = await seekData(fd, at);
    if (data === -Errno.ENXIO) {
      extents.add('hole', Math.min(end, await sizeNow(fd)));
      extents.add('data', end);
    } else if (data < 0) {
      // A file system that cannot tell has data everywhere.
      extents.add('data', end);
    } else if (data >= at + blockBytes) {
      extents.add('hole', Math.min(end, data));
    } else {
      const hole = await seekHole(fd, data);
      extents.add('data', hole < 0 ? end : Math.min(end, Math.max(hole, at + blockBytes)));
    }
  }
  return extents.list;
}

/** 0 where the kernel does not say: then nothing is a hole. */
async function sizeNow(fd: number): Promise<number> {
  return Math.max(0, await seekEnd(fd));
}

/** Extents in whole blocks, one after the other. */
class ExtentList {
  readonly list: Extent[] = [];
  readonly #blockBytes: number;
  /** Where the next one begins. */
  end: number;

  constructor(start: number, blockBytes: number) {
    this.end = start;
    this.#blockBytes = blockBytes;
  }

  /** Up to `end`: data to the end of the block it reaches into, a hole to the start of it. */
  add(state: ExtentState, end: number): void {
    const blocks = end / this.#blockBytes;
    const whole = (state === 'data' ? Math.ceil(blocks) : Math.floor(blocks)) * this.#blockBytes;
    const length = whole - this.end;
    if (length <= 0) return;
    const last = this.list.at(-1);
    if (last?.state === state) this.list[this.list.length - 1] = { state, length: last.length + length };
    else this.list.push({ state, length });
    this.end = whole;
  }
}
