import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FailureKind } from '../../src/block/errno.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { DoubtfulDevice, FailingDevice, HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import { bytesOf, replyHex, requestHex } from './wire-client.ts';

const [read, write, disconnect, flush] = [0, 1, 2, 3];
const [EIO, EINVAL, ENOSPC] = [5, 22, 28];
const mebibyte = 1024 * 1024;

/** Bytes that tell their place. */
function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + seed * 17 + (at >> 8)) & 0xff);
}

test('what is written is read back, from the device too', async () => {
  const device = new MemoryDevice({ name: 'disk', sizeBytes: mebibyte });
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission();
    const payload = pattern(4096, 1);
    await wire.send(requestHex(write, 1, 8192, 4096, { payload }));
    await wire.expect(replyHex(1));
    await wire.send(requestHex(read, 2, 8192, 4096));
    await wire.expect(replyHex(2, 0, payload));
    assert.deepEqual(device.bytes.slice(8192, 12288), payload);
    assert.deepEqual([...fixture.server.counters], [1, 1, 0, 4096, 4096, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

test('cookies come back as they were, all 64 bits', async () => {
  await withServer({}, async (fixture) => {
    const wire = await fixture.transmission();
    for (const cookie of [0n, 2n ** 64n - 1n, 0x8000_0000_0000_0001n, 0x1234_5678_9abc_def0n]) {
      await wire.send(requestHex(flush, cookie, 0, 0));
      await wire.expect(replyHex(cookie));
    }
  });
});

/** A stream of every kind of message, and its answers. */
function mixedTraffic(): { sent: string; answers: string } {
  const small = pattern(512, 2);
  const direct = pattern(3072, 3);
  return {
    sent:
      requestHex(write, 1, 0, 512, { payload: small }) +
      requestHex(write, 2, mebibyte, 512, { payload: small }) +
      requestHex(write, 3, 1024, 3072, { payload: direct, flags: 1 }) +
      requestHex(0xff, 4, 0, 512) +
      requestHex(flush, 5, 0, 0) +
      requestHex(write, 6, 1, 513, { payload: pattern(513, 4) }) +
      requestHex(flush, 7, 0, 0),
    answers:
      replyHex(1) +
      replyHex(2, ENOSPC) +
      replyHex(3) +
      replyHex(4, EINVAL) +
      replyHex(5) +
      replyHex(6, EINVAL) +
      replyHex(7),
  };
}

/** Replies may come in any order; these are all of one size. */
function sortedReplies(hexText: string): string[] {
  return (hexText.match(/.{32}/g) ?? []).sort();
}

const splitLimits = { directPayloadBytesMin: 2048, receiveBufferBytes: 4096 };

test('a stream cut at every boundary is understood alike', async () => {
  const { sent, answers } = mixedTraffic();
  for (let cut = 0; cut <= sent.length; cut += 2 * 13) {
    const device = new MemoryDevice({ name: 'disk', sizeBytes: mebibyte });
    await withServer({ device, limits: splitLimits }, async (fixture) => {
      const wire = await fixture.transmission();
      if (cut > 0) await wire.send(sent.slice(0, cut));
      await settle();
      if (cut < sent.length) await wire.send(sent.slice(cut));
      assert.deepEqual(sortedReplies(await wire.receive(answers.length / 2)), sortedReplies(answers));
      assert.deepEqual(device.bytes.slice(0, 512), pattern(512, 2));
      assert.deepEqual(device.bytes.slice(1024, 4096), pattern(3072, 3));
      assert.equal(
        device.bytes.slice(512, 1024).every((byte) => byte === 0),
        true,
      );
    });
  }
});

test('a stream a byte at a time is understood alike', async () => {
  const { sent, answers } = mixedTraffic();
  await withServer({ limits: splitLimits, stream: { receiveBytesMax: 1 } }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(sent);
    assert.deepEqual(sortedReplies(await wire.receive(answers.length / 2)), sortedReplies(answers));
  });
});

test('requests that came together are answered in one send, with data in order', async () => {
  await withServer({}, async (fixture) => {
    const pair = fixture.connect();
    await pair.client.send([bytesOf(`00000003${'49484156454f50540000000100000000'}`)]);
    const sent = Array.from({ length: 32 }, (_, at) => requestHex(read, at, at * 512, 512)).join('');
    await settle();
    const before = pair.server.sendCount;
    await pair.client.send([bytesOf(sent)]);
    await settle();
    assert.equal(pair.server.sendCount - before, 1);
    assert.equal(fixture.server.counters[NbdCounter.reads], 32);
  });
});

test('replies leave as requests complete, in any order', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 512) + requestHex(read, 2, 512, 512) + requestHex(flush, 3, 0, 0));
    await settle();
    held.releaseNewest();
    await wire.expect(replyHex(3));
    held.releaseNewest();
    await wire.expect(replyHex(2, 0, new Uint8Array(512)));
    held.releaseAll();
    await wire.expect(replyHex(1, 0, new Uint8Array(512)));
  });
});

