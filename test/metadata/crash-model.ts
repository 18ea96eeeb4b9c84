import assert from 'node:assert/strict';
import type { GranuleRecord } from '../../src/metadata/mapping-state.ts';
import { MetadataError } from '../../src/metadata/metadata-error.ts';
import type { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { granules, type OpenDevice, type TestTable } from './metadata-fixture.ts';

/** Records of one commit call. */
type Call = readonly GranuleRecord[];

/** One client's part of the model: granules that only it changes, one call at a time. */
class Client {
  readonly granulesOwned: readonly number[];
  /** Last acknowledged record, by granule. */
  readonly acknowledged: Map<number, GranuleRecord> = new Map();
  /** The call without an answer. */
  inFlight: Call | undefined;

  constructor(first: number, count: number) {
    this.granulesOwned = Array.from({ length: count }, (_, index) => first + index);
  }
}

/**
 * What a store has promised, independent of its code: every acknowledged record is there; a call without an answer is
 * there whole or not at all; nothing else ever is.
 */
export class CrashModel {
  readonly #clients: readonly Client[];
  readonly #random: SeededRandom;
  /** Each record is one of its kind, so that a stale one cannot pass for a fresh one. */
  #stamp = 0;
  acknowledgedCalls = 0;
  /** Calls that definitely did not happen. */
  givenUpCalls = 0;

  constructor(random: SeededRandom, clients = 3) {
    this.#random = random;
    this.#clients = Array.from({ length: clients }, (_, index) => new Client(index * 40, 40));
  }

  /** Clients commit until `calls` are done each, or for ever without an answer. */
  async work(device: OpenDevice, calls: number): Promise<void> {
    await Promise.all(this.#clients.map((client) => this.#workOf(client, device, calls)));
  }

  async #workOf(client: Client, device: OpenDevice, calls: number): Promise<void> {
    for (let call = 0; call < calls; call += 1) {
      const records = this.#newCall(client);
      client.inFlight = records;
      const dataFlush = this.#random.chance(0.5);
      try {
        await device.store.commit(records, { dataFlush, activate: () => device.table.apply(records) });
      } catch (error) {
        assert.ok(error instanceof MetadataError, String(error));
        // M1: definitely not there. Anything else is in doubt and stays in flight.
        if (error.code !== 'METADATA_NOT_COMMITTED') return;
        client.inFlight = undefined;
        this.givenUpCalls += 1;
        continue;
      }
      for (const record of records) client.acknowledged.set(record.granule, record);
      client.inFlight = undefined;
      this.acknowledgedCalls += 1;
    }
  }

  #newCall(client: Client): Call {
    const count = 1 + this.#random.below(5);
    const start = this.#random.below(client.granulesOwned.length - count);
    return client.granulesOwned.slice(start, start + count).map((granule) => {
      this.#stamp += 1;
      return granules(granule, 300 + granule, { unixSeconds: this.#stamp });
    });
  }

  /** The store has recovered: what was without an answer has never happened. */
  forgetDoubts(): void {
    for (const client of this.#clients) client.inFlight = undefined;
  }

  /** Compares what was opened with what was promised, then takes what was found as the truth. */
  check(table: TestTable): void {
    let known = 0;
    for (const client of this.#clients) {
      this.#settleCall(client, table);
      for (const granule of client.granulesOwned) {
        const expected = client.acknowledged.get(granule);
        assert.deepEqual(table.granules.get(granule), expected, `granule ${granule}`);
        if (expected !== undefined) known += 1;
      }
    }
    assert.equal(table.granules.size, known, 'records that nobody committed');
    assert.equal(table.retired.size, 0);
  }

  /** A call without an answer is all there, or nothing of it is. */
  #settleCall(client: Client, table: TestTable): void {
    const call = client.inFlight;
    client.inFlight = undefined;
    if (call === undefined) return;
    const present = call.filter(
      (record) => table.granules.get(record.granule)?.unixSeconds === record.unixSeconds,
    );
    assert.ok(
      present.length === 0 || present.length === call.length,
      `${present.length} of ${call.length} records of one call`,
    );
    for (const record of present) client.acknowledged.set(record.granule, record);
  }
}
