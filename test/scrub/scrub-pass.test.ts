import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno } from '../../src/block/errno.ts';
import { granuleBytes, mainBytes, readBytes, readsOf, ScrubBench } from './scrub-bench.ts';

const perGranule = granuleBytes / 512;

describe('what a pass reads', () => {
  it('is main without what is moved and what is lost, each byte once, and every sector of a slot', async () => {
    const bench = await ScrubBench.create();
    await bench.message('remap', '800', '64');
    await bench.message('remap', '4096', '8');
    // Lost: 3 sectors that main cannot read, found by a client.
    bench.mainDisk.faults.addBadSectors(9000, 3, { on: 'read' });
    await assert.rejects(bench.clock.run(bench.read(9000 * 512, 4096)));
    const { unreadableSectors, remappedSectors } = bench.now.device.status();
    assert.equal(unreadableSectors, 3);
    const { main, spare, scrubber } = bench.now;
    const [fromMain, fromSpare] = [main.operations.length, spare.operations.length];
    assert.ok(scrubber.start('operator'));
    await bench.untilNotRunning();
    const ofMain = readsOf(main, fromMain);
    const expected = mainBytes - (remappedSectors + unreadableSectors) * 512;
    assert.equal(ofMain.total, expected, 'counted at the device');
    assert.equal(ofMain.bytes.size * 512, expected, 'no byte twice');
    assert.equal(ofMain.most, 1, 'one read at a time');
    for (let sector = 800; sector < 864; sector += 1) assert.ok(!ofMain.bytes.has(sector), 'a moved sector');
    for (let sector = 9000; sector < 9003; sector += 1) assert.ok(!ofMain.bytes.has(sector), 'a lost sector');
    const [last] = bench.report.ended;
    assert.equal(last?.counts.mainBytes, expected, 'what is shown is what was counted');
    assert.equal(last?.counts.spareBytes, remappedSectors * 512);
    assert.ok(readsOf(spare, fromSpare).total >= remappedSectors * 512);
    assert.deepEqual(
      Object.entries(last.counts).filter(([name, count]) => count > 0 && !name.endsWith('Bytes')),
      [],
      'nothing bad',
    );
    assert.deepEqual(bench.kinds(), ['scrub-started', 'scrub-finished']);
    await bench.close();
  });

  it('is no more than the rate lets it', async () => {
    const bench = await ScrubBench.create({ policies: { 'scrub-rate': '1' } });
    const sinceMs = bench.clock.nowMs();
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    const seconds = (bench.clock.nowMs() - sinceMs) / 1000;
    const expected = mainBytes / (1 << 20);
    assert.ok(seconds > expected - 0.2 && seconds < expected * 1.1, `${seconds} s for ${expected} MiB`);
    await bench.close();
  });

  it('is a tenth of the time while a client works, and no read of it keeps him longer than one of its own size', async () => {
    const bench = await ScrubBench.create({ policies: { 'scrub-rate': '0' } });
    const { main, scrubber, clock } = bench.now;
    scrubber.start('operator');
    const from = main.operations.length;
    let clientMs = 0;
    let reads = 0;
    const sinceMs = clock.nowMs();
    const client = async (): Promise<void> => {
      while (clock.nowMs() - sinceMs < 4_000) {
        const startMs = clock.nowMs();
        await bench.read((reads % 100) * 4096, 4096);
        clientMs += clock.nowMs() - startMs;
        reads += 1;
      }
    };
    await bench.clock.run(client());
    const length = main.operations.slice(from).filter(({ phase }) => phase === 'submit').length - reads;
    // A request takes 1 ms here: a tenth of 4 s are 400 of them.
    assert.ok(length > 100 && length < 600, `${length} reads of the scrub in 4 s`);
    assert.ok(clientMs / reads < 2, 'the client has its answers as ever');
    await bench.close();
  });
});