test('a failed read answers EIO without data, a failed write EIO, and the stream stays in step', async () => {
  const failing = new FailingDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }), 4096, 512);
  await withServer({ device: failing }, async (fixture) => {
    const wire = await fixture.transmission();
    for (let round = 0; round < 3; round += 1) {
      await wire.send(requestHex(read, 1, 0, 8192));
      await wire.expect(replyHex(1, EIO));
      await wire.send(requestHex(write, 2, 4096, 512, { payload: pattern(512, 1) }));
      await wire.expect(replyHex(2, EIO));
      await wire.send(requestHex(write, 3, 0, 128 * 1024, { payload: pattern(128 * 1024, 1) }));
      await wire.expect(replyHex(3, EIO));
      await wire.send(requestHex(read, 4, 8192, 512));
      await wire.expect(replyHex(4, 0, new Uint8Array(512)));
    }
    assert.equal(failing.failures, 9);
    assert.equal(fixture.server.counters[NbdCounter.errors], 9);
  });
});

const wireErrors: readonly (readonly [FailureKind, number])[] = [
  ['medium', 5],
  ['suspect', 5],
  ['path', 5],
  ['transient', 5],
  ['timed-out', 5],
  ['lost', 5],
  ['no-space', 28],
  ['refused', 1],
  ['closed', 108],
  ['invalid', 22],
  ['unsupported', 22],
];
for (const [kind, errno] of wireErrors) {
  test(`a failure of kind ${kind} is answered ${errno}`, async () => {
    const failing = new FailingDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }), 0, 512);
    failing.kind = kind;
    await withServer({ device: failing }, async (fixture) => {
      const wire = await fixture.transmission();
      await wire.send(requestHex(read, 1, 0, 512));
      await wire.expect(replyHex(1, errno));
      assert.equal(failing.failures, 1);
    });
  });
}

test('an invalid write consumes its payload, of any size up to 64 MiB', async () => {
  await withServer({}, async (fixture) => {
    const wire = await fixture.transmission();
    const payload = new Uint8Array(5 * mebibyte);
    await wire.send(requestHex(write, 1, 0, payload.length, { payload }) + requestHex(flush, 2, 0, 0));
    await wire.expect(replyHex(1, EINVAL) + replyHex(2));
    await wire.send(requestHex(write, 3, 0, 64 * mebibyte));
    const chunk = new Uint8Array(8 * mebibyte);
    for (let count = 0; count < 8; count += 1) await wire.stream.send([chunk]);
    await wire.expect(replyHex(3, EINVAL));
    await wire.send(requestHex(write, 4, 0, 0) + requestHex(read, 5, 0, 0));
    await wire.expect(replyHex(4, EINVAL) + replyHex(5, EINVAL));
  });
});

test('a write above 64 MiB drops the connection', async () => {
  await withServer({}, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(write, 1, 0, 64 * mebibyte + 1));
    assert.equal(await wire.receiveAll(), '');
    await settle();
    assert.match(fixture.notes[0]!, /sent a write of 67108865 bytes, at most 4194304 are served/);
  });
});

test('a read above the largest payload is answered EINVAL', async () => {
  const device = new MemoryDevice({ name: 'disk', sizeBytes: 16 * mebibyte });
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 4 * mebibyte + 512) + requestHex(read, 2, 0, 0xffffffff));
    await wire.expect(replyHex(1, EINVAL) + replyHex(2, EINVAL));
  });
});

test('garbage between requests drops the connection, what was in flight before is finished', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 512) + 'ab'.repeat(28));
    assert.equal(await wire.receiveAll(), '');
    await settle();
    assert.equal(held.inFlight, 1);
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 1, 'memory is still lent');
    held.releaseAll();
    await settle();
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
    assert.match(fixture.notes[0]!, /expected the request magic 0x25609513, found 0xabababab/);
  });
});

