import assert from 'node:assert/strict';
import { type BlockDevice, type Capabilities, sectorBytes } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { RemapCore } from '../../src/remap/remap-core.ts';
import { RemapDevice } from '../../src/remap/remap-device.ts';
import { SlotAllocator, type SlotRun } from '../../src/remap/table/slot-allocator.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { FakeMetadata } from './fake-metadata.ts';

export interface StackOptions {
  readonly mainBytes?: number;
  readonly spareBytes?: number;
  /** Of the virtual device; main's by default. */
  readonly sizeBytes?: number;
  readonly granuleBytes?: number;
  readonly mainBlockBytes?: number;
  readonly spareBlockBytes?: number;
  readonly seed?: string;
  /** Arena bytes for remaps. */
  readonly remapBytes?: number;
  readonly reserved?: readonly SlotRun[];
  readonly verifySlots?: boolean;
  readonly exactRanges?: boolean;
  readonly mainCapabilities?: Partial<Capabilities>;
  readonly spareCapabilities?: Partial<Capabilities>;
  readonly lostGranulesMax?: number;
  /** All of main was declared fresh at creation (R13). */
  readonly fresh?: boolean;
  readonly storedPolicies?: Readonly<Record<string, string>>;
  /** Instead of the simulated main. */
  readonly main?: BlockDevice;
  /** Between the recorder and the simulated device. */
  readonly wrapSpare?: (spare: BlockDevice) => BlockDevice;
  readonly wrapMain?: (main: BlockDevice, clock: VirtualClock) => BlockDevice;
  /** A flush of main has failed, and some of what it was to make durable is gone. */
  readonly onMainCacheDropped?: () => void;
}

/** A remap device over two simulated disks under virtual time, every device operation recorded. */
export interface Stack {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly counter: OperationCounter;
  readonly mainDisk: SimulatedDisk;
  readonly spareDisk: SimulatedDisk;
  readonly main: RecordingDevice;
  readonly spare: RecordingDevice;
  readonly arena: PagedArena;
  readonly metadata: FakeMetadata;
  readonly core: RemapCore;
  readonly device: RemapDevice;
  readonly granuleBytes: number;
}

export function makeStack(options: StackOptions = {}): Stack {
  const { mainBytes = 1 << 20, spareBytes = 1 << 20, granuleBytes = 4096, exactRanges = false } = options;
  const random = new SeededRandom(options.seed ?? 'remap');
  const clock = new VirtualClock(random.fork('clock'));
  const counter = new OperationCounter();
  const mainDisk = new SimulatedDisk({
    name: 'main',
    sizeBytes: mainBytes,
    logicalBlockBytes: options.mainBlockBytes ?? sectorBytes,
    physicalBlockBytes: granuleBytes,
    clock,
    random,
    exactRanges,
    // Writes are sent as they come, unless a test is about main's cache (R8).
    capabilities: { volatileCache: false, ...options.mainCapabilities },
    ...(options.onMainCacheDropped === undefined ? {} : { onCacheDropped: options.onMainCacheDropped }),
  });
  const spareDisk = new SimulatedDisk({
    name: 'spare',
    sizeBytes: spareBytes,
    logicalBlockBytes: options.spareBlockBytes ?? sectorBytes,
    physicalBlockBytes: granuleBytes,
    clock,
    random,
    exactRanges,
    capabilities: options.spareCapabilities ?? {},
  });
  const mainBelow = options.main ?? mainDisk.open();
  const main = new RecordingDevice(options.wrapMain?.(mainBelow, clock) ?? mainBelow, counter);
  const spareBelow = spareDisk.open();
  const spare = new RecordingDevice(options.wrapSpare?.(spareBelow) ?? spareBelow, counter);
  const remapBytes = options.remapBytes ?? 256 * 1024;
  const memory = new ArrayBuffer(remapBytes + 64 * 1024);
  const arena = new PagedArena(memory, { remapBytes, metadataBytes: 4096, poison: true });
  const metadata = new FakeMetadata(spare, counter);
  const sizeBytes = options.sizeBytes ?? options.main?.geometry.sizeBytes ?? mainBytes;
  const core = new RemapCore({
    main,
    spare,
    metadata,
    allocator: new SlotAllocator(spareBytes / granuleBytes, options.reserved ?? [{ slot: 0, slotCount: 16 }]),
    sizeBytes,
    granuleBytes,
    lostGranulesMax: options.lostGranulesMax ?? 1000,
    arena,
    clock,
    verifySlots: options.verifySlots ?? true,
    freshSizeBytes: options.fresh === true ? sizeBytes : 0,
    storedPolicies: options.storedPolicies ?? {},
  });
  const geometry = {
    sizeBytes,
    logicalBlockBytes: main.geometry.logicalBlockBytes,
    physicalBlockBytes: granuleBytes,
  };
  const device = new RemapDevice('virtual', geometry, core, metadata);
  return {
    clock,
    random,
    counter,
    mainDisk,
    spareDisk,
    main,
    spare,
    arena,
    metadata,
    core,
    device,
    granuleBytes,
  };
}

