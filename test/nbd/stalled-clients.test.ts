import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { settle } from './manual-clock.ts';
import { type ServerFixture, withServer } from './server-fixture.ts';
import { optionHex, replyHex, requestHex, type WireClient } from './wire-client.ts';

const [read, write] = [0, 1];
const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
/** How often the server looks at its clients: a deadline is kept to within this. */
const watchMs = 5_000;

/** Counts what is asked of it. */
class CountingDevice extends FilterDevice {
  reads = 0;
  writes = 0;

  constructor(below: BlockDevice = new MemoryDevice({ name: 'disk', sizeBytes: mebibyte })) {
    super(below);
  }

  override read(target: Uint8Array, offset: number): Promise<void> {
    this.reads += 1;
    return super.read(target, offset);
  }

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    this.writes += 1;
    return super.write(source, offset, flags);
  }
}

function openConnections(fixture: ServerFixture): number {
  return fixture.server.counters[NbdCounter.connectionsOpen]!;
}

async function pass(fixture: ServerFixture, ms: number): Promise<void> {
  await settle();
  fixture.clock.advance(ms);
  await settle();
}

/** Sends `hex` byte by byte, one every `everyMs`, for as long as it is taken; the time that took. */
async function trickle(
  fixture: ServerFixture,
  wire: WireClient,
  hex: string,
  everyMs: number,
): Promise<number> {
  const others = openConnections(fixture) - 1;
  const startMs = fixture.clock.nowMs();
  for (let at = 0; at < hex.length && openConnections(fixture) > others; at += 2) {
    await wire.send(hex.slice(at, at + 2)).catch(() => undefined);
    await pass(fixture, everyMs);
  }
  return fixture.clock.nowMs() - startMs;
}

/** It has been dropped after about `limitMs`, with one note that says `why`, and `pool` is as before. */
function assertDropped(
  fixture: ServerFixture,
  { tookMs, limitMs, why }: { readonly tookMs: number; readonly limitMs: number; readonly why: RegExp },
): void {
  assert.equal(openConnections(fixture), 0);
  // The wait is seen at one look, and its end at another.
  assert.ok(tookMs >= limitMs && tookMs <= limitMs + 3 * watchMs, `dropped after ${tookMs} ms`);
  assert.equal(fixture.notes.length, 1);
  assert.match(fixture.notes[0]!, why);
}

describe('a client that sends a byte a second', () => {
  it('in its handshake is dropped after 30 s, however much it has sent', async () => {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      const tookMs = await trickle(fixture, wire, `00000003${optionHex(3).repeat(10)}`, 1_000);
      assertDropped(fixture, { tookMs, limitMs: 30_000, why: /did not finish its handshake in time/ });
    });
  });

  it('in a request header is dropped after 120 s', async () => {
    await withServer({}, async (fixture) => {
      const wire = await fixture.transmission();
      // 28 bytes: five seconds each.
      const tookMs = await trickle(fixture, wire, requestHex(read, 1, 0, 512), 5_000);
      assertDropped(fixture, { tookMs, limitMs: 120_000, why: /did not send the rest of a request in time/ });
    });
  });

  for (const [what, length, offset] of [
    ['a short write', 4 * kibibyte, 0],
    ['a long write', 64 * kibibyte, 0],
    ['a write that is refused', 64 * kibibyte, mebibyte],
  ] as const) {
    it(`in the payload of ${what} is dropped after 120 s and the time of its bytes; nothing is written`, async () => {
      const device = new CountingDevice();
      await withServer({ device }, async (fixture) => {
        const wire = await fixture.transmission();
        const usedBytes = fixture.arena.usedBytes;
        await wire.send(requestHex(write, 1, offset, length));
        await settle();
        const tookMs = await trickle(fixture, wire, 'ff'.repeat(length), 1_000);
        const limitMs = 120_000 + length / 64;
        assertDropped(fixture, { tookMs, limitMs, why: /did not send the rest of a request in time/ });
        assert.equal(fixture.arena.usedBytes, usedBytes, 'its memory is given back');
        assert.equal(device.writes, 0);
      });
    });
  }
});