test('DISC finishes what is in flight, answers it and closes without a reply of its own', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(
      requestHex(read, 1, 0, 512) + requestHex(disconnect, 2, 0, 0) + requestHex(flush, 3, 0, 0),
    );
    await settle();
    assert.deepEqual(held.calls, ['read 0 512']);
    held.releaseAll();
    assert.equal(await wire.receiveAll(), replyHex(1, 0, new Uint8Array(512)));
    await settle();
    assert.deepEqual(fixture.notes, []);
  });
});

test('a client that goes away at any byte of a payload leaves nothing behind, and writes nothing', async () => {
  for (const length of [1024, 3072]) {
    const whole = requestHex(write, 1, 0, length, { payload: pattern(length, 5) });
    for (let cut = 2; cut < whole.length; cut += 2 * 97) {
      const device = new MemoryDevice({ name: 'disk', sizeBytes: mebibyte });
      await withServer({ device, limits: splitLimits }, async (fixture) => {
        const wire = await fixture.transmission();
        await wire.send(whole.slice(0, cut));
        await settle();
        await wire.stream.close();
        await settle();
        assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
        assert.equal(
          device.bytes.every((byte) => byte === 0),
          true,
        );
      });
    }
  }
});

test('a client that goes away with requests in flight leaves nothing behind when they have finished', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held }, async (fixture) => {
    const wire = await fixture.transmission();
    const payload = pattern(4096, 1);
    await wire.send(requestHex(write, 1, 0, 4096, { payload }) + requestHex(read, 2, 0, 65536));
    await settle();
    assert.equal(held.inFlight, 2);
    await wire.stream.close();
    await settle();
    assert.ok(fixture.arena.usedBytes > 65536, 'lent memory is not given back early');
    held.releaseAll();
    await settle();
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
    assert.equal(fixture.server.counters[NbdCounter.bytesWritten], 4096);
  });
});

test('requests beyond the limit of a connection wait, none is lost', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held, limits: { requestsInFlightMax: 8 } }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(
      Array.from({ length: 50 }, (_, at) =>
        requestHex(write, at, at * 512, 512, { payload: pattern(512, at) }),
      ).join(''),
    );
    await settle();
    assert.equal(held.inFlight, 8);
    held.releaseOne();
    await settle();
    assert.equal(held.inFlight, 8);
    assert.equal(held.calls.length, 9);
    held.releaseAll();
    assert.equal(sortedReplies(await wire.receive(50 * 16)).length, 50);
    assert.equal(held.inFlightMax, 8);
    assert.equal(fixture.server.counters[NbdCounter.writes], 50);
  });
});

test('bytes beyond the limit of a connection wait, a single larger request is served alone', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held, limits: { bytesInFlightMax: 8192 } }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(
      requestHex(read, 1, 0, 4096) +
        requestHex(read, 2, 0, 4096) +
        requestHex(read, 3, 0, 65536) +
        requestHex(read, 4, 0, 512),
    );
    await settle();
    assert.deepEqual(held.calls, ['read 0 4096', 'read 0 4096']);
    held.releaseOne();
    await settle();
    assert.equal(held.calls.length, 2);
    held.releaseOne();
    await settle();
    assert.deepEqual(held.calls.slice(2), ['read 0 65536']);
    held.releaseOne();
    await settle();
    assert.deepEqual(held.calls.slice(3), ['read 0 512']);
    held.releaseAll();
    const bytes = 4 * 16 + 4096 + 4096 + 65536 + 512;
    assert.equal((await wire.receive(bytes)).length, 2 * bytes);
  });
});

test('a client that goes away while it waits for memory leaves nothing behind', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held, arenaBytes: mebibyte }, async (fixture) => {
    const greedy = await fixture.transmission();
    await greedy.send(Array.from({ length: 20 }, (_, at) => requestHex(read, at, 0, 65536)).join(''));
    await settle();
    const waiting = await fixture.transmission();
    await waiting.send(requestHex(read, 1, 0, 65536));
    await settle();
    await waiting.stream.close();
    await greedy.stream.close();
    held.releaseAll();
    await settle();
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
  });
});

