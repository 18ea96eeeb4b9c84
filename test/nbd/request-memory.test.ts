import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { arenaPageBytes, arenaPieceBytes, PagedArena } from '../../src/block/buffer-arena.ts';
import { deviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { MemoryShare } from '../../src/nbd/memory-share.ts';
import { RequestMemory } from '../../src/nbd/request-memory.ts';
import { HangingDevice } from './controlled-devices.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import { replyHex, requestHex, type WireClient } from './wire-client.ts';

const read = 0;
const EIO = 5;
const eshutdown = 108;
const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
const readBytes = 64 * kibibyte;
/** Of four connections, beside the pool. */
const bufferBytes = 512 * kibibyte;
const poolBytes = mebibyte;
/** Of each of four connections: a quarter of the pool is divided among them. */
const ownBytes = poolBytes / 16;
const hangingFrom = 512 * kibibyte;

function hangingDisk(): HangingDevice {
  return new HangingDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }), hangingFrom);
}

function reads(count: number, offset: number): string {
  return Array.from({ length: count }, (_, at) => requestHex(read, at, offset, readBytes)).join('');
}

/** One read that must be answered without help. */
async function isServed(wire: WireClient): Promise<void> {
  await wire.send(requestHex(read, 7, 0, readBytes));
  await wire.expect(replyHex(7, 0, new Uint8Array(readBytes)));
  await settle();
}

const replyBytes = 16 + readBytes;

