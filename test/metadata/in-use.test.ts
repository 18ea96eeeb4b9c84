import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/block/errno.ts';
import {
  decodeMark,
  encodeMark,
  hostNameBytesMax,
  type InUseMark,
  markDevice,
  markPlaces,
} from '../../src/metadata/in-use-mark.ts';
import { type HostIdentity, heartbeatIntervalMs } from '../../src/metadata/metadata-store.ts';
import { commit, granules, rejectsWith, type TestSpare, tableOf, withSpare } from './metadata-fixture.ts';

const alphaId = '0123456789abcdef0123456789abcdef';
const firstBoot = 'aa'.repeat(16);

/** A process of a machine; `running` are the process ids that are there. */
function host(changes: Partial<HostIdentity> = {}, running: readonly number[] = []): HostIdentity {
  return {
    machineId: alphaId,
    bootId: firstBoot,
    pid: 100,
    startTicks: 5000,
    hostName: 'alpha',
    isRunning: (process) => running.includes(process.pid),
    ...changes,
  };
}

const beta = host({ machineId: 'fe'.repeat(16), bootId: 'bb'.repeat(16), pid: 7, hostName: 'beta' });

/** The mark's owner beats as a daemon does; stopped by the returned function. */
function beating(spare: TestSpare, beat: () => Promise<boolean>): () => void {
  let stopped = false;
  const next = (): void => {
    if (stopped) return;
    void beat();
    spare.clock.schedule(heartbeatIntervalMs, next);
  };
  spare.clock.schedule(heartbeatIntervalMs, next);
  return () => {
    stopped = true;
  };
}

