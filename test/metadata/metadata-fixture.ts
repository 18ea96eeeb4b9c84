import assert from 'node:assert/strict';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import type { Clock } from '../../src/block/clock.ts';
import type { LayoutOptions } from '../../src/metadata/layout.ts';
import {
  type GranuleRecord,
  type MappingRecord,
  type MappingStateSource,
  noSlot,
  StateCause,
  type StateCursor,
} from '../../src/metadata/mapping-state.ts';
import {
  type DeviceProperties,
  type MetadataParts,
  MetadataStore,
  type OpenedMetadata,
  type OpenOptions,
} from '../../src/metadata/metadata-store.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { GenerationClock, VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { ClockDriver } from '../simulator/clock-driver.ts';

export const granuleBytes = 4096;
export const mainSizeBytes: number = 64 << 20;
/** Metadata as small as it can be: a journal of 16 blocks makes checkpoints frequent. */
export const smallLayout: LayoutOptions = { lostRangesMax: 300, journalBytes: 16 * 4096, slotsMin: 16 };

export const properties: DeviceProperties = {
  name: 'backup-disk',
  mainIdentity: { serial: 'WD-1234', path: '/dev/disk/by-id/ata-WD-1234' },
  spareIdentity: { serial: 'S-99' },
  policies: { 'on-spare-full': 'fail-writes' },
};

export function granules(granule: number, slot: number, changes: Partial<GranuleRecord> = {}): GranuleRecord {
  return {
    type: 'granules',
    granule,
    granuleCount: 1,
    slot,
    held: slot === noSlot ? 0 : 0xff,
    unreadable: 0,
    gone: 0,
    flags: 0,
    cause: StateCause.writeError,
    unixSeconds: 1_767_225_600,
    ...changes,
  };
}

/** The live table of a test: single granules, in a map. */
export class TestTable implements MappingStateSource {
  readonly granules: Map<number, GranuleRecord> = new Map();
  readonly retired: Set<number> = new Set();
  readonly freshEnded: Set<number> = new Set();

  apply(records: readonly MappingRecord[]): void {
    for (const record of records) {
      if (record.type === 'fresh-ended') {
        for (let index = 0; index < record.regionCount; index += 1)
          this.freshEnded.add(record.region + index);
        continue;
      }
      if (record.type === 'retired-slots') {
        for (let index = 0; index < record.slotCount; index += 1) this.retired.add(record.slot + index);
        continue;
      }
      const healthy = record.slot === noSlot && record.unreadable === 0 && record.gone === 0;
      for (let index = 0; index < record.granuleCount; index += 1) {
        const granule = record.granule + index;
        const slot = record.slot === noSlot ? noSlot : record.slot + index;
        if (healthy) this.granules.delete(granule);
        else this.granules.set(granule, { ...record, granule, granuleCount: 1, slot });
      }
    }
  }

  recordCountMax(): number {
    return this.granules.size + this.retired.size + this.freshEnded.size;
  }

  recordsAfter(
    cursor: StateCursor,
    limit: number,
  ): { records: MappingRecord[]; cursor: StateCursor | undefined } {
    if (cursor.section === 'granules') {
      const keys = [...this.granules.keys()].filter((key) => key >= cursor.next).sort((a, b) => a - b);
      const taken = keys.slice(0, limit);
      const records = taken.map((key) => this.granules.get(key)!);
      const last = taken[taken.length - 1];
      const more = keys.length > taken.length && last !== undefined;
      return {
        records,
        cursor: more ? { section: 'granules', next: last + 1 } : { section: 'retired-slots', next: 0 },
      };
    }
    const { section } = cursor;
    const numbers = section === 'retired-slots' ? this.retired : this.freshEnded;
    const left = [...numbers].filter((number) => number >= cursor.next).sort((a, b) => a - b);
    const records = left
      .slice(0, limit)
      .map(
        (number): MappingRecord =>
          section === 'retired-slots'
            ? { type: section, slot: number, slotCount: 1 }
            : { type: section, region: number, regionCount: 1 },
      );
    const next = left[limit];
    if (next !== undefined) return { records, cursor: { section, next } };
    const last = section === 'fresh-ended';
    return { records, cursor: last ? undefined : { section: 'fresh-ended', next: 0 } };
  }

  /** For comparisons. */
  contents(): { granules: GranuleRecord[]; retired: number[]; freshEnded: number[] } {
    return {
      granules: [...this.granules.values()].sort((a, b) => a.granule - b.granule),
      retired: [...this.retired].sort((a, b) => a - b),
      freshEnded: [...this.freshEnded].sort((a, b) => a - b),
    };
  }
}

export function tableOf(records: readonly MappingRecord[]): TestTable {
  const table = new TestTable();
  table.apply(records);
  return table;
}

/** A settled store with its table. */
export interface OpenDevice {
  readonly opened: OpenedMetadata;
  readonly store: MetadataStore;
  readonly table: TestTable;
}