describe('R36 the pool of a server', () => {
  test('R36 a connection whose requests hang has its own part and half of the common one, exactly, and another one goes on', async () => {
    const device = hangingDisk();
    await withServer({ device, arenaBytes: bufferBytes + poolBytes }, async (fixture) => {
      const { arena, clock } = fixture;
      const hung = await fixture.transmission();
      const healthy = await fixture.transmission();
      await hung.send(reads(20, hangingFrom));
      await settle();
      for (let second = 0; second < 40; second += 1) {
        // A 16th of the pool is its own, 12 are for all: 1 and 6.
        assert.equal(device.calls, 7);
        assert.equal(arena.usedBytes, bufferBytes + 7 * readBytes);
        await isServed(healthy);
        clock.advance(1_000);
        await settle();
      }
      await healthy.send(reads(100, 0));
      assert.equal((await healthy.receive(100 * replyBytes)).length, 2 * 100 * replyBytes);
      device.releaseAll();
      assert.equal((await hung.receive(20 * replyBytes)).length, 2 * 20 * replyBytes);
      await settle();
      assert.equal(arena.usedBytes, bufferBytes);
    });
  });

  test('R36 while old requests hold more than half, who has one gets no memory, and everybody else does', async () => {
    const device = hangingDisk();
    await withServer({ device, arenaBytes: bufferBytes + poolBytes }, async (fixture) => {
      const { arena, clock } = fixture;
      const hungBytes = (): number => arena.usedBytes - bufferBytes;
      const first = await fixture.transmission();
      const second = await fixture.transmission();
      const healthy = await fixture.transmission();
      await first.send(reads(20, hangingFrom));
      await settle();
      await second.send(reads(20, hangingFrom));
      await settle();
      assert.equal(device.calls, 7 + 4, 'the second has as much as it leaves free, and its own');
      assert.equal(hungBytes(), 11 * readBytes);
      clock.advance(2_000);
      await settle();
      await isServed(healthy);
      // 5 of the first and 4 of the second are left, all old: 576 KiB of 1024.
      device.release(2);
      assert.equal((await first.receive(2 * replyBytes)).length, 2 * 2 * replyBytes);
      await settle();
      assert.equal(device.calls, 11, 'more than half of the pool is old');
      assert.equal(hungBytes(), 9 * readBytes);
      await isServed(healthy);
      assert.equal(hungBytes(), 9 * readBytes);
      // Half is allowed: 4 and 4. Both take a new one; one more would be more than they leave free.
      device.release(1);
      assert.equal((await first.receive(replyBytes)).length, 2 * replyBytes);
      await settle();
      assert.equal(device.calls, 13);
      assert.equal(hungBytes(), 10 * readBytes);
      await isServed(healthy);
      device.releaseAll();
      assert.equal((await first.receive(17 * replyBytes)).length, 2 * 17 * replyBytes);
      assert.equal((await second.receive(20 * replyBytes)).length, 2 * 20 * replyBytes);
      await settle();
      assert.equal(hungBytes(), 0);
    });
  });

  test('R36 a client that takes no replies keeps no more than half of the pool from the others', async () => {
    await withServer({ arenaBytes: bufferBytes + poolBytes }, async (fixture) => {
      const deaf = await fixture.transmission({ capacityBytes: 4096 });
      const healthy = await fixture.transmission();
      await deaf.send(reads(20, 0));
      await settle();
      assert.equal(fixture.arena.usedBytes, bufferBytes + 7 * readBytes);
      fixture.clock.advance(3_000);
      await isServed(healthy);
      assert.equal((await deaf.receive(20 * replyBytes)).length, 2 * 20 * replyBytes);
    });
  });

  test('R36 a connection that is dropped while it waits for memory leaves nothing behind', async () => {
    const device = hangingDisk();
    await withServer({ device, arenaBytes: bufferBytes + poolBytes }, async (fixture) => {
      const hung = await fixture.transmission();
      await hung.send(reads(20, hangingFrom));
      await settle();
      await hung.stream.close();
      fixture.clock.advance(5_000);
      await settle();
      const other = await fixture.transmission();
      await isServed(other);
      device.releaseAll();
      await settle();
      assert.equal(device.calls, 7);
      assert.equal(fixture.arena.usedBytes, bufferBytes);
    });
  });

  test('R36 I27 memory that the kernel still has behind a deadline counts, until it comes back', async () => {
    let stillLent: Uint8Array[] = [];
    class TimedOutDevice extends FilterDevice {
      override read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
        if (offset < hangingFrom) return this.below.read(target, offset, flags);
        fixtureArena?.hold(target);
        stillLent.push(target);
        return Promise.reject(deviceError(this.name, 'timed-out', offset, target.length));
      }
    }
    let fixtureArena: PagedArena | undefined;
    const device = new TimedOutDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
    await withServer({ device, arenaBytes: bufferBytes + poolBytes }, async (fixture) => {
      fixtureArena = fixture.arena;
      const reader = await fixture.transmission();
      const healthy = await fixture.transmission();
      await reader.send(reads(20, hangingFrom));
      await reader.expect(Array.from({ length: 7 }, (_, at) => replyHex(at, EIO)).join(''));
      await settle();
      assert.equal(stillLent.length, 7, 'the others wait for the kernel');
      fixture.clock.advance(10_000);
      await settle();
      await isServed(healthy);
      let answered = 7;
      for (const more of [7, 6, 0]) {
        const given = stillLent;
        stillLent = [];
        for (const piece of given) fixture.arena.release(piece);
        fixture.clock.advance(1_000);
        await reader.expect(Array.from({ length: more }, (_, at) => replyHex(answered + at, EIO)).join(''));
        await settle();
        assert.equal(stillLent.length, more);
        answered += more;
      }
      assert.equal(fixture.arena.usedBytes, bufferBytes);
    });
  });
});