describe('M11 a spare in use', () => {
  it('is refused to another process of the same machine while the first one runs', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host: host() });
      const error = await rejectsWith(spare.open({ host: host({ pid: 200 }, [100]) }), 'METADATA_IN_USE');
      assert.match(error.message, /in use by process 100 of alpha, this machine/);
      await commit(device, [granules(1, 300)]);
    }));

  it('is taken over at once when its process is gone, and says so', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host: host() });
      await commit(device, [granules(1, 300)]);
      spare.kill();
      const sinceMs = spare.clock.nowMs();
      const { opened } = await spare.openSettled({ host: host({ pid: 200 }) });
      assert.ok(spare.clock.nowMs() - sinceMs < heartbeatIntervalMs);
      assert.match(opened.report.takenOver ?? '', /process 100 of alpha: it ended without closing/);
      assert.equal(opened.report.inUse?.pid, 100);
      assert.equal(tableOf(opened.records).granules.size, 1);
    }));

  it('is taken over at once after another boot, whatever process has that id now', () =>
    withSpare({}, async (spare) => {
      await spare.createSettled({ host: host() });
      spare.powerCut();
      const rebooted = host({ bootId: 'cc'.repeat(16), pid: 200 }, [100]);
      const { report } = await spare.open({ host: rebooted });
      assert.match(report.takenOver ?? '', /the machine was started again since/);
    }));

  it('is refused to another machine while its heartbeat moves', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host: host() });
      const stop = beating(spare, () => device.store.heartbeat());
      const error = await rejectsWith(spare.open({ host: beta }), 'METADATA_IN_USE');
      stop();
      assert.match(error.message, /another machine that is alive/);
    }));

  it('is taken over by another machine when its heartbeat stands still for two intervals', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host: host() });
      await commit(device, [granules(1, 300)]);
      spare.kill();
      const sinceMs = spare.clock.nowMs();
      const { opened } = await spare.openSettled({ host: beta });
      assert.ok(spare.clock.nowMs() - sinceMs >= 2 * heartbeatIntervalMs);
      assert.match(opened.report.takenOver ?? '', /process 100 of alpha: no sign of life for 20 s/);
    }));

  it('of a machine without an id is judged by its boot', () =>
    withSpare({}, async (spare) => {
      await spare.createSettled({ host: host({ machineId: '' }) });
      spare.kill();
      const { report } = await spare.open({ host: host({ machineId: '', pid: 200 }) });
      assert.match(report.takenOver ?? '', /it ended without closing/);
    }));

  it('of another boot of a machine without an id is watched, not believed', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host: host({ machineId: '' }) });
      const stop = beating(spare, () => device.store.heartbeat());
      await rejectsWith(
        spare.open({ host: host({ machineId: '', bootId: '1d'.repeat(16) }) }),
        'METADATA_IN_USE',
      );
      stop();
    }));

  it('is free after a clean close, for everybody and at once', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host: host() });
      await commit(device, [granules(1, 300)]);
      await device.store.close();
      const sinceMs = spare.clock.nowMs();
      const { report, records } = await spare.open({ host: beta });
      assert.ok(spare.clock.nowMs() - sinceMs < heartbeatIntervalMs);
      assert.equal(report.takenOver, undefined);
      assert.equal(report.inUse, undefined);
      assert.equal(records.length, 1);
    }));

  it('with takeover is taken at once, and the one who had it writes nothing any more', () =>
    withSpare({}, async (spare) => {
      const first = await spare.createSettled({ host: host() });
      await commit(first, [granules(1, 300)]);
      const second = await spare.openSettled({ host: beta, takeover: true });
      assert.match(second.opened.report.takenOver ?? '', /by force from process 100 of alpha/);
      const image = spare.disk.cachedImage();
      const error = await rejectsWith(first.store.heartbeat(), 'METADATA_IN_USE');
      assert.match(error.message, /taken over by process 7 of beta/);
      assert.equal(first.store.state, 'failed');
      await rejectsWith(commit(first, [granules(2, 301)]), 'METADATA_IN_USE');
      await rejectsWith(first.store.updateProperties({ name: 'mine' }), 'METADATA_IN_USE');
      await rejectsWith(first.store.recover(), 'METADATA_IN_USE');
      await first.store.close();
      assert.deepEqual(spare.disk.cachedImage(), image, 'not a byte');
      await commit(second, [granules(3, 302)]);
      assert.equal(await second.store.heartbeat(), true);
    }));

  it('stops what is under way in the one who lost it', () =>
    withSpare({}, async (spare) => {
      const first = await spare.createSettled({ host: host() });
      await spare.openSettled({ host: beta, takeover: true });
      const lost = rejectsWith(first.store.heartbeat(), 'METADATA_IN_USE');
      const commits = Array.from({ length: 20 }, (_, index) =>
        commit(first, [granules(index, 300 + index)]).then(
          () => 'kept',
          () => 'refused',
        ),
      );
      await lost;
      const { writes } = spare.disk.counts;
      const outcomes = await Promise.all(commits);
      assert.equal(spare.disk.counts.writes, writes);
      assert.ok(outcomes.includes('refused'));
    }));

  it('is refused when somebody came between open and settle', () =>
    withSpare({}, async (spare) => {
      await spare.create();
      const late = await spare.open({ host: host() });
      await spare.openSettled({ host: beta });
      await rejectsWith(late.store.settle(tableOf([])), 'METADATA_IN_USE');
    }));

  it('opens and beats on with one bad place of two, and serves without a mark with two', () =>
    withSpare({}, async (spare) => {
      const created = await spare.createSettled();
      await created.store.close();
      const [one, other] = markPlaces(created.opened.layout);
      spare.disk.faults.addBadSectors(one! / 512, 8, { on: 'both' });
      const first = await spare.openSettled({ host: host() });
      assert.equal(await first.store.heartbeat(), true);
      await rejectsWith(spare.open({ host: host({ pid: 200 }, [100]) }), 'METADATA_IN_USE');
      await first.store.close();
      spare.disk.faults.addBadSectors(other! / 512, 8, { on: 'both' });
      const second = await spare.openSettled({ host: host() });
      assert.equal(await second.store.heartbeat(), false);
      await commit(second, [granules(1, 300)]);
      await second.store.close();
    }));

  it('needs no clock: taken over by one whose clock is years behind, with one bad place', () =>
    withSpare({}, async (spare) => {
      const first = await spare.createSettled({ host: host() });
      for (let beat = 0; beat < 5; beat += 1) assert.equal(await first.store.heartbeat(), true);
      const [one] = markPlaces(first.opened.layout);
      const block = spare.disk.cachedImage().subarray(one, one! + 4096);
      const uuid = markDevice(block);
      const old = decodeMark(block, uuid)!;
      spare.kill();
      // The first place keeps what is there and takes no more writes; it says that it was written in the far future.
      encodeMark(block, Uint8Array.from(uuid), { ...old, writtenUnixSeconds: old.writtenUnixSeconds + 1e9 });
      await spare.disk.open().write(Uint8Array.from(block), one!);
      spare.disk.faults.addBadSectors(one! / 512, 8, { on: 'write' });
      const second = await spare.openSettled({ host: host({ pid: 200 }) });
      assert.equal(await second.store.heartbeat(), true);
      await commit(second, [granules(1, 300)]);
    }));

  it('is left alone by one who closes and has not yet heard that it was taken over', () =>
    withSpare({}, async (spare) => {
      const first = await spare.createSettled({ host: host() });
      const second = await spare.openSettled({ host: beta, takeover: true });
      await commit(second, [granules(3, 302)]);
      const image = spare.disk.cachedImage();
      await first.store.close();
      assert.deepEqual(spare.disk.cachedImage(), image, 'not a byte');
      assert.equal(first.store.status().closedCleanly, false);
    }));

  it('is left alone by one over whose spare another device was made', () =>
    withSpare({}, async (spare) => {
      const first = await spare.createSettled({ host: host() });
      await spare.create();
      const other = await spare.openSettled({ host: beta });
      const image = spare.disk.cachedImage();
      await rejectsWith(first.store.heartbeat(), 'METADATA_IN_USE');
      await first.store.close();
      assert.deepEqual(spare.disk.cachedImage(), image, 'not a byte');
      assert.equal(await other.store.heartbeat(), true);
    }));

  it('keeps serving while the spare is away for some beats', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host: host() });
      spare.disk.faults.setPathError(Errno.ENOLINK);
      assert.equal(await device.store.heartbeat(), false);
      spare.disk.faults.setPathError(undefined);
      assert.equal(await device.store.heartbeat(), true);
      await commit(device, [granules(1, 300)]);
    }));

  it('is no obstacle to looking: without a host nothing is asked and nothing marked', () =>
    withSpare({}, async (spare) => {
      await spare.createSettled({ host: host() });
      const { writes } = spare.disk.counts;
      const { report } = await spare.open();
      assert.equal(report.inUse?.hostName, 'alpha');
      assert.equal(spare.disk.counts.writes, writes);
    }));
});

