import assert from 'node:assert/strict';
import type { BlockDevice } from '../../src/block/block-device.ts';
import type { DeviceProperties } from '../../src/metadata/device-properties.ts';
import type { GranuleRecord, MappingRecord } from '../../src/metadata/mapping-state.ts';
import { MetadataError } from '../../src/metadata/metadata-error.ts';
import type { CommitOptions, MetadataState, MetadataStatus } from '../../src/metadata/metadata-store.ts';
import type { MetadataPort } from '../../src/remap/remap-core.ts';
import type { MetadataLife } from '../../src/remap/remap-device.ts';
import type { OperationCounter } from '../../src/simulator/operation-counter.ts';

type CommitFailure = 'METADATA_NOT_COMMITTED' | 'METADATA_FAILED';

/** One commit call that became durable, at its place among the device operations. */
export interface DurableCommit {
  readonly sequence: number;
  readonly records: readonly MappingRecord[];
}

/** Metadata that keeps its contract in memory: what is durable, in which order, and the failures a test asks for. */
export class FakeMetadata implements MetadataPort, MetadataLife {
  readonly durable: DurableCommit[] = [];
  /** Taken by the next commits, one each. */
  readonly failures: CommitFailure[] = [];
  /** Only commits that name a granule of this set take a failure; undefined: all do. */
  failOnly: ((records: readonly MappingRecord[]) => boolean) | undefined;
  failuresInjected = 0;
  /** Commits wait for it. */
  held: Promise<void> = Promise.resolve();
  closes = 0;
  readonly #spare: BlockDevice;
  readonly #counter: OperationCounter;
  #state: MetadataState = 'open';
  #epoch = 0;
  #running = 0;

  constructor(spare: BlockDevice, counter: OperationCounter) {
    this.#spare = spare;
    this.#counter = counter;
  }

  get flushEpoch(): number {
    return this.#epoch;
  }

  /** Whether a failed store can be recovered. */
  recoverable = false;
  recoveries = 0;

  recover(): Promise<void> {
    this.recoveries += 1;
    if (this.#state !== 'failed') return Promise.resolve();
    if (!this.recoverable) return Promise.reject(new MetadataError('METADATA_FAILED', 'still failed'));
    this.#state = 'open';
    return Promise.resolve();
  }

  quiet(): Promise<void> {
    return Promise.resolve();
  }

  poisonFlushes(): void {
    this.#epoch += 1;
  }

  async flushSpare(): Promise<void> {
    try {
      await this.#spare.flush();
    } catch (error) {
      this.#epoch += 1;
      throw error;
    }
  }

  async commit(records: readonly MappingRecord[], options: CommitOptions = {}): Promise<void> {
    this.#running += 1;
    try {
      await this.#commit(records, options);
    } finally {
      this.#running -= 1;
    }
  }

  async #commit(records: readonly MappingRecord[], options: CommitOptions): Promise<void> {
    if (this.#state === 'closed') throw new MetadataError('METADATA_CLOSED', 'closed');
    if (this.#state === 'failed') throw new MetadataError('METADATA_FAILED', 'failed before');
    assert(records.length > 0 && records.length <= 83, 'records of one call are kept or lost together');
    if (options.dataFlush ?? true) {
      await this.flushSpare().catch(() => {
        throw new MetadataError('METADATA_NOT_COMMITTED', 'the flush failed');
      });
    }
    // What really takes time here is a write and a flush; the order of calls is kept, as in a journal.
    await this.held;
    await Promise.resolve();
    if (options.dataEpoch !== undefined && options.dataEpoch !== this.#epoch) {
      throw new MetadataError('METADATA_NOT_COMMITTED', 'the data is in doubt');
    }
    const failure = (this.failOnly?.(records) ?? true) ? this.failures.shift() : undefined;
    if (failure !== undefined) {
      this.failuresInjected += 1;
      if (failure === 'METADATA_FAILED') this.#state = 'failed';
      throw new MetadataError(failure, 'asked for by the test');
    }
    this.durable.push({ sequence: this.#counter.next(), records });
    options.activate?.();
  }

  /** Properties given to `updateProperties`, in order. */
  readonly properties: Partial<DeviceProperties>[] = [];

  async updateProperties(change: Partial<DeviceProperties>): Promise<void> {
    await this.held;
    const failure = this.failures.shift();
    if (failure !== undefined) {
      this.failuresInjected += 1;
      throw new MetadataError(failure, 'asked for by the test');
    }
    this.properties.push(change);
  }

  status(): MetadataStatus {
    return {
      state: this.#state,
      uuid: '00000000-0000-0000-0000-000000000000',
      replicasInSync: 1,
      replicasTotal: 1,
      generation: 1,
      sequence: this.durable.length,
      acknowledgedSequence: 0,
      sessionNonce: '0000000000000000',
      revision: 1,
      closedCleanly: this.#state === 'closed',
      journalBlocksUsed: 0,
      journalBlocks: 1,
      commits: this.durable.length,
      batches: this.durable.length,
      flushes: 0,
      checkpoints: 0,
      checkpointsFailed: 0,
      checkpointRunning: false,
    };
  }

  close(): Promise<void> {
    assert.equal(this.#running, 0, 'closed while a commit is under way');
    this.closes += 1;
    this.#state = 'closed';
    return Promise.resolve();
  }

  /** What a reader of the journal knows after a crash now: the last record of each granule. */
  replay(): Map<number, GranuleRecord> {
    const states = new Map<number, GranuleRecord>();
    for (const { records } of this.durable) {
      for (const record of records) {
        if (record.type !== 'granules') continue;
        assert.equal(record.granuleCount, 1);
        const healthy = record.slot < 0 && (record.unreadable | record.gone) === 0;
        if (healthy) states.delete(record.granule);
        else states.set(record.granule, record);
      }
    }
    return states;
  }

  /** Slots that durable records retire. */
  retiredSlots(): number[] {
    return this.durable
      .flatMap(({ records }) => records)
      .flatMap((record) => (record.type === 'retired-slots' ? [record.slot] : []));
  }
}