test('a request above the largest device request is split; one failed part fails it whole', async () => {
  const memory = new MemoryDevice({ name: 'disk', sizeBytes: 4 * mebibyte });
  const failing = new FailingDevice(memory, 3 * mebibyte, 512);
  const held = new HeldDevice(failing);
  held.releaseAll();
  await withServer({ device: held, arenaBytes: 16 * mebibyte }, async (fixture) => {
    const wire = await fixture.transmission();
    const payload = pattern(2.5 * mebibyte, 9);
    await wire.send(requestHex(write, 1, 512, payload.length, { payload, flags: 1 }));
    await wire.expect(replyHex(1));
    assert.deepEqual(held.calls, [
      `write 512 ${mebibyte} fua`,
      `write ${mebibyte + 512} ${mebibyte} fua`,
      `write ${2 * mebibyte + 512} ${mebibyte / 2} fua`,
    ]);
    await wire.send(requestHex(read, 2, 512, payload.length));
    await wire.expect(replyHex(2, 0, payload));
    await wire.send(requestHex(read, 3, 0, 4 * mebibyte));
    await wire.expect(replyHex(3, EIO));
    assert.equal(failing.failures, 1);
    await wire.send(requestHex(flush, 4, 0, 0));
    await wire.expect(replyHex(4));
  });
});

test('FUA reaches the device with writes, and is ignored with reads and flushes', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  held.releaseAll();
  await withServer({ device: held }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(write, 1, 0, 512, { flags: 1, payload: pattern(512, 1) }));
    await wire.expect(replyHex(1));
    await wire.send(requestHex(flush, 2, 0, 0, { flags: 1 }));
    await wire.expect(replyHex(2));
    assert.deepEqual(held.calls, ['write 0 512 fua', 'flush']);
  });
});

test('R22 a flush on one connection is called after every write that was answered on another', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held }, async (fixture) => {
    const writer = await fixture.transmission();
    const flusher = await fixture.transmission();
    await writer.send(requestHex(write, 1, 0, 512, { payload: pattern(512, 1) }));
    await settle();
    held.releaseOne();
    await writer.expect(replyHex(1));
    const inFlightBefore = held.inFlight;
    await flusher.send(requestHex(flush, 2, 0, 0));
    await settle();
    assert.equal(inFlightBefore, 0, 'the write had settled before its reply');
    assert.deepEqual(held.calls, ['write 0 512', 'flush']);
    held.releaseAll();
    await flusher.expect(replyHex(2));
  });
});

test('R7 a failed flush is told to every connection once, on its next FLUSH or FUA, and to no later one', async () => {
  const device = new DoubtfulDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device }, async (fixture) => {
    const first = await fixture.transmission();
    const second = await fixture.transmission();
    await settle();
    assert.equal(fixture.server.owesFlushFailure, false);
    device.failedFlushes += 1;
    await first.send(requestHex(flush, 1, 0, 0) + requestHex(flush, 2, 0, 0));
    await first.expect(replyHex(1, 5) + replyHex(2));
    assert.equal(fixture.server.owesFlushFailure, true, 'the second one has not heard');
    const payload = pattern(512, 1);
    await second.send(requestHex(read, 3, 0, 512, { flags: 1 }));
    await second.expect(replyHex(3) + '00'.repeat(512));
    await second.send(requestHex(write, 4, 0, 512, { payload }));
    await second.expect(replyHex(4));
    await second.send(requestHex(write, 5, 0, 512, { flags: 1, payload }));
    await second.expect(replyHex(5, 5));
    assert.equal(fixture.server.owesFlushFailure, false);
    await second.send(requestHex(write, 6, 0, 512, { flags: 1, payload }) + requestHex(flush, 7, 0, 0));
    await second.expect(replyHex(6) + replyHex(7));
    const later = await fixture.transmission();
    await later.send(requestHex(flush, 8, 0, 0));
    await later.expect(replyHex(8));
  });
});

test('R7 a FLUSH or FUA that fails for another reason tells nobody of a failed flush: the next one does', async () => {
  const inner = new FailingDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }), 4096, 512);
  const device = new DoubtfulDevice(inner);
  await withServer({ device }, async (fixture) => {
    const payload = pattern(512, 1);
    const others: readonly (readonly [string, number])[] = [
      [requestHex(write, 1, mebibyte, 512, { flags: 1, payload }), 28],
      [requestHex(write, 1, 100, 512, { flags: 1, payload }), 22],
      [requestHex(flush, 1, 512, 0), 22],
      [requestHex(write, 1, 4096, 512, { flags: 1, payload }), 5],
    ];
    for (const [hex, errno] of others) {
      const wire = await fixture.transmission();
      await settle();
      device.failedFlushes += 1;
      await wire.send(hex + requestHex(flush, 2, 0, 0) + requestHex(flush, 3, 0, 0));
      await wire.expect(replyHex(1, errno) + replyHex(2, 5) + replyHex(3));
      await wire.stream.close();
      await settle();
    }
    assert.equal(inner.failures, 1, 'the bad sector was met');
  });
});

