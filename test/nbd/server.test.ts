import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import type { ByteStream, StreamListener } from '../../src/io/byte-stream.ts';
import { connectNbd } from '../../src/nbd/client.ts';
import { createNbdCounters, NbdCounter } from '../../src/nbd/counters.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { memoryStreamPair } from './memory-stream.ts';
import { withServer } from './server-fixture.ts';

const mebibyte = 1024 * 1024;

/** A listener whose connections a test makes. */
class MemoryListener implements StreamListener {
  readonly address = 'memory';
  readonly #arrived: ByteStream[] = [];
  #waiting: ((stream: ByteStream | undefined) => void) | undefined;
  closed = false;

  connect(): ByteStream {
    const pair = memoryStreamPair();
    this.#arrived.push(pair.server);
    this.#hand();
    return pair.client;
  }

  accept(): Promise<ByteStream | undefined> {
    if (this.closed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#hand();
    });
  }

  close(): Promise<void> {
    this.closed = true;
    this.#waiting?.(undefined);
    return Promise.resolve();
  }

  #hand(): void {
    if (this.#waiting === undefined || this.#arrived.length === 0) return;
    const resolve = this.#waiting;
    this.#waiting = undefined;
    resolve(this.#arrived.shift());
  }
}

test('clients of several listeners are served side by side', async () => {
  await withServer({}, async (fixture) => {
    const listeners = [new MemoryListener(), new MemoryListener()];
    for (const listener of listeners) fixture.server.listen(listener);
    const clients = await Promise.all(
      listeners.flatMap((listener) => [
        connectNbd(listener.connect(), ''),
        connectNbd(listener.connect(), ''),
      ]),
    );
    await Promise.all(clients.map((client, at) => client.write(new Uint8Array(512).fill(at + 1), at * 512)));
    const target = new Uint8Array(2048);
    await clients[0]!.read(target, 0);
    assert.deepEqual([target[0], target[512], target[1024], target[1536]], [1, 2, 3, 4]);
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 4);
    await fixture.close(1_000);
    assert.deepEqual(
      listeners.map(({ closed }) => closed),
      [true, true],
    );
  });
});

test('I11 notes about garbage are limited in number and length, and what was held back is told', async () => {
  await withServer({}, async (fixture) => {
    for (let count = 0; count < 20; count += 1) {
      const wire = fixture.wire();
      await wire.send('ffffffff');
      await wire.receiveAll();
      await settle();
    }
    assert.equal(fixture.notes.length, 6);
    assert.equal(fixture.server.counters[NbdCounter.protocolErrors], 20);
    fixture.clock.advance(60_000);
    const wire = fixture.wire();
    await wire.send('ffffffff');
    await wire.receiveAll();
    await settle();
    assert.equal(fixture.notes.length, 7);
    assert.match(fixture.notes[6]!, /\(14 earlier notes suppressed\)$/);
    const another = fixture.wire();
    await another.send('ffffffff');
    await another.receiveAll();
    await settle();
    assert.match(fixture.notes[7]!, /connection closed$/);
    assert.ok(fixture.notes.every((note) => note.length < 400));
  });
});

test('R36 the largest payload is what the arena can always give beside the connections, and at most half of that', () => {
  const device = new MemoryDevice({ name: 'disk', sizeBytes: mebibyte });
  for (const [arenaMebibytes, payloadMebibytes] of [
    [8, 2],
    [12, 4],
    [24, 8],
    [67, 16],
    [68, 32],
    [136, 32],
  ] as const) {
    const arena = new PagedArena(new ArrayBuffer(arenaMebibytes * mebibyte), {
      remapBytes: 0,
      metadataBytes: 0,
    });
    const server = new NbdServer({
      exports: [{ name: 'disk', device }],
      arena,
      clock: new ManualClock(),
    });
    assert.equal(server.exports.all[0]?.aligned.exported.maximumPayloadBytes, payloadMebibytes * mebibyte);
  }
});

test('counters may live in memory that another thread reads', async () => {
  const shared = new SharedArrayBuffer(1024);
  const counters = createNbdCounters(shared);
  const arena = new PagedArena(new ArrayBuffer(8 * mebibyte), { remapBytes: 0, metadataBytes: 0 });
  const device = new MemoryDevice({ name: 'disk', sizeBytes: mebibyte });
  const server = new NbdServer({
    exports: [{ name: 'disk', device }],
    arena,
    clock: new ManualClock(),
    counters,
  });
  const pair = memoryStreamPair();
  server.serve(pair.server);
  const client = await connectNbd(pair.client, '');
  await client.read(new Uint8Array(512), 0);
  await client.disconnect();
  assert.equal(new Float64Array(shared)[NbdCounter.bytesRead], 512);
  await settle();
  assert.equal(await server.close(1_000), 0);
  assert.equal(arena.usedBytes, 0);
});