describe('an in-use mark', () => {
  const uuid = Uint8Array.from({ length: 16 }, (_, index) => index);
  const id = fc.constantFrom(alphaId, firstBoot, '');
  const marks: fc.Arbitrary<InUseMark> = fc.record(
    {
      machineId: id,
      bootId: id,
      pid: fc.integer({ min: 0, max: 0xffff_ffff }),
      startTicks: fc.maxSafeNat(),
      hostName: fc.string({ maxLength: 16, unit: 'binary' }),
      nonce: fc.constant('0011223344556677'),
      heartbeat: fc.bigInt(0n, 2n ** 52n).map(Number),
      writtenUnixSeconds: fc.bigInt(0n, 2n ** 52n).map(Number),
      intervalMs: fc.integer({ min: 0, max: 0xffff_ffff }),
      released: fc.boolean(),
    },
    { noNullPrototype: true },
  );

  it('M11 gives back every field', () => {
    fc.assert(
      fc.property(marks, (mark) => {
        const block = new Uint8Array(4096).fill(0xdb);
        encodeMark(block, uuid, mark);
        assert.deepEqual(decodeMark(block, uuid), mark);
      }),
    );
  });

  it('M6 is nothing to another device, nor with a flipped bit', () => {
    const block = new Uint8Array(4096);
    encodeMark(block, uuid, {
      ...host(),
      nonce: '00'.repeat(8),
      heartbeat: 1,
      writtenUnixSeconds: 2,
      intervalMs: 3,
      released: false,
    });
    assert.equal(
      decodeMark(
        block,
        uuid.map((byte) => byte ^ 1),
      ),
      undefined,
    );
    for (let bit = 0; bit < 4096 * 8; bit += 101) {
      block[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(decodeMark(block, uuid), undefined, `bit ${bit}`);
      block[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it('cuts a long host name between characters', () => {
    const block = new Uint8Array(4096);
    const mark = {
      ...host(),
      nonce: '00'.repeat(8),
      heartbeat: 1,
      writtenUnixSeconds: 2,
      intervalMs: 3,
      released: false,
    };
    encodeMark(block, uuid, { ...mark, hostName: `x${'é'.repeat(80)}` });
    const { hostName } = decodeMark(block, uuid)!;
    assert.equal(hostName, `x${'é'.repeat(31)}`);
    assert.ok(Buffer.byteLength(hostName) <= hostNameBytesMax);
  });

  it('I15 lies where no slot is and no other part of the metadata', () =>
    withSpare({ sizeBytes: 70 << 20 }, async (spare) => {
      await spare.create();
      const { layout } = await spare.open();
      for (const place of markPlaces(layout)) {
        assert.ok(
          layout
            .reservedRanges()
            .some(({ offset, length }) => place >= offset && place + 4096 <= offset + length),
        );
        for (const { superblockOffset, areaOffsets, journalOffsets } of layout.replicas) {
          const parts = [
            [superblockOffset, 2],
            ...areaOffsets.map((offset) => [offset, layout.areaBlocks]),
            ...journalOffsets.map((offset) => [offset, layout.journalBlocks]),
          ] as [number, number][];
          for (const [offset, blocks] of parts) {
            assert.ok(place + 4096 <= offset || place >= offset + blocks * 4096);
          }
        }
      }
    }));
});
