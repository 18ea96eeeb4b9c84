import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { deviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { ServerFixture, withServer } from './server-fixture.ts';
import { replyHex, requestHex } from './wire-client.ts';

const [read, write, flush] = [0, 1, 3];
const eshutdown = 108;
const kibibyte = 1024;

/** Counts the calls, and refuses all of them once it is closed. */
class RefusingDevice extends FilterDevice {
  calls = 0;
  refuses = false;

  constructor(below: BlockDevice = new MemoryDevice({ name: 'disk', sizeBytes: kibibyte * kibibyte })) {
    super(below);
  }

  override read(target: Uint8Array, offset: number): Promise<void> {
    return this.#answer(() => super.read(target, offset));
  }

  override write(source: Uint8Array, offset: number): Promise<void> {
    return this.#answer(() => super.write(source, offset));
  }

  override flush(): Promise<void> {
    return this.#answer(() => super.flush());
  }

  #answer(pass: () => Promise<void>): Promise<void> {
    this.calls += 1;
    return this.refuses ? Promise.reject(deviceError(this.name, 'closed', 0, 0, Errno.ESHUTDOWN)) : pass();
  }
}

test('R30 requests that come while suspended wait in the socket, and take no memory', async () => {
  const device = new RefusingDevice();
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission({ capacityBytes: 64 * kibibyte });
    const usedBytes = fixture.arena.usedBytes;
    fixture.server.suspend();
    const payload = new Uint8Array(4 * kibibyte).fill(7);
    const requests = Array.from({ length: 100 }, (_, cookie) =>
      requestHex(write, cookie, cookie * payload.length, payload.length, { payload }),
    ).join('');
    let sent = false;
    const sending = wire.send(requests).then(() => {
      sent = true;
    });
    await settle();
    fixture.clock.advance(60 * 60_000);
    await settle();
    assert.equal(sent, false, 'the socket is full, the client waits');
    assert.equal(device.calls, 0);
    assert.equal(fixture.arena.usedBytes, usedBytes);
    fixture.server.resume();
    await wire.expect(Array.from({ length: 100 }, (_, cookie) => replyHex(cookie)).join(''));
    await sending;
    assert.equal(device.calls, 100);
  });
});

test('R30 what is under way is answered while suspended, and what follows waits', async () => {
  const device = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: kibibyte * kibibyte }));
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 512) + requestHex(flush, 2, 0, 0));
    await settle();
    fixture.server.suspend();
    await wire.send(requestHex(read, 3, 512, 512) + requestHex(flush, 4, 0, 0));
    await settle();
    device.releaseAll();
    await settle();
    assert.deepEqual(device.calls, ['read 0 512', 'flush']);
    await wire.expect(replyHex(1, 0, new Uint8Array(512)) + replyHex(2));
    fixture.server.resume();
    await wire.expect(replyHex(3, 0, new Uint8Array(512)) + replyHex(4));
  });
});

for (const payloadBytes of [4 * kibibyte, 128 * kibibyte]) {
  test(`R30 a write of ${payloadBytes} bytes of which a part has come is written once, after resume`, async () => {
    const device = new RefusingDevice();
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.transmission();
      const payload = new Uint8Array(payloadBytes).fill(9);
      const hex = requestHex(write, 1, 0, payload.length, { payload });
      await wire.send(hex.slice(0, 2000));
      await settle();
      fixture.server.suspend();
      await wire.send(hex.slice(2000) + requestHex(read, 2, 0, 512));
      await settle();
      // A long payload was on its way into its own piece already: the device is the one to hold that one.
      assert.equal(device.calls, payloadBytes < 64 * kibibyte ? 0 : 1);
      fixture.server.resume();
      await wire.expect(replyHex(1) + replyHex(2, 0, payload.slice(0, 512)));
      assert.equal(device.calls, 2);
    });
  });
}

test('R30 a client that comes while suspended shakes hands and waits', async () => {
  await withServer({}, async (fixture) => {
    fixture.server.suspend();
    const client = await fixture.client();
    const target = new Uint8Array(512).fill(1);
    let answered = false;
    const reading = client.read(target, 0).then(() => {
      answered = true;
    });
    await settle();
    fixture.clock.advance(60 * 60_000);
    await settle();
    assert.equal(answered, false);
    fixture.server.resume();
    await reading;
    await client.disconnect();
  });
});

test('R30 a server that closes while suspended has each held request refused once', async () => {
  const device = new RefusingDevice();
  const fixture = new ServerFixture({ device });
  const wires = [await fixture.transmission(), await fixture.transmission({ receiveBytesMax: 7 })];
  fixture.server.suspend();
  const payload = new Uint8Array(kibibyte).fill(3);
  const count = 300;
  for (const wire of wires) {
    const requests = Array.from({ length: count }, (_, cookie) => {
      if (cookie % 3 === 0) return requestHex(read, cookie, 0, 512);
      return cookie % 3 === 1
        ? requestHex(write, cookie, 0, kibibyte, { payload })
        : requestHex(flush, cookie, 0, 0);
    });
    await wire.send(requests.join(''));
  }
  await settle();
  assert.equal(device.calls, 0);
  const received = Promise.all(wires.map((wire) => wire.receiveAll()));
  assert.equal(await fixture.close(8_000), 0);
  const expected = Array.from({ length: count }, (_, cookie) => replyHex(cookie, eshutdown)).join('');
  for (const replies of await received) assert.equal(replies, expected);
  assert.equal(device.calls, 0, 'none of them was asked of the device');
  assert.equal(fixture.arena.usedBytes, 0);
});

test('R30 a client that never stops asking is not waited for when a suspended server closes', async () => {
  const device = new RefusingDevice();
  const fixture = new ServerFixture({ device });
  const client = await fixture.client();
  fixture.server.suspend();
  let stop = false;
  let refused = 0;
  const asking = (async () => {
    while (!stop) {
      try {
        await client.read(new Uint8Array(512), 0);
      } catch {
        // Refused: asked again, until the connection ends.
        refused += 1;
        await settle();
      }
    }
  })();
  assert.equal(await fixture.close(8_000), 0);
  stop = true;
  await asking;
  assert.ok(refused > 1);
  assert.equal(device.calls, 0);
  assert.equal(fixture.arena.usedBytes, 0);
});