test('R36 I6 close ends a connection that waits for memory at once, whatever hangs on others', async () => {
  const device = hangingDisk();
  await withServer({ device, arenaBytes: bufferBytes + poolBytes }, async (fixture) => {
    for (let count = 0; count < 3; count += 1) {
      const hung = await fixture.transmission();
      await hung.send(reads(20, hangingFrom));
      await settle();
    }
    assert.equal(device.calls, 7 + 4 + 2);
    const waiting = await fixture.transmission();
    await waiting.send(requestHex(read, 1, 0, 256 * kibibyte));
    await settle();
    const closing = fixture.server.close(5_000);
    await waiting.expect(replyHex(1, eshutdown));
    await settle();
    fixture.clock.advance(100);
    assert.equal(await waiting.receiveAll(), '');
    await settle();
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 3);
    device.releaseAll();
    for (let looks = 0; looks < 2; looks += 1) {
      await settle();
      fixture.clock.advance(100);
    }
    assert.equal(await closing, 0);
    assert.equal(device.calls, 13);
  });
});

/** A pool of 1 MiB, without a server. */
function poolOf(): { arena: PagedArena; clock: ManualClock; memory: RequestMemory } {
  const arena = new PagedArena(new ArrayBuffer(poolBytes), {
    remapBytes: 0,
    metadataBytes: 0,
    poison: true,
  });
  const clock = new ManualClock();
  return { arena, clock, memory: new RequestMemory(arena, clock, 4) };
}

function taken(share: MemoryShare, length: number): Uint8Array {
  return share.take(length) ?? assert.fail(`there is a piece of ${length} bytes`);
}