export interface TestSpareOptions {
  readonly seed?: number | string;
  readonly sizeBytes?: number;
  readonly layout?: LayoutOptions;
  readonly mainSizeBytes?: number;
  readonly fresh?: boolean;
}

export interface TestOpenOptions extends OpenOptions {
  readonly wrap?: (device: BlockDevice) => BlockDevice;
}

/** A spare on a simulated disk, under virtual time that runs by itself. */
export class TestSpare {
  readonly random: SeededRandom;
  readonly clock: VirtualClock;
  readonly disk: SimulatedDisk;
  readonly #driver: ClockDriver;
  readonly #options: TestSpareOptions;
  #generation: GenerationClock | undefined;
  #arena: PagedArena | undefined;
  #opens = 0;
  /** Called at every submission and settlement of the disk. */
  onOperation: () => void = () => {};

  constructor(options: TestSpareOptions = {}) {
    this.random = new SeededRandom(options.seed ?? 1);
    this.clock = new VirtualClock(this.random.fork('clock'));
    this.disk = new SimulatedDisk({
      name: 'spare',
      sizeBytes: options.sizeBytes ?? 3 << 20,
      physicalBlockBytes: granuleBytes,
      clock: this.clock,
      random: this.random,
      onOperation: () => this.onOperation(),
    });
    this.#options = options;
    this.#driver = new ClockDriver(this.clock);
  }

  /** What one process has: its own clock, arena and opening of the disk, which `wrap` may cover. */
  parts(wrap: (device: BlockDevice) => BlockDevice = (device) => device): MetadataParts {
    this.#generation = new GenerationClock(this.clock);
    const remapBytes = 4096;
    this.#arena = new PagedArena(new ArrayBuffer(1 << 20), {
      remapBytes,
      metadataBytes: 128 << 10,
      poison: true,
    });
    this.#opens += 1;
    return {
      spare: wrap(this.disk.open()),
      arena: this.#arena,
      clock: this.#generation,
      random: this.random.fork(`process ${this.#opens}`),
    };
  }

  /** The clock of the process that `parts` was last called for; silent once that process is gone. */
  get generationClock(): Clock {
    return this.#generation ?? this.clock;
  }

  create(wrap?: (device: BlockDevice) => BlockDevice): Promise<void> {
    return MetadataStore.create(this.parts(wrap), {
      mainSizeBytes: this.#options.mainSizeBytes ?? mainSizeBytes,
      logicalBlockBytes: 512,
      granuleBytes,
      properties,
      fresh: this.#options.fresh ?? false,
      layout: this.#options.layout ?? smallLayout,
    });
  }

  async open(options: TestOpenOptions = {}): Promise<OpenedMetadata> {
    const { wrap, ...rest } = options;
    return await MetadataStore.open(this.parts(wrap), rest);
  }

  async openSettled(options: TestOpenOptions = {}): Promise<OpenDevice> {
    const opened = await this.open(options);
    const table = tableOf(opened.records);
    await opened.store.settle(table);
    return { opened, store: opened.store, table };
  }

  async createSettled(options: TestOpenOptions = {}): Promise<OpenDevice> {
    await this.create();
    return await this.openSettled(options);
  }

  /** The machine stops: what is not flushed may be gone, and nothing of the old process runs again. */
  powerCut(): void {
    this.#generation?.end();
    this.disk.powerCut();
  }

  /** The process stops, the disk's cache survives. */
  kill(): void {
    this.#generation?.end();
    this.disk.kill();
  }

  /** The power goes at the `count`th moment from now; resolves then. */
  cutAfter(count: number): Promise<void> {
    return new Promise((resolve) => {
      let left = count;
      this.onOperation = () => {
        left -= 1;
        if (left > 0) return;
        this.onOperation = () => {};
        this.powerCut();
        resolve();
      };
    });
  }

  /** Bytes of this process's arena that are out. */
  get arenaUsedBytes(): number {
    return this.#arena?.usedBytes ?? 0;
  }

  async end(): Promise<void> {
    await this.#driver.stop();
  }
}

/** Runs a test on a fresh spare and ends its clock, whatever happens. */
export async function withSpare(
  options: TestSpareOptions,
  run: (spare: TestSpare) => Promise<void>,
): Promise<void> {
  const spare = new TestSpare(options);
  try {
    await run(spare);
  } finally {
    await spare.end();
  }
}

/** Commits and applies, as the remap target does. */
export function commit(device: OpenDevice, records: readonly MappingRecord[]): Promise<void> {
  return device.store.commit(records, { activate: () => device.table.apply(records) });
}

export async function rejectsWith(promise: Promise<unknown>, code: string): Promise<Error> {
  let error: unknown;
  await assert.rejects(promise, (reason: unknown) => {
    error = reason;
    assert.ok(reason instanceof Error && 'code' in reason, String(reason));
    assert.equal(reason.code, code, reason.message);
    return true;
  });
  assert.ok(error instanceof Error);
  assert.doesNotMatch(error.message, /\n/, 'a message is one line');
  return error;
}
