import { PagedArena } from '../../../src/block/buffer-arena.ts';
import { DeviceError } from '../../../src/block/device-error.ts';
import { FilterDevice } from '../../../src/block/filter-device.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import type { SpareLayout } from '../../../src/metadata/layout.ts';
import {
  type HostIdentity,
  MetadataError,
  MetadataStore,
  type OpenedMetadata,
} from '../../../src/metadata/metadata-store.ts';
import { MessageError } from '../../../src/remap/message/message-error.ts';
import { openRemapDevice, RemapOpenError } from '../../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../../src/remap/remap-device.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';
import { tableOf } from '../../metadata/metadata-fixture.ts';
import { expecting, type FuzzSession, isOutOfBounds, must } from '../engine/fuzz-target.ts';
import { blockBytes, type PlacedBlock, readSpareImages, type SpareImage } from './spare-image.ts';
import { readProgram, runProgram, type SpareProgram } from './spare-program.ts';

/** Which blocks an input is about, and what is in them. */
export interface SpareAspect {
  readonly blocksOf: (image: SpareImage) => readonly PlacedBlock[];
  /** Byte offsets in a block. */
  readonly fields: readonly number[];
}

const mainBytes = 64 << 20;
const eventsMax = 20_000;
/** The first 64 KiB of a spare belong to others. */
const firstOwnOffset = 64 * 1024;
const host: HostIdentity = {
  machineId: '11'.repeat(16),
  bootId: '22'.repeat(16),
  pid: 4242,
  startTicks: 1,
  hostName: 'fuzz',
  isRunning: () => false,
};

interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Notes what is written. */
export class WatchedSpare extends FilterDevice {
  readonly written: Range[] = [];

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    this.written.push({ offset, length: source.length });
    return this.below.write(source, offset, flags);
  }

  override writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    this.written.push({ offset, length });
    return this.below.writeZeroes(offset, length, flags);
  }

  override discard(offset: number, length: number, flags?: number): Promise<void> {
    this.written.push({ offset, length });
    return this.below.discard(offset, length, flags);
  }
}

const isMetadataError = (error: unknown): boolean => error instanceof MetadataError;

