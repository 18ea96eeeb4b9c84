import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  IoFlags,
  sectorBytes,
} from '../block/block-device.ts';
import type { Clock, Random } from '../block/clock.ts';
import { deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { RepeatableRandom } from '../block/repeatable-random.ts';
import { shiftedError } from '../mapping/split-request.ts';
import { escapeWord } from '../mapping/table-syntax.ts';
import type { StatusKind, Target, TargetContext, TargetType } from '../mapping/target.ts';
import { TargetError } from '../mapping/target-error.ts';
import { type CorruptedByte, corrupt, corruptedBytes, corruptedCopy } from './flakey-corruption.ts';
import { type FlakeyFeatures, formatFlakeyFeatures, parseFlakeyFeatures } from './flakey-features.ts';
import {
  openDataDevice,
  parseDeviceOffset,
  parseWholeNumber,
  unknownMessage,
  unsignedMax,
} from './target-arguments.ts';

/** Seconds of the cycle, and what goes wrong in its second part. */
interface FlakeyPlan {
  readonly upSeconds: number;
  readonly downSeconds: number;
  readonly features: FlakeyFeatures;
}

interface FlakeyParts {
  readonly context: TargetContext;
  readonly clock: Clock;
  readonly random: Random;
  readonly path: string;
  readonly below: BlockDevice;
  readonly shiftBytes: number;
}

const known = 'set UP DOWN [#FEATURES FEATURE…], seed NUMBER';

/**
 * A device that works for `upSeconds`, then misbehaves for `downSeconds`, over and over from the moment it was made. A
 * request is judged by the moment in which it comes (drivers/md/dm-flakey.c).
 */
export class FlakeyTarget implements Target {
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly capabilities: Capabilities;
  readonly devices: readonly BlockDevice[];
  /** A flush can fail, or be dropped. */
  readonly flushBypassesMap = false;
  readonly #parts: FlakeyParts;
  #plan: FlakeyPlan;
  #startMs: number;
  #random: Random;

  constructor(parts: FlakeyParts, plan: FlakeyPlan) {
    const { geometry, capabilities } = parts.below;
    this.#parts = parts;
    this.#plan = plan;
    this.#startMs = parts.clock.nowMs();
    this.#random = parts.random;
    this.logicalBlockBytes = geometry.logicalBlockBytes;
    this.physicalBlockBytes = geometry.physicalBlockBytes;
    this.capabilities = capabilities;
    this.devices = [parts.below];
  }

  read(target: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    const { below, shiftBytes } = this.#parts;
    const { features } = this.#plan;
    if (!this.#isDown()) return this.#shifted(below.read(target, offset + shiftBytes, flags));
    if (features.errorReads) return this.#fail(offset, target.length);
    const done = this.#shifted(below.read(target, offset + shiftBytes, flags));
    // What was read well is corrupted, nothing else.
    return done.then(() => {
      corrupt(target, corruptedBytes(features, this.#random, 'r', target.length, flags));
    });
  }

  write(source: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    const { below, shiftBytes } = this.#parts;
    const refusal = this.#writeRefusal(offset, source.length);
    if (refusal !== undefined) return refusal;
    const corrupted = this.#corruptedOfWrite(source.length, flags);
    const stored = corrupted.length === 0 ? source : corruptedCopy(source, corrupted);
    return this.#shifted(below.write(stored, offset + shiftBytes, flags));
  }

  flush(): Promise<void> {
    return this.#writeRefusal(0, this.#parts.context.lengthBytes) ?? this.#parts.below.flush();
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    const { below, shiftBytes } = this.#parts;
    const refusal = this.#writeRefusal(offset, length);
    return refusal ?? this.#shifted(below.discard(offset + shiftBytes, length, flags));
  }

  writeZeroes(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    const { below, shiftBytes } = this.#parts;
    const refusal = this.#writeRefusal(offset, length);
    if (refusal !== undefined) return refusal;
    const corrupted = this.#corruptedOfWrite(length, flags);
    const start = offset + shiftBytes;
    const done = below.writeZeroes(start, length, flags);
    if (corrupted.length === 0) return this.#shifted(done);
    return this.#shifted(done.then(() => this.#corruptZeroes(start, corrupted, flags)));
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#parts.below.extents(offset + this.#parts.shiftBytes, length);
  }

  /** The kernel takes no messages here and wants a new table instead. These are ours. */
  async message(words: readonly string[]): Promise<string> {
    const [name, ...rest] = words;
    switch (name?.toLowerCase()) {
      case 'set':
        this.#plan = parsePlan(rest, 'MESSAGE_ARGUMENT');
        this.#startMs = this.#parts.clock.nowMs();
        return '';
      case 'seed':
        if (rest.length !== 1) {
          throw new TargetError(
            'MESSAGE_ARGUMENT',
            `flakey: seed has ${rest.length} arguments, expected one`,
          );
        }
        this.#random = new RepeatableRandom(
          parseWholeNumber('flakey: seed', rest[0], 0, unsignedMax, 'MESSAGE_ARGUMENT'),
        );
        return '';
      default:
        throw unknownMessage('flakey', words, known);
    }
  }

  status(kind: StatusKind): string {
    if (kind === 'info') return '';
    const { path, shiftBytes } = this.#parts;
    const { upSeconds, downSeconds, features } = this.#plan;
    const place = `${escapeWord(path)} ${shiftBytes / sectorBytes}`;
    return `${place} ${upSeconds} ${downSeconds} ${formatFlakeyFeatures(features)}`;
  }

  #isDown(): boolean {
    const { upSeconds, downSeconds } = this.#plan;
    const elapsedSeconds = Math.floor((this.#parts.clock.nowMs() - this.#startMs) / 1000);
    return elapsedSeconds % (upSeconds + downSeconds) >= upSeconds;
  }

  /** The answer to a write, discard or flush that goes no further, or undefined. */
  #writeRefusal(offset: number, length: number): Promise<void> | undefined {
    const { features } = this.#plan;
    if (!(features.dropWrites || features.errorWrites) || !this.#isDown()) return undefined;
    return features.dropWrites ? Promise.resolve() : this.#fail(offset, length);
  }

  #corruptedOfWrite(length: number, flags: number): CorruptedByte[] {
    if (!this.#isDown()) return [];
    return corruptedBytes(this.#plan.features, this.#random, 'w', length, flags);
  }

  /** Zeros travel without bytes that could be changed: the blocks in question are written again. */
  async #corruptZeroes(start: number, corrupted: readonly CorruptedByte[], flags: number): Promise<void> {
    const blocks = new Map<number, CorruptedByte[]>();
    for (const { at, value } of corrupted) {
      const within = at % this.logicalBlockBytes;
      const block = blocks.get(at - within) ?? [];
      block.push({ at: within, value });
      blocks.set(at - within, block);
    }
    for (const [at, bytes] of blocks) {
      const block = corruptedCopy(new Uint8Array(this.logicalBlockBytes), bytes);
      await this.#parts.below.write(block, start + at, flags & IoFlags.fua);
    }
  }

  #fail(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.#parts.context.deviceName, 'suspect', offset, length, Errno.EIO));
  }

  #shifted(done: Promise<void>): Promise<void> {
    const { shiftBytes, context } = this.#parts;
    if (shiftBytes === 0) return done;
    return done.catch((error: unknown) => {
      throw shiftedError(context.deviceName, error, -shiftBytes);
    });
  }
}

/** `flakey DEVICE OFFSET UP DOWN [#FEATURES FEATURE…]`: OFFSET in sectors, UP and DOWN in seconds. */
export function flakeyTargetType(clock: Clock, random: Random): TargetType {
  return {
    name: 'flakey',
    usage: 'DEVICE OFFSET UP DOWN [#FEATURES FEATURE…]',
    argumentCountMin: 4,
    argumentCountMax: 16,
    async ctr(context, words) {
      const [path = '', offsetWord = '', ...planWords] = words;
      const shiftBytes = parseDeviceOffset('flakey', offsetWord);
      const plan = parsePlan(planWords, 'TARGET_ARGUMENT');
      const below = await openDataDevice('flakey', context, path, shiftBytes);
      return new FlakeyTarget({ context, clock, random, path, below, shiftBytes }, plan);
    },
  };
}

function parsePlan(words: readonly string[], code: 'TARGET_ARGUMENT' | 'MESSAGE_ARGUMENT'): FlakeyPlan {
  const [up, down, ...features] = words;
  const upSeconds = parseWholeNumber('flakey: UP in seconds', up, 0, unsignedMax, code);
  const downSeconds = parseWholeNumber('flakey: DOWN in seconds', down, 0, unsignedMax, code);
  const totalSeconds = upSeconds + downSeconds;
  if (totalSeconds < 1 || totalSeconds > unsignedMax) {
    throw new TargetError(
      code,
      `flakey: UP and DOWN are ${totalSeconds} seconds together, expected 1 to ${unsignedMax}`,
    );
  }
  return { upSeconds, downSeconds, features: parseFlakeyFeatures(features, code) };
}