describe('what a pass finds', () => {
  it('R17 R18 is saved to the spare when main gives it at last, and listed as lost when it never does', async () => {
    const bench = await ScrubBench.create();
    const bytes = Buffer.alloc(granuleBytes, 7);
    await bench.clock.run(bench.write(bytes, 100 * granuleBytes));
    // Bad for good: two. Bad until its blocks are asked for one by one: another one.
    bench.mainDisk.faults.addBadSectors(2000, 1, { on: 'read' });
    bench.mainDisk.faults.addBadSectors(3000, 1, { on: 'read', readErrno: Errno.EIO });
    bench.mainDisk.faults.failNext(6, {
      kinds: ['read'],
      errno: Errno.ENODATA,
      sector: 100 * perGranule,
      sectorCount: perGranule,
    });
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    const [last] = bench.report.ended;
    assert.equal(last?.counts.lostSectors, 2);
    assert.equal(last?.counts.foundGranules, 3);
    assert.equal(last?.counts.savedGranules, 1);
    assert.equal(last?.counts.movedGranules, 1);
    assert.match(await bench.message('lost'), /^2000 1 unreadable\n3000 1 unreadable$/);
    assert.match(await bench.message('list'), /salvage/);
    const after = await bench.clock.run(bench.read(100 * granuleBytes, granuleBytes));
    assert.deepEqual(after, bytes, 'I23: the same bytes');
    await bench.close();
  });

  it('R5 of a slot that cannot be read is gone, and listed', async () => {
    const bench = await ScrubBench.create();
    await bench.message('remap', '800', '8');
    const slotSector = Number(/^800 8 (\d+)/.exec(await bench.message('list'))?.[1]);
    bench.spareDisk.faults.addBadSectors(slotSector + 2, 1, { on: 'read' });
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    assert.equal(bench.report.ended[0]?.counts.lostSectors, 1);
    assert.equal(bench.report.ended[0]?.counts.movedGranules, 1, 'the rest is in another slot');
    assert.match(await bench.message('lost'), /^802 1 gone$/);
    await bench.close();
  });

  it('R12 is lost also where a client would get zeros', async () => {
    const bench = await ScrubBench.create({ policies: { 'on-lost': 'zero' } });
    bench.mainDisk.faults.addBadSectors(2000, 1, { on: 'read' });
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    assert.equal(bench.report.ended[0]?.counts.lostSectors, 1);
    assert.equal(bench.now.device.status().counters.zeroedReads, 0);
    await bench.close();
  });

  it('I25 is written anew when it is a replica of the metadata, and read again', async () => {
    const bench = await ScrubBench.create();
    await bench.message('remap', '800', '64');
    bench.now.scrubber.start('operator');
    await bench.clock.run(bench.now.scrubber.saved());
    // Both superblocks of the replica at 64 KiB: the next one that is written would hide it.
    bench.spareDisk.load(new Uint8Array(8192), 64 * 1024);
    await bench.untilNotRunning();
    assert.equal(bench.report.ended[0]?.counts.badReplicas, 1);
    assert.equal(bench.report.ended[0]?.counts.repairedReplicas, 1);
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    assert.equal(bench.report.ended[0]?.counts.badReplicas, 0, 'the next pass finds nothing');
    await bench.close();
  });
});