/** Opens, serves, closes and opens again what inputs make of golden images. */
export class SpareSession implements FuzzSession {
  readonly #aspect: SpareAspect;
  readonly #images = readSpareImages();
  readonly #main = new MemoryDevice({ name: 'main', sizeBytes: mainBytes, physicalBlockBytes: blockBytes });
  readonly #disks = new Map<SpareImage, MemoryDevice>();
  readonly #arena = new PagedArena(new ArrayBuffer(1 << 20), {
    remapBytes: 256 << 10,
    metadataBytes: 128 << 10,
    poison: true,
  });
  /** Of the execution that goes on. */
  #clock = newClock();
  #spare: WatchedSpare | undefined;

  constructor(aspect: SpareAspect) {
    this.#aspect = aspect;
  }

  async run(input: Buffer): Promise<void> {
    const program = readProgram(input, this.#images);
    const { image } = program;
    const disk = this.#diskOf(image);
    const changed = runProgram(program, disk.bytes, this.#aspect.blocksOf(image), this.#aspect.fields);
    const watched = new WatchedSpare(disk);
    this.#spare = watched;
    this.#clock = newClock();
    await this.#openAndUse(program, changed, watched);
    must(this.#arena.usedBytes === 0, `${this.#arena.usedBytes} bytes of memory are left`);
    // Copying all of it for each execution took longer than opening it.
    for (const { offset } of [...image.superblocks, ...changed]) restore(disk, image, offset, blockBytes);
    for (const { offset, length } of watched.written) restore(disk, image, offset, length);
  }

  #diskOf(image: SpareImage): MemoryDevice {
    const known = this.#disks.get(image);
    if (known !== undefined) return known;
    const { length: sizeBytes } = image.bytes;
    const disk = new MemoryDevice({ name: 'spare', sizeBytes, physicalBlockBytes: blockBytes });
    disk.bytes.set(image.bytes);
    this.#disks.set(image, disk);
    return disk;
  }

  async #openAndUse(
    program: SpareProgram,
    changed: ReadonlySet<PlacedBlock>,
    { written }: WatchedSpare,
  ): Promise<void> {
    const opened = await this.#open(program);
    must(written.length === 0, 'opening has written');
    if (opened === undefined) {
      must(!isSafe(program, changed), 'one replica is as it was, and the spare is refused');
      return;
    }
    if (isSafe(program, changed)) mustHaveAll(opened, program.image);
    const device = await this.#settle(opened);
    mustBeInside(written, opened.layout);
    if (device !== undefined) await this.#use(device, opened);
  }

  #open(program: SpareProgram): Promise<OpenedMetadata | undefined> {
    const options = { force: program.forces, ...(program.asksHost ? { host } : {}) };
    return expecting(this.#clock.run(MetadataStore.open(this.#parts(), options)), isMetadataError);
  }

  #settle(metadata: OpenedMetadata): Promise<RemapDevice | undefined> {
    const { spare, arena, clock } = this.#parts();
    return expecting(
      clock.run(openRemapDevice({ main: this.#main, spare, metadata, arena, clock })),
      (error) => isMetadataError(error) || error instanceof RemapOpenError,
    );
  }

  /** A few requests and a move; then the table is what it was. */
  async #use(device: RemapDevice, opened: OpenedMetadata): Promise<void> {
    const clock = this.#clock;
    const isTyped = (error: unknown): boolean =>
      (error instanceof DeviceError && !isOutOfBounds(error)) ||
      error instanceof MessageError ||
      error instanceof MetadataError;
    const block = new Uint8Array(device.geometry.physicalBlockBytes);
    mustBeApart((await expecting(clock.run(device.message(['list', 'blocks'])), isTyped)) ?? '');
    const last = device.geometry.sizeBytes - device.geometry.logicalBlockBytes;
    await expecting(
      clock.run(device.read(block.subarray(0, device.geometry.logicalBlockBytes), last)),
      isTyped,
    );
    for (const granule of [0, 17, 1000]) {
      const offset = granule * block.length;
      if (offset + block.length > device.geometry.sizeBytes) continue;
      await expecting(clock.run(device.read(block, offset)), isTyped);
      await expecting(clock.run(device.write(block, offset)), isTyped);
      await expecting(clock.run(device.message(['remap', String(offset / 512)])), isTyped);
    }
    await expecting(clock.run(device.flush()), isTyped);
    const list = await expecting(clock.run(device.message(['list', 'blocks'])), isTyped);
    const lost = await expecting(clock.run(device.message(['lost'])), isTyped);
    mustBeApart(list ?? '');
    await expecting(clock.run(device.close()), isTyped);
    for (const { offset, length } of this.#spare!.written) mustBeOnSpare(offset, length, opened.layout);
    const again = await this.#settle(await clock.run(MetadataStore.open(this.#parts())));
    must(again !== undefined, 'it was served, and is refused now');
    mustBeSame('the table', list, await clock.run(again.message(['list', 'blocks'])));
    mustBeSame('lost sectors', lost, await clock.run(again.message(['lost'])));
    await clock.run(again.close());
  }

  #parts(): {
    readonly spare: WatchedSpare;
    readonly arena: PagedArena;
    readonly clock: VirtualClock;
    readonly random: SeededRandom;
  } {
    return {
      spare: this.#spare!,
      arena: this.#arena,
      clock: this.#clock,
      random: new SeededRandom('process'),
    };
  }
}

function restore(disk: MemoryDevice, image: SpareImage, offset: number, length: number): void {
  disk.bytes.set(image.bytes.subarray(offset, offset + length), offset);
}

function newClock(): VirtualClock {
  return new VirtualClock(new SeededRandom('clock'), { eventsMax });
}

/**
 * Undefined where the device did not tell. The first line that differs is named. `fresh-zero` of a moved block says nothing,
 * and is dropped when the block is looked at.
 */
function mustBeSame(what: string, before: string | undefined, after: string): void {
  if (before === undefined) return;
  const [lines = [], now = []] = [before, after].map((text) =>
    text.replaceAll(' fresh-zero', '').split('\n'),
  );
  const at = lines.findIndex((line, index) => line !== now[index]);
  const isSame = at < 0 && lines.length === now.length;
  must(isSame, `${what} before: ${lines[at]}; after opening again: ${now[at]}`);
}

/** I15: no two granules in one place of the spare, of the lines `MAIN COUNT SPARE CAUSE`. */
function mustBeApart(list: string): void {
  const runs = [...list.matchAll(/^\d+ (\d+) (\d+) /gm)].map(([, count, spare]) => ({
    start: Number(spare),
    end: Number(spare) + Number(count),
  }));
  runs.sort((a, b) => a.start - b.start);
  const isApart = runs.every(({ start }, index) => index === 0 || start >= runs[index - 1]!.end);
  must(isApart, 'two granules have one slot');
}

/** Damage, not forgery, that left one in-sync replica alone: nothing may be missing then (M2, M4). */
function isSafe(
  { image, seals, chains, asksHost }: SpareProgram,
  changed: ReadonlySet<PlacedBlock>,
): boolean {
  if (seals || chains || asksHost) return false;
  const hurt = new Set([...changed].map(({ replica }) => replica));
  return image.inSync.some((replica) => !hurt.has(replica));
}

function mustHaveAll(opened: OpenedMetadata, image: SpareImage): void {
  const is = JSON.stringify(tableOf(opened.records).contents());
  must(
    is === JSON.stringify(tableOf(image.records).contents()),
    'acknowledged records are missing, or others were invented',
  );
}

/** Everything that settling writes is metadata: no slot, and nothing of anybody else. */
export function mustBeInside(written: readonly Range[], layout: SpareLayout): void {
  const reserved = layout.reservedRanges();
  for (const { offset, length } of written) {
    mustBeOnSpare(offset, length, layout);
    const isInside = reserved.some(
      (range) => offset >= range.offset && offset + length <= range.offset + range.length,
    );
    must(isInside, `settling writes at ${offset}, outside the metadata`);
  }
}

function mustBeOnSpare(offset: number, length: number, layout: SpareLayout): void {
  must(offset >= firstOwnOffset, `a write at ${offset}, in front of the metadata`);
  must(offset + length <= layout.spareSizeBytes, `a write at ${offset}, behind the spare`);
}