/** Sectors of which each names its number and a version: bytes that can be told apart. */
export function patternOf(sector: number, sectorCount: number, version = 1): Uint8Array {
  const bytes = new Uint8Array(sectorCount * sectorBytes);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < sectorCount; index += 1) {
    for (let at = 0; at < sectorBytes; at += 8) {
      view.setUint32(index * sectorBytes + at, sector + index, true);
      view.setUint32(index * sectorBytes + at + 4, version, true);
    }
  }
  return bytes;
}

export async function writeSectors(
  { clock, device }: Stack,
  sector: number,
  bytes: Uint8Array,
  flags = 0,
): Promise<void> {
  await clock.run(device.write(bytes, sector * sectorBytes, flags));
}

export async function readSectors(
  { clock, device }: Stack,
  sector: number,
  sectorCount: number,
): Promise<Uint8Array> {
  const target = new Uint8Array(sectorCount * sectorBytes).fill(0xaa);
  await clock.run(device.read(target, sector * sectorBytes));
  return target;
}

/** The error of a request that must fail with a device error. */
export async function failureOf(request: Promise<unknown>): Promise<DeviceError> {
  try {
    await request;
  } catch (error) {
    assert(error instanceof DeviceError, `expected a DeviceError, got ${String(error)}`);
    return error;
  }
  assert.fail('the request succeeded');
}

/** A failed read: its error, and what it left in the buffer. */
export async function failedRead(
  { clock, device }: Stack,
  sector: number,
  sectorCount: number,
): Promise<{ error: DeviceError; bytes: Uint8Array }> {
  const bytes = new Uint8Array(sectorCount * sectorBytes).fill(0xaa);
  const error = await failureOf(clock.run(device.read(bytes, sector * sectorBytes)));
  return { error, bytes };
}

/** Failed sectors of an error, each once, ascending. */
export function failedSectors(error: DeviceError): number[] {
  return error.ranges.flatMap(({ offset, length }) =>
    Array.from({ length: length / sectorBytes }, (_, index) => offset / sectorBytes + index),
  );
}

/** Granules with a slot, from the table itself. */
export function remappedGranules({ core }: Stack): number[] {
  const granules: number[] = [];
  for (
    let state = core.table.atOrAfter(0);
    state !== undefined;
    state = core.table.atOrAfter(state.granule + 1)
  )
    if (state.slot >= 0) granules.push(state.granule);
  return granules;
}

/** Every test ends with this: nothing in flight, nothing held, and the live table is what a crash would leave. */
export async function finish(stack: Stack, options: { lazyLost?: boolean } = {}): Promise<void> {
  const { clock, core, device, metadata, arena, mainDisk, spareDisk } = stack;
  await clock.run(device.close());
  assert.equal(device.inFlight, 0, 'I7 in-flight count');
  assert.equal(core.inFlight.count, 0, 'no ticket is left');
  assert.equal(core.locks.heldCount, 0, 'I24 no lock is left');
  assert.equal(core.paths.waiting, 0, 'R17 nobody is held any more');
  assert.equal(arena.usedBytes, 0, 'arena empty');
  assert.equal(mainDisk.inFlightCount + spareDisk.inFlightCount, 0, 'I6 nothing under way');
  assert.equal(metadata.closes, 1, 'I6 metadata closed once');
  if (options.lazyLost !== true) assertDurable(stack);
}

/** I12: what is live is durable, and every live slot belongs to one granule. */
export function assertDurable({ core, metadata }: Stack): void {
  const durable = metadata.replay();
  const slots = new Set<number>();
  let entries = 0;
  for (
    let state = core.table.atOrAfter(0);
    state !== undefined;
    state = core.table.atOrAfter(state.granule + 1)
  ) {
    entries += 1;
    const { type: _, granuleCount: __, ...stored } = durable.get(state.granule)!;
    assert.deepEqual(stored, state, `granule ${state.granule}: live and durable state`);
    if (state.slot < 0) continue;
    assert(!slots.has(state.slot), `slot ${state.slot} is used twice`);
    slots.add(state.slot);
  }
  assert.equal(entries, durable.size, 'entries live and durable');
  assert.equal(core.parts.allocator.usedSlots, slots.size, 'I16 used slots are the mapped ones');
}

/** Gives back other bytes than were written, a number of times, as a lying device does. */
export class LyingDevice extends FilterDevice {
  liesLeft: number;
  lies = 0;

  constructor(below: BlockDevice, lies: number) {
    super(below);
    this.liesLeft = lies;
  }

  override async read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    await super.read(target, offset, flags);
    if (this.liesLeft === 0) return;
    this.liesLeft -= 1;
    this.lies += 1;
    target[7]! ^= 1;
  }
}