describe('what keeps a pass from reading', () => {
  for (const disk of ['main', 'spare'] as const) {
    it(`R17 ${disk} away for minutes: nothing is marked, and it goes on where it was`, async () => {
      const bench = await ScrubBench.create({ policies: { 'scrub-rate': '2' } });
      await bench.message('remap', '8000', '64');
      const { remappedGranules } = bench.now.device.status();
      const { main, scrubber } = bench.now;
      const from = main.operations.length;
      scrubber.start('operator');
      await bench.clock.runFor(1_000);
      const below = disk === 'main' ? bench.mainDisk : bench.spareDisk;
      below.faults.setPathError(Errno.EIO);
      await bench.clock.runFor(180_000);
      assert.equal(bench.report.state, 'running');
      assert.equal(bench.report.waitsFor, disk);
      const at = bench.report.positionBytes;
      assert.ok(at > 0 && at < mainBytes);
      below.faults.setPathError(undefined);
      await bench.untilNotRunning();
      const status = bench.now.device.status();
      assert.equal(status.unreadableSectors + status.goneSectors, 0, 'nothing was marked');
      assert.equal(status.remappedGranules, remappedGranules, 'nothing was moved');
      const [last] = bench.report.ended;
      assert.equal(last?.end, 'finished');
      assert.equal(last?.counts.mainBytes, mainBytes - 64 * 512);
      assert.equal(last?.counts.lostSectors, 0);
      assert.equal(readsOf(main, from).bytes.size * 512 >= last.counts.mainBytes, true);
      await bench.close();
    });
  }

  it('R32 main pulled out in the middle and plugged in again: it goes on, and what was found before is kept', async () => {
    const bench = await ScrubBench.create({ policies: { 'scrub-rate': '2' } });
    bench.mainDisk.faults.addBadSectors(40, 1, { on: 'read' });
    bench.now.scrubber.start('operator');
    await bench.clock.runFor(1_000);
    bench.mainDisk.unplug();
    await bench.clock.runFor(90_000);
    assert.equal(bench.report.waitsFor, 'main');
    const { positionBytes } = bench.report;
    bench.mainDisk.plug();
    await bench.untilNotRunning();
    const [last] = bench.report.ended;
    assert.ok(positionBytes < mainBytes);
    assert.equal(last?.end, 'finished');
    assert.equal(last.counts.lostSectors, 1);
    assert.equal(bench.now.device.status().unreadableSectors, 1, 'and nothing else is marked');
    await bench.close();
  });

  it('R16 so many failures in a row that it is no bad sector: it stops, and can be resumed', async () => {
    const bench = await ScrubBench.create();
    // Half of main gives nothing, and says so of each sector.
    bench.mainDisk.faults.addBadSectors(mainBytes / 1024, mainBytes / 1024, {
      on: 'read',
    });
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    assert.equal(bench.report.state, 'paused');
    assert.equal(bench.report.pauseReason, 'storm');
    assert.ok(bench.report.positionBytes >= mainBytes / 2);
    assert.ok(bench.report.positionBytes <= mainBytes / 2 + 33 * readBytes, 'it read little of what is bad');
    assert.deepEqual(bench.kinds(), ['scrub-started', 'scrub-paused']);
    assert.ok(bench.now.scrubber.resume('operator'));
    await bench.clock.runFor(1_000);
    await bench.close();
  });

  it('R30 a suspended device is left alone', async () => {
    const bench = await ScrubBench.create({ policies: { 'scrub-rate': '1' } });
    const { device, main, scrubber } = bench.now;
    scrubber.start('operator');
    await bench.clock.runFor(1_000);
    await bench.clock.run(device.suspend({ flush: true }));
    const before = main.operations.length;
    await bench.clock.runFor(60_000);
    assert.equal(main.operations.length, before);
    assert.equal(bench.report.waitsFor, 'suspended');
    await bench.clock.run(device.resume());
    await bench.untilNotRunning();
    assert.equal(bench.report.ended[0]?.counts.mainBytes, mainBytes);
    await bench.close();
  });

  it('R36 I14 moves that use their memory: it takes none, and never any of the clients', async () => {
    const bench = await ScrubBench.create();
    const { arena, scrubber, main } = bench.now;
    const taken = arena.take(readBytes + 4096, 'remap');
    assert.ok(taken !== undefined);
    const clients = arena.freeBytes('client');
    const before = main.operations.length;
    scrubber.start('operator');
    await bench.clock.runFor(10_000);
    assert.equal(main.operations.length, before);
    assert.equal(bench.report.waitsFor, 'memory');
    arena.release(taken);
    await bench.clock.runUntil(() => {
      assert.equal(arena.freeBytes('client'), clients);
      return scrubber.state !== 'running';
    });
    assert.equal(bench.report.ended[0]?.counts.mainBytes, mainBytes);
    await bench.close();
  });
});
