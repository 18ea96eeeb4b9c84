import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { UnfinishedWrites } from '../../src/nbd/unfinished-writes.ts';
import { HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import { replyHex, requestHex } from './wire-client.ts';

const write = 1;
const bytes = (value: number): Uint8Array => new Uint8Array(1024).fill(value);

describe('writes of several connections', () => {
  test('R3 what a broken connection left behind lands before what its client sends next', async () => {
    const memory = new MemoryDevice({ name: 'disk', sizeBytes: 1 << 20 });
    const device = new HeldDevice(memory);
    await withServer({ device }, async (fixture) => {
      const first = await fixture.transmission();
      await first.send(requestHex(write, 1, 4096, 1024, { payload: bytes(2) }));
      await settle();
      await first.stream.close();
      const second = await fixture.transmission();
      await second.send(
        requestHex(write, 2, 4608, 1024, { payload: bytes(3) }) +
          requestHex(write, 3, 8192, 1024, { payload: bytes(4) }),
      );
      await settle();
      assert.deepEqual(device.calls, ['write 4096 1024', 'write 8192 1024'], 'what does not overlap goes on');
      device.releaseAll();
      await settle();
      await second.expect(replyHex(3) + replyHex(2));
      assert.deepEqual(device.calls, ['write 4096 1024', 'write 8192 1024', 'write 4608 1024']);
      const found = new Uint8Array(2048);
      await memory.read(found, 4096);
      assert.deepEqual(
        found,
        new Uint8Array([...bytes(2).subarray(0, 512), ...bytes(3), ...new Uint8Array(512)]),
      );
    });
  });

  test('R3 a write waits for the unanswered write of a live connection too, and for none of its own', async () => {
    const device = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: 1 << 20 }));
    await withServer({ device }, async (fixture) => {
      const [first, second] = [await fixture.transmission(), await fixture.transmission()];
      await first.send(requestHex(write, 1, 0, 1024, { payload: bytes(1) }));
      await first.send(requestHex(write, 2, 512, 1024, { payload: bytes(2) }));
      await settle();
      assert.equal(device.calls.length, 2);
      await second.send(requestHex(write, 3, 1024, 1024, { payload: bytes(3) }));
      await settle();
      assert.equal(device.calls.length, 2);
      device.releaseOne();
      await settle();
      assert.equal(device.calls.length, 2, 'the other one overlaps');
      device.releaseAll();
      await settle();
      assert.equal(device.calls.length, 3);
      await first.expect(replyHex(1) + replyHex(2));
      await second.expect(replyHex(3));
    });
  });

  test('R3 nor is a write overtaken that itself still waits for another one, when its connection breaks', async () => {
    const memory = new MemoryDevice({ name: 'disk', sizeBytes: 1 << 20 });
    const device = new HeldDevice(memory);
    await withServer({ device }, async (fixture) => {
      const [first, second] = [await fixture.transmission(), await fixture.transmission()];
      await first.send(requestHex(write, 1, 0, 1024, { payload: bytes(1) }));
      await settle();
      await second.send(requestHex(write, 2, 512, 1024, { payload: bytes(2) }));
      await settle();
      assert.deepEqual(device.calls, ['write 0 1024'], 'the second waits for the first');
      await second.stream.close();
      const third = await fixture.transmission();
      await third.send(requestHex(write, 3, 1024, 1024, { payload: bytes(3) }));
      await settle();
      assert.deepEqual(device.calls, ['write 0 1024'], 'the third waits for the second, not for the first');
      device.releaseAll();
      await settle();
      await third.expect(replyHex(3));
      await first.expect(replyHex(1));
      assert.deepEqual(device.calls, ['write 0 1024', 'write 512 1024', 'write 1024 1024']);
      const found = new Uint8Array(1024);
      await memory.read(found, 1024);
      assert.deepEqual(found, bytes(3), 'what was acknowledged last is there');
    });
  });
});

describe('what a client that left had sent and nobody had begun', () => {
  test('R3 is not begun any more behind a full connection, where it would land over what it sent on the next one', async () => {
    const memory = new MemoryDevice({ name: 'disk', sizeBytes: 1 << 20 });
    const device = new HeldDevice(memory);
    await withServer({ device, limits: { requestsInFlightMax: 1 } }, async (fixture) => {
      const first = await fixture.transmission();
      await first.send(requestHex(write, 1, 0, 1024, { payload: bytes(1) }));
      await first.send(requestHex(write, 2, 4096, 1024, { payload: bytes(2) }));
      await settle();
      await first.stream.close();
      const second = await fixture.transmission();
      await second.send(requestHex(write, 3, 4096, 1024, { payload: bytes(3) }));
      await settle();
      device.releaseNewest();
      await settle();
      await second.expect(replyHex(3));
      device.releaseAll();
      await settle();
      assert.deepEqual(device.calls, ['write 0 1024', 'write 4096 1024']);
      const found = new Uint8Array(1024);
      await memory.read(found, 4096);
      assert.deepEqual(found, bytes(3));
    });
  });

  test('R3, R30, R36 nor behind a suspension, or for want of memory', async () => {
    const device = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: 1 << 20 }));
    await withServer({ device }, async (fixture) => {
      fixture.server.suspend();
      const suspended = await fixture.transmission();
      await suspended.send(requestHex(write, 1, 0, 1024, { payload: bytes(1) }));
      await settle();
      await suspended.stream.close();
      fixture.server.resume();
      await settle();
      assert.deepEqual(device.calls, []);
      const pieces: Uint8Array[] = [];
      while (fixture.arena.freeBytes('client') > 0) {
        pieces.push(fixture.arena.take(4096, 'client') ?? assert.fail('a page is free'));
      }
      const poor = await fixture.transmission();
      await poor.send(requestHex(write, 1, 0, 1024, { payload: bytes(1) }));
      await settle();
      await poor.stream.close();
      for (const piece of pieces) fixture.arena.release(piece);
      fixture.clock.advance(2_000);
      await settle();
      assert.deepEqual(device.calls, []);
      device.releaseAll();
    });
  });
});

test('UnfinishedWrites agrees with a list of ranges', () => {
  const step = fc.record({
    connection: fc.nat(2),
    offset: fc.nat(20),
    length: fc.integer({ min: 1, max: 6 }),
    ends: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const writes = new UnfinishedWrites();
      const numbers = [writes.newConnection(), writes.newConnection(), writes.newConnection()];
      const model: { ticket: number; connection: number; offset: number; end: number }[] = [];
      for (const { connection, offset, length, ends } of steps) {
        const oldest = ends ? model.shift() : undefined;
        if (oldest !== undefined) writes.end(oldest.ticket);
        const ticket = writes.begin(numbers[connection]!, offset, length);
        model.push({ ticket, connection, offset, end: offset + length });
        for (const [index, write] of model.entries()) {
          const expected = model
            .slice(0, index)
            .some(
              (other) =>
                other.connection !== write.connection && other.offset < write.end && write.offset < other.end,
            );
          assert.equal(writes.mustWait(write.ticket), expected);
        }
      }
      for (const { ticket } of model) writes.end(ticket);
      for (const number of numbers) writes.connectionEnded(number);
      assert(!writes.mustWait(writes.begin(writes.newConnection(), 0, 100)));
    }),
  );
});
