import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import type { ByteStream, StreamListener } from '../../src/io/byte-stream.ts';
import { connectNbd } from '../../src/nbd/client.ts';
import { createNbdCounters, NbdCounter } from '../../src/nbd/counters.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { HeldDevice } from './controlled-devices.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { memoryStreamPair } from './memory-stream.ts';
import { ServerFixture, withServer } from './server-fixture.ts';
import { replyHex, requestHex } from './wire-client.ts';

const [read, write] = [0, 1];
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

function heldDisk(): HeldDevice {
  return new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
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
    await fixture.server.close(1_000);
    assert.deepEqual(
      listeners.map(({ closed }) => closed),
      [true, true],
    );
  });
});

test('one connection above the limit is closed at once and counted; a place that is left is taken again', async () => {
  await withServer({ limits: { connectionsMax: 2 } }, async (fixture) => {
    const first = await fixture.client();
    const second = await fixture.client();
    const refused = fixture.wire();
    assert.equal(await refused.receiveAll(), '');
    assert.equal(fixture.server.counters[NbdCounter.connectionsRefused], 1);
    await second.disconnect();
    await settle();
    const third = await fixture.client();
    await Promise.all([first.flush(), third.flush()]);
    assert.equal(fixture.server.counters[NbdCounter.connections], 3);
  });
});

test('I6 close answers what is in flight, takes nothing new, and leaves nothing', async () => {
  const held = heldDisk();
  const fixture = new ServerFixture({ device: held });
  const wire = await fixture.transmission();
  const shaking = fixture.wire();
  await wire.send(
    requestHex(read, 1, 0, 512) + requestHex(write, 2, 512, 512, { payload: new Uint8Array(512) }),
  );
  await settle();
  const closing = fixture.server.close(5_000);
  await wire.send(requestHex(read, 3, 0, 512));
  await settle();
  assert.deepEqual(held.calls, ['read 0 512', 'write 512 512']);
  assert.equal(
    (await shaking.receiveAll()).length,
    36,
    'a client in its handshake gets the hello and no more',
  );
  const late = fixture.wire();
  assert.equal(await late.receiveAll(), '');
  held.releaseAll();
  assert.equal(await wire.receiveAll(), replyHex(1, 0, new Uint8Array(512)) + replyHex(2));
  assert.equal(await closing, 0);
  assert.equal(fixture.arena.usedBytes, 0);
  await fixture.end();
});

test('I6 close ends a connection whose client says nothing more once its requests are answered', async () => {
  const held = heldDisk();
  const fixture = new ServerFixture({ device: held });
  const wire = await fixture.transmission();
  await wire.send(requestHex(read, 1, 0, 512));
  await settle();
  const closing = fixture.server.close(5_000);
  held.releaseAll();
  assert.equal(await wire.receiveAll(), replyHex(1, 0, new Uint8Array(512)));
  assert.equal(await closing, 0);
  await fixture.end();
});

test('I6 close does not start a write whose payload was still on its way', async () => {
  for (const length of [512, 65536]) {
    const held = heldDisk();
    const fixture = new ServerFixture({ device: held });
    const wire = await fixture.transmission();
    const half = new Uint8Array(length / 2);
    await wire.send(requestHex(read, 1, 0, 512) + requestHex(write, 2, 0, length, { payload: half }));
    await settle();
    const closing = fixture.server.close(5_000);
    await wire.stream.send([half]);
    await settle();
    held.releaseAll();
    assert.equal(await wire.receiveAll(), replyHex(1, 0, new Uint8Array(512)));
    assert.equal(await closing, 0);
    assert.deepEqual(held.calls, ['read 0 512']);
    await fixture.end();
  }
});

test('I6 close does not start a request that waited for memory, and gives the memory back', async () => {
  const held = heldDisk();
  // 1 MiB for requests, half of it for one connection.
  const fixture = new ServerFixture({ device: held, arenaBytes: 1.5 * mebibyte });
  const wire = await fixture.transmission();
  const count = 9;
  await wire.send(Array.from({ length: count }, (_, at) => requestHex(read, at, 0, 65536)).join(''));
  await settle();
  assert.equal(held.inFlight, 8, 'the ninth waits');
  const closing = fixture.server.close(5_000);
  held.releaseAll();
  assert.equal((await wire.receiveAll()).length, 2 * 8 * (16 + 65536));
  assert.equal(await closing, 0);
  assert.equal(held.calls.length, 8);
  await fixture.end();
});

test('I6 close does not start a request that waited for its turn', async () => {
  const held = heldDisk();
  const fixture = new ServerFixture({ device: held, limits: { requestsInFlightMax: 2 } });
  const wire = await fixture.transmission();
  await wire.send(
    [1, 2, 3].map((cookie) => requestHex(write, cookie, 0, 512, { payload: new Uint8Array(512) })).join(''),
  );
  await settle();
  const closing = fixture.server.close(5_000);
  await settle();
  held.releaseAll();
  assert.equal(await wire.receiveAll(), replyHex(1) + replyHex(2));
  assert.equal(await closing, 0);
  assert.equal(held.calls.length, 2);
  await fixture.end();
});

test('close at its deadline drops clients and says how many requests the device still holds', async () => {
  const held = heldDisk();
  const fixture = new ServerFixture({ device: held });
  const wire = await fixture.transmission();
  await wire.send(requestHex(read, 1, 0, 512) + requestHex(read, 2, 512, 512));
  await settle();
  const closing = fixture.server.close(5_000);
  let done = false;
  void closing.then(() => {
    done = true;
  });
  fixture.clock.advance(4_999);
  await settle();
  assert.equal(done, false);
  fixture.clock.advance(1);
  await settle();
  assert.equal(await wire.receiveAll(), '');
  fixture.clock.advance(1_000);
  assert.equal(await closing, 2);
  assert.ok(fixture.arena.usedBytes > 0, 'I27 the device still writes into it');
  held.releaseAll();
  await settle();
  assert.equal(fixture.arena.usedBytes, 0);
});

test('close at its deadline drops a client that takes no replies', async () => {
  const fixture = new ServerFixture({});
  const wire = await fixture.transmission({ capacityBytes: 4096 });
  await wire.send(requestHex(read, 1, 0, 65536));
  await settle();
  const closing = fixture.server.close(5_000);
  await settle();
  fixture.clock.advance(5_000);
  assert.equal(await closing, 0);
  assert.equal(fixture.arena.usedBytes, 0);
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
  assert.equal(await server.close(1_000), 0);
  assert.equal(arena.usedBytes, 0);
});
