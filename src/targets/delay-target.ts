import type { BlockDevice, Capabilities, Extent } from '../block/block-device.ts';
import type { Clock } from '../block/clock.ts';
import { sharedCapabilities } from '../mapping/shared-capabilities.ts';
import type { StatusKind, Target, TargetContext, TargetType } from '../mapping/target.ts';
import { TargetError } from '../mapping/target-error.ts';
import { DelayLane, type DelayPlace } from './delay-lane.ts';
import {
  openDataDevice,
  parseDeviceOffset,
  parseWholeNumber,
  unknownMessage,
  unsignedMax,
} from './target-arguments.ts';

/** Reads, writes, flushes: one lane each, and as many as the table line has triples are of its own. */
interface Lanes {
  readonly read: DelayLane;
  readonly write: DelayLane;
  readonly flush: DelayLane;
}

const known = 'set DELAY [WRITE_DELAY [FLUSH_DELAY]]';

/**
 * A device, or one for reads, one for writes and one for flushes, whose requests wait before they are sent. What waits is
 * bounded by whoever sends it. Suspending and closing send on at once (drivers/md/dm-delay.c).
 */
export class DelayTarget implements Target {
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly capabilities: Capabilities;
  readonly devices: readonly BlockDevice[];
  /** A flush waits too. */
  readonly flushBypassesMap = false;
  readonly #lanes: Lanes;
  /** Triples in the table line: 1, 2 or 3. */
  #tripleCount: number;

  constructor(lanes: Lanes, tripleCount: number) {
    this.#lanes = lanes;
    this.#tripleCount = tripleCount;
    this.devices = [...new Set([lanes.read.below, lanes.write.below, lanes.flush.below])];
    const geometries = this.devices.map((device) => device.geometry);
    this.logicalBlockBytes = Math.max(...geometries.map((geometry) => geometry.logicalBlockBytes));
    this.physicalBlockBytes = Math.max(...geometries.map((geometry) => geometry.physicalBlockBytes));
    this.capabilities = sharedCapabilities(this.devices.map((device) => device.capabilities));
  }

  read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#lanes.read.send(offset, (below, at) => below.read(target, at, flags));
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#lanes.write.send(offset, (below, at) => below.write(source, at, flags));
  }

  /**
   * The kernel flushes the device for flushes only. Where that is not the one for writes, that one is flushed as well: a
   * flush that succeeded without it would promise what nobody did.
   */
  flush(): Promise<void> {
    const { write, flush } = this.#lanes;
    return flush.hold(async () => {
      if (flush.below !== write.below) await write.below.flush();
      await flush.below.flush();
    });
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    return this.#lanes.write.send(offset, (below, at) => below.discard(at, length, flags));
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.#lanes.write.send(offset, (below, at) => below.writeZeroes(at, length, flags));
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    const { read } = this.#lanes;
    return read.below.extents(offset + read.shiftBytes, length);
  }

  /** `set` is ours: the kernel wants a table of its own for it. Requests that wait already keep their time. */
  async message(words: readonly string[]): Promise<string> {
    const [name, ...delays] = words;
    if (name?.toLowerCase() !== 'set') throw unknownMessage('delay', words, known);
    if (delays.length < 1 || delays.length > 3) {
      throw new TargetError(
        'MESSAGE_ARGUMENT',
        `delay: set has ${delays.length} arguments, expected ${known}`,
      );
    }
    const [read, write = read, flush = write] = delays.map((word) => parseDelay(word, 'MESSAGE_ARGUMENT'));
    this.#lanes.read.delayMs = read!;
    this.#lanes.write.delayMs = write!;
    this.#lanes.flush.delayMs = flush!;
    this.#tripleCount = Math.max(this.#tripleCount, delays.length);
    return '';
  }

  /** Info: how many reads, writes and flushes wait. */
  status(kind: StatusKind): string {
    const lanes = this.#allLanes();
    if (kind === 'info') return lanes.map((lane) => lane.waiting).join(' ');
    return lanes
      .slice(0, this.#tripleCount)
      .map((lane) => lane.describe())
      .join(' ');
  }

  resume(): Promise<void> {
    for (const lane of this.#allLanes()) lane.resume();
    return Promise.resolve();
  }

  presuspend(): void {
    for (const lane of this.#allLanes()) lane.sendAllNow();
  }

  async dtr(): Promise<void> {
    this.presuspend();
    await Promise.all(this.#allLanes().map((lane) => lane.idle()));
  }

  #allLanes(): DelayLane[] {
    return [this.#lanes.read, this.#lanes.write, this.#lanes.flush];
  }
}

/**
 * `delay DEVICE OFFSET DELAY [WRITE_DEVICE WRITE_OFFSET WRITE_DELAY [FLUSH_DEVICE FLUSH_OFFSET FLUSH_DELAY]]`: OFFSET in
 * sectors, DELAY in milliseconds. Writes go where reads go without a second triple, flushes where writes go without a
 * third.
 */
export function delayTargetType(clock: Clock): TargetType {
  return {
    name: 'delay',
    usage: 'DEVICE OFFSET DELAY [DEVICE OFFSET DELAY [DEVICE OFFSET DELAY]]',
    argumentCountMin: 3,
    argumentCountMax: 9,
    async ctr(context, words) {
      if (words.length % 3 !== 0) {
        throw new TargetError(
          'TARGET_ARGUMENT',
          `delay: ${words.length} arguments, expected 3, 6 or 9: DEVICE OFFSET DELAY for reads, writes, flushes`,
        );
      }
      const read = await openPlace(context, words, 0);
      const write = words.length < 6 ? read : await openPlace(context, words, 3);
      const flush = words.length < 9 ? write : await openPlace(context, words, 6);
      const lane = (place: DelayPlace) => new DelayLane(clock, context.deviceName, place);
      return new DelayTarget({ read: lane(read), write: lane(write), flush: lane(flush) }, words.length / 3);
    },
  };
}

async function openPlace(
  context: TargetContext,
  words: readonly string[],
  first: number,
): Promise<DelayPlace> {
  const path = words[first] ?? '';
  const offset = parseDeviceOffset('delay', words[first + 1] ?? '');
  const delayMs = parseDelay(words[first + 2], 'TARGET_ARGUMENT');
  const below = await openDataDevice('delay', context, path, offset);
  return { path, below, shiftBytes: offset, delayMs };
}

function parseDelay(word: string | undefined, code: 'TARGET_ARGUMENT' | 'MESSAGE_ARGUMENT'): number {
  return parseWholeNumber('delay: DELAY in milliseconds', word, 0, unsignedMax, code);
}
