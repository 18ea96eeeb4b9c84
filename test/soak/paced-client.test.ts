import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/block/errno.ts';
import { NbdRequestError } from '../../src/nbd/client.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import type { DiskClient } from '../end-to-end/dying-disk.ts';
import { type LoadRules, PacedClient } from './paced-client.ts';
import { newLatencies } from './sampler.ts';

/** Fails each request as often as told, then does it. */
class FailingClient implements DiskClient {
  asked = 0;
  readonly #failures: number;
  readonly #errno: number;

  constructor(failures: number, errno: number = Errno.EIO) {
    this.#failures = failures;
    this.#errno = errno;
  }

  read(): Promise<void> {
    return this.#answer();
  }

  write(): Promise<void> {
    return this.#answer();
  }

  flush(): Promise<void> {
    return this.#answer();
  }

  async #answer(): Promise<void> {
    this.asked += 1;
    if (this.asked <= this.#failures) throw new NbdRequestError('nbd write at 0', this.#errno);
  }
}

function paced(client: DiskClient, rules: LoadRules): PacedClient {
  return new PacedClient(client, new SeededRandom('paced'), 1, newLatencies(), rules);
}

const sector = new Uint8Array(512);

describe('a client of a soak', () => {
  test('repeats a flush and a FUA write that tell of a failed flush (R7), while main may be away', async () => {
    const rules = { flushesMayFail: true, failedFlushesTold: 0 };
    const client = new FailingClient(2);
    await paced(client, rules).flush();
    assert.deepEqual([client.asked, rules.failedFlushesTold], [3, 2]);
    const writer = new FailingClient(1);
    await paced(writer, rules).write(sector, 0, { fua: true });
    assert.deepEqual([writer.asked, rules.failedFlushesTold], [2, 3]);
  });

  test('takes no other failure: not of a plain write, not of a read, no other error, and none while main is there', async () => {
    const away = { flushesMayFail: true, failedFlushesTold: 0 };
    await assert.rejects(paced(new FailingClient(1), away).write(sector, 0), /EIO/);
    await assert.rejects(paced(new FailingClient(1), away).read(sector, 0), /EIO/);
    await assert.rejects(paced(new FailingClient(1, Errno.ENOSPC), away).flush(), /ENOSPC/);
    const there = { flushesMayFail: false, failedFlushesTold: 0 };
    await assert.rejects(paced(new FailingClient(1), there).flush(), /EIO/);
    await assert.rejects(paced(new FailingClient(1), there).write(sector, 0, { fua: true }), /EIO/);
    assert.deepEqual([away.failedFlushesTold, there.failedFlushesTold], [0, 0]);
  });

  test('gives up a flush that keeps failing', async () => {
    const client = new FailingClient(1000);
    await assert.rejects(paced(client, { flushesMayFail: true, failedFlushesTold: 0 }).flush(), /EIO/);
    assert.equal(client.asked, 20);
  });

  test('notes how long each read and write took', async () => {
    const latencies = newLatencies();
    const rules = { flushesMayFail: false, failedFlushesTold: 0 };
    const client = new PacedClient(new FailingClient(0), new SeededRandom('paced'), 1, latencies, rules);
    await client.read(sector, 0);
    await client.read(sector, 0);
    await client.write(sector, 0, { fua: true });
    assert.deepEqual([latencies.reads.percentiles().count, latencies.writes.percentiles().count], [2, 1]);
  });
});