describe('R36 request memory', () => {
  test('R36 memory is old 1 to 2 s after it was taken, and one timer ticks only while somebody has some', () => {
    const { clock, memory } = poolOf();
    const share = new MemoryShare(memory);
    assert.equal(clock.timerCount, 0);
    const early = taken(share, 4096);
    const earlyTick = share.takenAt;
    clock.advance(999);
    const late = taken(share, 8192);
    const lateTick = share.takenAt;
    assert.equal(clock.timerCount, 1);
    clock.advance(1);
    assert.equal(share.oldBytes, 0);
    clock.advance(999);
    assert.equal(memory.oldBytes, 0);
    clock.advance(1);
    assert.equal(memory.oldBytes, 12_288);
    assert.equal(share.oldBytes, 12_288);
    share.release(early, earlyTick);
    assert.equal(memory.oldBytes, 8192);
    share.release(late, lateTick);
    assert.equal(memory.oldBytes, 0);
    assert.equal(share.oldBytes, 0);
    clock.advance(1_000);
    assert.equal(clock.timerCount, 0);
  });

  test('R36 beyond half of old memory only who has old memory gets none', () => {
    const { clock, memory } = poolOf();
    const [first, second, third] = [
      new MemoryShare(memory),
      new MemoryShare(memory),
      new MemoryShare(memory),
    ];
    taken(first, poolBytes / 2);
    for (let count = 0; count < 3; count += 1) taken(second, poolBytes / 16);
    clock.advance(2_000);
    assert.equal(memory.oldBytes, (poolBytes * 11) / 16);
    const twice = [taken(third, 4096), taken(third, 4096)];
    assert.equal(second.take(4096), undefined);
    assert.ok(twice.every((piece) => memory.arena.contains(piece)));
  });

  test('R36 who waits for a piece that something stuck makes impossible holds up others 2 s of 16, and gets it in the end', async () => {
    const { clock, memory } = poolOf();
    const share = (): MemoryShare => new MemoryShare(memory);
    const [low, high, stuck, large, small, later] = [share(), share(), share(), share(), share(), share()];
    // Half of the pool is taken, and of the other half an eighth in the one quarter and a page in the other.
    const lowPiece = taken(low, poolBytes / 2);
    const highPiece = taken(high, poolBytes / 8);
    const filler = taken(later, poolBytes / 8);
    const stuckPiece = taken(stuck, 1);
    const stuckTick = stuck.takenAt;
    later.release(filler, later.takenAt);
    const got: { large?: Uint8Array | undefined; small?: Uint8Array | undefined } = {};
    void large.whenFree(poolBytes / 4).then((piece) => {
      got.large = piece;
    });
    assert.equal(small.take(1), undefined, 'nobody overtakes at first');
    void small.whenFree(1).then((piece) => {
      got.small = piece;
    });
    clock.advance(1_999);
    await settle();
    assert.equal(got.small, undefined);
    clock.advance(1);
    await settle();
    assert.ok(got.small !== undefined, 'then others pass');
    const smallTick = small.takenAt;
    for (let second = 2; second < 16; second += 1) {
      later.release(taken(later, 4096), later.takenAt);
      clock.advance(1_000);
    }
    assert.equal(later.take(4096), undefined, 'its turn again');
    clock.advance(2_000);
    later.release(taken(later, 4096), later.takenAt);
    small.release(got.small, smallTick);
    assert.equal(got.large, undefined);
    stuck.release(stuckPiece, stuckTick);
    await settle();
    assert.ok(got.large !== undefined);
    large.release(got.large, large.takenAt);
    low.release(lowPiece, 0);
    high.release(highPiece, 0);
    assert.equal(memory.usedBytes, 0);
    clock.advance(1_000);
    assert.equal(clock.timerCount, 0);
  });

  test('R36 any takes and returns: nobody has more than half, everybody’s own part is there, and all comes back', () => {
    const step = fc.record({
      who: fc.nat({ max: 3 }),
      length: fc.option(
        fc.oneof(
          fc.integer({ min: 1, max: 24 * arenaPageBytes }),
          fc.integer({ min: 1, max: poolBytes / 2 }),
        ),
        { nil: undefined },
      ),
      seconds: fc.nat({ max: 2 }),
      which: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const { arena, clock, memory } = poolOf();
        const people = Array.from({ length: 4 }, () => ({
          share: new MemoryShare(memory),
          pieces: [] as { piece: Uint8Array; takenAt: number; tookMs: number }[],
        }));
        const bytesOf = (pieces: readonly { piece: Uint8Array }[]): number =>
          pieces.reduce((sum, { piece }) => sum + arenaPieceBytes(piece.length), 0);
        for (const { who, length, seconds, which } of steps) {
          const { share, pieces } = people[who]!;
          if (length !== undefined) {
            const piece = share.take(length);
            if (piece !== undefined) pieces.push({ piece, takenAt: share.takenAt, tookMs: clock.nowMs() });
          } else if (pieces.length > 0) {
            const [{ piece, takenAt }] = pieces.splice(which % pieces.length, 1) as [(typeof pieces)[0]];
            share.release(piece, takenAt);
          }
          clock.advance(seconds * 700);
          const all = people.flatMap((one) => one.pieces);
          assert.equal(memory.usedBytes, bytesOf(all));
          assert.equal(arena.usedBytes, memory.usedBytes);
          const own = people.reduce((sum, one) => sum + Math.max(0, ownBytes - bytesOf(one.pieces)), 0);
          assert.ok(poolBytes - memory.usedBytes >= own, 'what is everybody’s own is free');
          for (const one of people) {
            const held = bytesOf(one.pieces);
            assert.ok(held <= poolBytes / 2);
            if (held < ownBytes) assert.ok(one.share.mayTake(arenaPageBytes), 'and may be taken');
            const older = (ageMs: number) =>
              one.pieces.filter(({ tookMs }) => clock.nowMs() - tookMs > ageMs);
            assert.ok(one.share.oldBytes >= bytesOf(older(2_000)), 'old after 2 s');
            assert.ok(one.share.oldBytes <= bytesOf(older(999)), 'not before 1 s');
          }
          const old = people.reduce((sum, one) => sum + one.share.oldBytes, 0);
          assert.equal(memory.oldBytes, old);
        }
        for (const { share, pieces } of people) {
          for (const { piece, takenAt } of pieces) share.release(piece, takenAt);
          share.close();
        }
        clock.advance(1_000);
        assert.deepEqual(
          [memory.usedBytes, memory.oldBytes, arena.usedBytes, clock.timerCount],
          [0, 0, 0, 0],
        );
      }),
      { numRuns: 100 },
    );
  });
});