test('a client that takes no replies is dropped in time, and its memory comes back', async () => {
  await withServer({ limits: { stallTimeoutMs: 60_000 } }, async (fixture) => {
    const wire = await fixture.transmission({ capacityBytes: 4096 });
    await wire.send(requestHex(read, 1, 0, 65536));
    await settle();
    const used = fixture.arena.usedBytes;
    fixture.clock.advance(60_000);
    await settle();
    assert.equal(fixture.arena.usedBytes, used);
    fixture.clock.advance(10_000);
    await settle();
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
    assert.match(fixture.notes[0]!, /did not take its replies in time/);
  });
});

test('a client that announces a long payload and does not send it is dropped in time', async () => {
  await withServer({ limits: { stallTimeoutMs: 60_000 } }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(write, 1, 0, 65536));
    await settle();
    fixture.clock.advance(70_000);
    await settle();
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
  });
});

test('an idle client is not dropped', async () => {
  await withServer({}, async (fixture) => {
    const wire = await fixture.transmission();
    await settle();
    fixture.clock.advance(24 * 3600 * 1000);
    await settle();
    await wire.send(requestHex(flush, 1, 0, 0));
    await wire.expect(replyHex(1));
  });
});

test('any requests in any pieces: every request is answered once, and the disk holds what was acknowledged', async () => {
  const request = fc.record({
    command: fc.constantFrom(read, write, write, flush, 8),
    block: fc.integer({ min: 0, max: 33 }),
    blocks: fc.integer({ min: 0, max: 12 }),
    odd: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 20 }),
      async (requests, cuts) => {
        const device = new MemoryDevice({ name: 'disk', sizeBytes: 32 * 512 });
        const model = new Uint8Array(32 * 512);
        await withServer(
          {
            device,
            limits: {
              ...splitLimits,
              requestsInFlightMax: 4,
              bytesInFlightMax: 4096,
              deviceRequestBytesMax: 1024,
            },
          },
          async (fixture) => {
            const wire = await fixture.transmission();
            // One at a time, so that the model knows what each read must see.
            for (const [cookie, { command, block, blocks, odd }] of requests.entries()) {
              const isTransfer = command === read || command === write;
              const offset = isTransfer ? block * 512 + (odd ? 1 : 0) : 0;
              const length = isTransfer ? blocks * 512 : 0;
              const payload = pattern(length, cookie);
              const sent = requestHex(command, cookie, offset, length, command === write ? { payload } : {});
              let at = 0;
              for (let cut = 0; at < sent.length; cut += 1) {
                const end = at + 2 * cuts[cut % cuts.length]!;
                await wire.send(sent.slice(at, end));
                at = end;
              }
              const fits = length > 0 && offset + length <= model.length;
              const valid = command === flush || (isTransfer && fits && !odd);
              if (valid && command === write) model.set(payload, offset);
              const past = command === write && length > 0 && offset + length > model.length;
              const errno = valid ? 0 : past ? ENOSPC : EINVAL;
              const data = valid && command === read ? model.slice(offset, offset + length) : undefined;
              await wire.expect(replyHex(cookie, errno, data));
            }
            assert.deepEqual(device.bytes, model);
          },
        );
      },
    ),
    { numRuns: 60 },
  );
});

test('any bytes from a client cost at most its own connection, and leave nothing behind', async () => {
  const valid = fc.record({
    command: fc.integer({ min: 0, max: 8 }),
    flags: fc.constantFrom(0, 1, 2, 0x8000),
    offset: fc.oneof(
      fc.integer({ min: 0, max: 64 }).map((block) => block * 512),
      fc.maxSafeNat(),
    ),
    length: fc.oneof(
      fc.integer({ min: 0, max: 16 }).map((block) => block * 512),
      fc.nat(5000),
    ),
  });
  const chunk = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('hex')),
    valid.map(({ command, flags, offset, length }) => requestHex(command, 1, offset, length, { flags })),
    fc.integer({ min: 1, max: 3000 }).map((length) => '00'.repeat(length)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(chunk, { maxLength: 12 }), fc.boolean(), async (chunks, inHandshake) => {
      await withServer({ limits: splitLimits }, async (fixture) => {
        const other = await fixture.client();
        const wire = inHandshake ? fixture.wire() : await fixture.transmission();
        // The server may hang up at any byte.
        for (const hexText of chunks) await wire.send(hexText).catch(() => undefined);
        await settle();
        await wire.stream.close();
        await settle();
        await other.read(new Uint8Array(512), 0);
        assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 1);
      });
    }),
    { numRuns: 150 },
  );
});
