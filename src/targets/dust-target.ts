import { type BlockDevice, type Capabilities, type Extent, sectorBytes } from '../block/block-device.ts';
import { deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { settleParts, shiftedError } from '../mapping/split-request.ts';
import { escapeWord } from '../mapping/table-syntax.ts';
import type { StatusKind, Target, TargetContext, TargetType } from '../mapping/target.ts';
import { TargetError } from '../mapping/target-error.ts';
import { DustBlocks } from './dust-blocks.ts';
import { type DustState, dustMessage } from './dust-messages.ts';
import { openDataDevice, parseDeviceOffset } from './target-arguments.ts';

/** Largest block: DUST_MAX_BLKSZ_SECTORS, 2 097 152 sectors. */
const blockBytesMax = 2 ** 30;

type Pass = (offset: number, length: number, requestOffset: number) => Promise<void>;

/**
 * A disk that grows bad blocks when told to. While enabled, reads of a bad block fail with EIO; a write of one fails as
 * often as its count says, then succeeds and makes it good. Block numbers count from the start of the device below, not
 * of the segment, as in the kernel (drivers/md/dm-dust.c).
 */
export class DustTarget implements Target {
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly capabilities: Capabilities;
  readonly devices: readonly BlockDevice[];
  readonly flushBypassesMap = true;
  readonly #deviceName: string;
  readonly #path: string;
  readonly #below: BlockDevice;
  readonly #shiftBytes: number;
  readonly #blockBytes: number;
  readonly #state: DustState;

  constructor(context: TargetContext, path: string, below: BlockDevice, offset: number, blockBytes: number) {
    this.#deviceName = context.deviceName;
    this.#path = path;
    this.#below = below;
    this.#shiftBytes = offset;
    this.#blockBytes = blockBytes;
    this.#state = {
      blocks: new DustBlocks(),
      blockNumberMax: Math.floor(below.geometry.sizeBytes / blockBytes),
      failReads: false,
      quiet: false,
    };
    this.logicalBlockBytes = below.geometry.logicalBlockBytes;
    this.physicalBlockBytes = below.geometry.physicalBlockBytes;
    this.capabilities = below.capabilities;
    this.devices = [below];
  }

  read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    const { blocks } = this.#state;
    return this.#pass(
      offset,
      target.length,
      (block) => blocks.has(block),
      (at, length, from) => this.#below.read(target.subarray(from, from + length), at, flags),
    );
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#passWrite(offset, source.length, (at, length, from) =>
      this.#below.write(source.subarray(from, from + length), at, flags),
    );
  }

  flush(): Promise<void> {
    return this.#below.flush();
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    return this.#passWrite(offset, length, (at, partLength) => this.#below.discard(at, partLength, flags));
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.#passWrite(offset, length, (at, partLength) =>
      this.#below.writeZeroes(at, partLength, flags),
    );
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#below.extents(offset + this.#shiftBytes, length);
  }

  async message(words: readonly string[]): Promise<string> {
    return dustMessage(this.#state, words);
  }

  status(kind: StatusKind): string {
    const path = escapeWord(this.#path);
    if (kind === 'table') return `${path} ${this.#shiftBytes / sectorBytes} ${this.#blockBytes}`;
    const { failReads, quiet } = this.#state;
    return `${path} ${failReads ? 'fail_read_on_bad_block' : 'bypass'} ${quiet ? 'quiet' : 'verbose'}`;
  }

  #passWrite(offset: number, length: number, pass: Pass): Promise<void> {
    const { blocks } = this.#state;
    return this.#pass(offset, length, (block) => blocks.failsWrite(block), pass);
  }

  /** Passes the good blocks of a request in runs as long as possible, and fails the bad ones, exactly. */
  #pass(offset: number, length: number, fails: (block: number) => boolean, pass: Pass): Promise<void> {
    const start = offset + this.#shiftBytes;
    if (!this.#state.failReads || this.#state.blocks.size === 0) {
      return this.#shifted(pass(start, length, 0));
    }
    const runs = this.#runs(start, length, fails);
    if (runs.length === 1 && !runs[0]!.bad) return this.#shifted(pass(start, length, 0));
    const parts = runs.map((run) =>
      run.bad
        ? Promise.reject(this.#failure(run.offset, run.length))
        : pass(run.offset, run.length, run.offset - start),
    );
    return this.#shifted(settleParts(this.#deviceName, parts));
  }

  #runs(start: number, length: number, fails: (block: number) => boolean): Run[] {
    const runs: Run[] = [];
    const end = start + length;
    for (let at = start; at < end; ) {
      const block = Math.floor(at / this.#blockBytes);
      const blockEnd = Math.min(end, (block + 1) * this.#blockBytes);
      const bad = fails(block);
      const last = runs.at(-1);
      if (last?.bad === bad) last.length += blockEnd - at;
      else runs.push({ bad, offset: at, length: blockEnd - at });
      at = blockEnd;
    }
    return runs;
  }

  /** In bytes of the device below; `#shifted` translates it with the others. */
  #failure(offset: number, length: number): Error {
    return deviceError(this.#deviceName, 'suspect', offset, length, Errno.EIO);
  }

  #shifted(done: Promise<void>): Promise<void> {
    if (this.#shiftBytes === 0) return done;
    return done.catch((error: unknown) => {
      throw shiftedError(this.#deviceName, error, -this.#shiftBytes);
    });
  }
}

interface Run {
  readonly bad: boolean;
  readonly offset: number;
  length: number;
}

/** `dust DEVICE OFFSET BLKSZ`: OFFSET in sectors, BLKSZ in bytes. */
export const dustTargetType: TargetType = {
  name: 'dust',
  usage: 'DEVICE OFFSET BLKSZ',
  argumentCountMin: 3,
  argumentCountMax: 3,
  async ctr(context, words) {
    const [path = '', offsetWord = '', blockWord = ''] = words;
    const blockBytes = parseBlockBytes(blockWord, context.lengthBytes);
    const offset = parseDeviceOffset('dust', offsetWord);
    const device = await openDataDevice('dust', context, path, offset);
    const { logicalBlockBytes } = device.geometry;
    if (blockBytes < logicalBlockBytes) {
      throw new TargetError(
        'TARGET_ARGUMENT',
        `dust: BLKSZ is ${blockBytes}, expected at least ${logicalBlockBytes}, the logical block of ${path}`,
      );
    }
    return new DustTarget(context, path, device, offset, blockBytes);
  },
};

function parseBlockBytes(word: string, segmentBytes: number): number {
  const value = /^\d{1,10}$/.test(word) ? Number(word) : 0;
  const isPowerOfTwo = Number.isInteger(Math.log2(value));
  if (value >= sectorBytes && value <= Math.min(blockBytesMax, segmentBytes) && isPowerOfTwo) return value;
  throw new TargetError(
    'TARGET_ARGUMENT',
    `dust: BLKSZ is ${word}, expected a power of two from ${sectorBytes} to ${blockBytesMax} bytes, ` +
      `not larger than the segment of ${segmentBytes} bytes`,
  );
}