describe('a client on a slow line', () => {
  it('is served when it sends a long write at half a megabit a second', async () => {
    const device = new CountingDevice();
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.transmission();
      const length = mebibyte;
      await wire.send(requestHex(write, 1, 0, length));
      for (let sent = 0; sent < length; sent += 64 * kibibyte) {
        await pass(fixture, 1_000);
        await wire.stream.send([new Uint8Array(64 * kibibyte).fill(5)]);
      }
      await wire.expect(replyHex(1));
      assert.equal(device.writes, 1);
    });
  });

  it('is served when it takes 1 MiB of replies within the time of its bytes, after the limit alone had passed', async () => {
    const device = new CountingDevice();
    const limits = { stallTimeoutMs: 10_000 };
    await withServer({ device, limits }, async (fixture) => {
      const wire = await fixture.transmission({ capacityBytes: 4 * kibibyte });
      await wire.send(requestHex(read, 1, 0, mebibyte));
      await settle();
      await pass(fixture, 20_000);
      await wire.expect(replyHex(1, 0, new Uint8Array(mebibyte)));
      await settle();
      await pass(fixture, 60_000);
      assert.equal(openConnections(fixture), 1);
      assert.deepEqual(fixture.notes, []);
    });
  });

  it('is not dropped for many requests in a row that each come in time', async () => {
    await withServer({}, async (fixture) => {
      const wire = await fixture.transmission();
      const hex = requestHex(read, 1, 0, 512);
      for (let count = 0; count < 10; count += 1) {
        await wire.send(hex.slice(0, 30));
        await pass(fixture, 60_000);
        await wire.send(hex.slice(30));
        await wire.expect(replyHex(1, 0, new Uint8Array(512)));
      }
    });
  });

  it('is not dropped while the server is what it waits for', async () => {
    await withServer({}, async (fixture) => {
      const wire = await fixture.transmission();
      fixture.server.suspend();
      // One request and the beginning of another wait in the buffer.
      const hex = requestHex(read, 1, 0, 512);
      await wire.send(hex + hex.slice(0, 30));
      await pass(fixture, 3_600_000);
      fixture.server.resume();
      await wire.send(hex.slice(30));
      await wire.expect(replyHex(1, 0, new Uint8Array(512)).repeat(2));
    });
  });
});

describe('a healthy client beside hostile ones', () => {
  it('has every request answered while others stall in every way there is', async () => {
    const device = new CountingDevice();
    const connectionsMax = 8;
    const arenaBytes = connectionsMax * 128 * kibibyte + 8 * mebibyte;
    await withServer({ device, arenaBytes, limits: { connectionsMax } }, async (fixture) => {
      const slow = { capacityBytes: 4 * kibibyte };
      // In the handshake, in a header, in a short and a long payload.
      await fixture.wire().send('0000');
      await (await fixture.transmission()).send(requestHex(read, 1, 0, 512).slice(0, 20));
      await (await fixture.transmission()).send(requestHex(write, 1, 0, 4096));
      await (await fixture.transmission()).send(requestHex(write, 1, 0, mebibyte));
      // A flood without taking a reply, and reads of the largest size, not taken either.
      const flood = requestHex(read, 1, 0, 512).repeat(2_000);
      void (await fixture.transmission(slow)).send(flood).catch(() => undefined);
      const largest = requestHex(read, 1, 0, mebibyte).repeat(100);
      void (await fixture.transmission(slow)).send(largest).catch(() => undefined);
      void (await fixture.transmission(slow)).send(largest).catch(() => undefined);
      await settle();
      const readsBefore = device.reads;
      const healthy = await fixture.client();
      const count = 1_000;
      const target = new Uint8Array(4096);
      for (let at = 0; at < count; at += 1) {
        if (at % 2 === 0) await healthy.write(target.fill(at), (at % 256) * 4096);
        else await healthy.read(target, ((at - 1) % 256) * 4096);
        assert.equal(target[0], (at - (at % 2)) & 0xff);
      }
      assert.equal(device.writes, count / 2, 'all of its writes, and nobody else’s');
      assert.equal(device.reads - readsBefore, count / 2);
      assert.equal(openConnections(fixture), connectionsMax, 'nobody was dropped meanwhile');
      await healthy.disconnect();
      await pass(fixture, 10 * 60_000);
      assert.equal(openConnections(fixture), 0, 'none of the others stays for ever');
    });
  });

  it('R36 finds memory while all others ask for the largest reads there are and take none', async () => {
    const device = new CountingDevice(new MemoryDevice({ name: 'disk', sizeBytes: 4 * mebibyte }));
    const connectionsMax = 8;
    const poolBytes = 8 * mebibyte;
    const arenaBytes = connectionsMax * 128 * kibibyte + poolBytes;
    await withServer({ device, arenaBytes, limits: { connectionsMax } }, async (fixture) => {
      const bufferBytes = fixture.arena.usedBytes;
      for (let hostile = 0; hostile < connectionsMax - 1; hostile += 1) {
        const wire = await fixture.transmission({ capacityBytes: 4 * kibibyte });
        void wire.send(requestHex(read, 1, 0, 4 * mebibyte).repeat(10)).catch(() => undefined);
        await settle();
        await pass(fixture, 2_000);
      }
      const heldBytes = fixture.arena.usedBytes - bufferBytes;
      assert.ok(heldBytes <= poolBytes, `${heldBytes} bytes`);
      const healthy = await fixture.client();
      const target = new Uint8Array(64 * kibibyte);
      let answered = 0;
      const asking = (async () => {
        for (; answered < 100; answered += 1) await healthy.read(target, 0);
      })();
      // Who waits for memory has his turn within seconds, whatever the others hold.
      for (let seconds = 0; seconds < 20 && answered < 100; seconds += 1) await pass(fixture, 1_000);
      await asking;
      assert.equal(answered, 100);
      await healthy.disconnect();
      await pass(fixture, 30 * 60_000);
    });
  });
});
