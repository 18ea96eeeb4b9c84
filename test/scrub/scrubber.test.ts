import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { newScrubCounts } from '../../src/scrub/scrub-counts.ts';
import { passesKeptMax, saveIntervalMs, scheduleLookMs } from '../../src/scrub/scrub-limits.ts';
import { decodeScrubRecord, encodeScrubRecord, type ScrubRecord } from '../../src/scrub/scrub-record.ts';
import { granuleBytes, mainBytes, ScrubBench } from './scrub-bench.ts';

const dayMs = 86_400_000;
const slow = { 'scrub-rate': '1' };

describe('a scrub', () => {
  it('is started, paused, resumed and stopped, and says what it cannot do', async () => {
    const bench = await ScrubBench.create({ policies: slow });
    assert.equal(bench.report.state, 'idle');
    await assert.rejects(bench.message('scrub', 'pause'), { message: 'scrub: none is running, it is idle' });
    await assert.rejects(bench.message('scrub', 'stop'), { message: 'scrub: there is none to stop' });
    assert.equal(await bench.message('scrub', 'start'), 'scrub: started');
    await assert.rejects(bench.message('scrub', 'start'), { message: 'scrub: one is running already' });
    await bench.clock.runFor(2_000);
    assert.equal(await bench.message('scrub', 'pause'), 'scrub: paused');
    await bench.clock.runFor(2_000);
    const paused = bench.report.positionBytes;
    assert.ok(paused > 0 && paused < mainBytes);
    await bench.clock.runFor(60_000);
    assert.equal(bench.report.positionBytes, paused, 'nothing is read meanwhile');
    await assert.rejects(bench.message('scrub', 'start'), {
      message: 'scrub: one is paused: resume or stop it',
    });
    assert.equal(await bench.message('scrub', 'resume'), 'scrub: resumed');
    await bench.clock.runFor(1_000);
    assert.match(await bench.message('scrub'), /^state running\nposition-bytes [0-9]+\nsize-bytes 8388608\n/);
    assert.equal(await bench.message('scrub', 'stop'), 'scrub: stopped');
    assert.equal(bench.report.state, 'idle');
    assert.equal(bench.report.ended[0]?.end, 'stopped');
    await assert.rejects(bench.message('scrub', 'dance'), {
      message: "scrub: unknown word 'dance', expected status, start, pause, resume or stop",
    });
    assert.deepEqual(bench.kinds(), ['scrub-started', 'scrub-paused', 'scrub-resumed', 'scrub-stopped']);
    await bench.close();
  });

  it('reads each byte once however often it is paused, stopped and started', async () => {
    const bench = await ScrubBench.create({ policies: { 'scrub-rate': '4' } });
    const { scrubber } = bench.now;
    scrubber.start('operator');
    for (let round = 0; round < 40 && scrubber.state !== 'idle'; round += 1) {
      await bench.clock.runFor(37);
      scrubber.pause('operator');
      if (round % 2 === 0) await bench.clock.runFor(3);
      scrubber.resume('operator');
    }
    await bench.untilNotRunning();
    assert.equal(bench.report.ended[0]?.counts.mainBytes, mainBytes);
    await bench.close();
  });

  it('goes on in the next process where a clean end left it, running or paused', async () => {
    for (const isPaused of [false, true]) {
      const bench = await ScrubBench.create({ policies: slow });
      bench.now.scrubber.start('operator');
      await bench.clock.runFor(3_000);
      if (isPaused) bench.now.scrubber.pause('operator');
      await bench.clock.runFor(100);
      const { positionBytes } = bench.report;
      await bench.close();
      await bench.open();
      assert.equal(bench.report.positionBytes, positionBytes);
      assert.equal(bench.report.state, isPaused ? 'paused' : 'running');
      if (isPaused) {
        await bench.clock.runFor(60_000);
        assert.equal(bench.report.positionBytes, positionBytes);
        assert.ok(bench.now.scrubber.resume('operator'));
      }
      await bench.untilNotRunning();
      const [last] = bench.report.ended;
      assert.equal(last?.end, 'finished');
      assert.equal(last.counts.mainBytes, mainBytes, 'what was read before counts, and nothing twice');
      assert.equal(bench.report.totals.mainBytes, mainBytes - positionBytes, 'of this process');
      await bench.close();
    }
  });

  it('goes on from the beginning of a block when a dump says a place within one', async () => {
    const bench = await ScrubBench.create({ policies: slow });
    const pass = `paused 1 ${granuleBytes + 1} 0 0 0 0 0 0 0 0 0 0 0`;
    await bench.clock.run(bench.now.metadata.store.updateProperties({ scrub: { pass } }));
    bench.end('kill');
    await bench.open();
    assert.equal(bench.report.positionBytes, granuleBytes);
    assert.ok(bench.now.scrubber.resume('operator'));
    await bench.untilNotRunning();
    assert.equal(bench.report.totals.mainBytes, mainBytes - granuleBytes);
    await bench.close();
  });

  for (const how of ['kill', 'power'] as const) {
    it(`goes on behind a ${how} from the place that was stored last`, async () => {
      const bench = await ScrubBench.create({ policies: slow });
      bench.now.scrubber.start('operator');
      await bench.clock.runFor(3_000);
      await bench.message('scrub', 'pause');
      const { positionBytes } = bench.report;
      await bench.message('scrub', 'resume');
      await bench.clock.runFor(2_000);
      bench.end(how);
      await bench.open();
      assert.equal(bench.report.state, 'running');
      assert.equal(bench.report.positionBytes, positionBytes);
      await bench.untilNotRunning();
      assert.equal(bench.report.ended[0]?.counts.mainBytes, mainBytes);
      assert.deepEqual(bench.kinds().slice(-2), ['scrub-resumed', 'scrub-finished']);
      await bench.close();
    });
  }

  it('writes the spare rarely: at its beginning and end, every ten minutes, and when somebody says something', async () => {
    const bench = await ScrubBench.create({ policies: slow });
    const { scrubber, spare } = bench.now;
    scrubber.start('operator');
    await bench.clock.run(scrubber.saved());
    const from = spare.operations.length;
    await bench.clock.runFor(5_000);
    const written = spare.operations.slice(from).filter(({ kind }) => kind === 'write');
    assert.equal(written.length, 0, 'five seconds of reading write nothing');
    bench.now.device.status();
    await bench.untilNotRunning();
    await bench.clock.run(scrubber.saved());
    assert.equal(bench.report.saves, 2);
    // Away for an hour, it stores where it is no more often than that.
    scrubber.start('operator');
    await bench.clock.runFor(1_000);
    bench.mainDisk.faults.setPathError(5);
    await bench.clock.runFor(6 * saveIntervalMs);
    bench.mainDisk.faults.setPathError(undefined);
    await bench.untilNotRunning();
    await bench.clock.run(scrubber.saved());
    assert.ok(bench.report.saves <= 2 + 2 + 6, `${bench.report.saves} saves`);
    await bench.close();
  });

  it('tells the trouble of a spare that does not take where it is, and reads on when it does', async () => {
    const bench = await ScrubBench.create({ policies: slow });
    bench.spareDisk.faults.setPathError(5);
    bench.now.scrubber.start('operator');
    await bench.clock.runFor(400_000);
    assert.match(bench.report.trouble, /does not take/);
    bench.spareDisk.faults.setPathError(undefined);
    await bench.untilNotRunning();
    // The write that was tried meanwhile is tried again less and less often.
    await bench.clock.runFor(60_000);
    assert.equal(bench.report.trouble, '');
    assert.equal(bench.report.ended[0]?.end, 'finished');
    await bench.close();
  });

  it('R3 never writes a superblock behind one that was not answered: at each moment one of them is whole', async () => {
    const bench = await ScrubBench.create({ policies: slow });
    const { store } = bench.now.metadata;
    const { scrubber } = bench.now;
    // Answered as timed out after a second, and there ten seconds later.
    bench.spareDisk.faults.delayNext(1, { answerMs: 1_000, doneMs: 11_000 }, { kinds: ['write'] });
    scrubber.start('operator');
    await bench.clock.runFor(3_000);
    const { spare } = bench.now;
    const from = spare.operations.length;
    for (let turn = 0; turn < 4; turn += 1) {
      scrubber.pause('operator');
      await bench.clock.runFor(500);
      scrubber.resume('operator');
      await bench.clock.runFor(500);
    }
    const written = spare.operations.slice(from).filter(({ kind }) => kind === 'write');
    assert.equal(written.length, 0, 'no superblock is written while another one may still arrive');
    assert.match(bench.report.trouble, /does not take/);
    assert.equal(store.status().state, 'open');
    bench.end('power');
    await bench.open();
    assert.equal(bench.now.device.status().metadata.replicasInSync, 2);
    await bench.close();
  });

  it('does nothing when there is none: no request, and one look at the schedule an hour', async () => {
    const bench = await ScrubBench.create();
    const { main, spare } = bench.now;
    const before = [main.operations.length, spare.operations.length];
    const events = bench.clock.eventsRun;
    await bench.clock.runFor(24 * scheduleLookMs);
    assert.deepEqual([main.operations.length, spare.operations.length], before);
    assert.ok(bench.clock.eventsRun - events <= 25, `${bench.clock.eventsRun - events} wake-ups in a day`);
    await bench.close();
  });
});

describe('a schedule', () => {
  it('begins a pass so many days after the last one has ended, also in another process', async () => {
    const bench = await ScrubBench.create();
    await bench.message('policy', 'scrub-every', '7');
    await bench.clock.runFor(2 * scheduleLookMs);
    assert.equal(bench.report.ended.length, 1, 'never scrubbed: at once');
    await bench.clock.runFor(6 * dayMs);
    assert.equal(bench.report.ended.length, 1);
    await bench.close();
    await bench.open();
    await bench.clock.runFor(dayMs + 2 * scheduleLookMs);
    assert.equal(bench.report.ended.length, 2);
    const starts = bench.events.filter(({ kind }) => kind === 'scrub-started');
    assert.deepEqual(
      starts.map((event) => event.kind === 'scrub-started' && event.by),
      ['schedule', 'schedule'],
    );
    await bench.message('policy', 'scrub-every', '0');
    await bench.clock.runFor(30 * dayMs);
    assert.equal(bench.report.ended.length, 2);
    assert.equal(bench.report.nextUnixSeconds, null);
    await bench.close();
  });
});

describe('what the spare keeps of scrubs', () => {
  const counts = fc
    .array(fc.nat(), { minLength: 11, maxLength: 11 })
    .map((numbers) =>
      Object.assign(
        newScrubCounts(),
        Object.fromEntries(Object.keys(newScrubCounts()).map((name, index) => [name, numbers[index] ?? 0])),
      ),
    );
  const place = { startedUnixSeconds: fc.nat(), positionBytes: fc.maxSafeNat(), counts };
  const record: fc.Arbitrary<ScrubRecord> = fc.record({
    pass: fc.option(
      fc.record({ isPaused: fc.boolean(), pauseReason: fc.constantFrom('', 'operator', 'storm'), ...place }),
      { nil: undefined },
    ),
    ended: fc.array(
      fc.record({ end: fc.constantFrom('finished', 'stopped'), endedUnixSeconds: fc.nat(), ...place }),
      { maxLength: passesKeptMax },
    ),
  });

  it('is read as it was written', () => {
    fc.assert(
      fc.property(record, (one) => {
        assert.deepEqual(decodeScrubRecord(encodeScrubRecord(one)), structuredClone(one));
      }),
      { numRuns: 200 },
    );
  });

  it('means nothing when it is garbage, and never more than it says', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom('pass', 'reason', '1', '2', '9'), fc.string()), (garbage) => {
        const { pass, ended } = decodeScrubRecord(garbage);
        assert.ok(pass === undefined || Number.isSafeInteger(pass.positionBytes));
        assert.ok(ended.length <= passesKeptMax);
      }),
      { numRuns: 200 },
    );
  });

  it('is the last eight passes', async () => {
    const bench = await ScrubBench.create();
    for (let pass = 0; pass < passesKeptMax + 3; pass += 1) {
      bench.now.scrubber.start('operator');
      await bench.clock.runFor(1_000);
      bench.now.scrubber.stop();
    }
    await bench.close();
    await bench.open();
    assert.equal(bench.report.ended.length, passesKeptMax);
    await bench.close();
  });

  it('gives up the oldest results where the superblock has no room', async () => {
    const bench = await ScrubBench.create();
    const { store } = bench.now.metadata;
    await bench.clock.run(store.updateProperties({ mainIdentity: { model: 'x'.repeat(3300) } }));
    for (let pass = 0; pass < passesKeptMax; pass += 1) {
      bench.now.scrubber.start('operator');
      await bench.untilNotRunning();
    }
    assert.equal(bench.report.trouble, '');
    await bench.close();
    await bench.open();
    const { ended } = bench.report;
    assert.ok(ended.length > 0 && ended.length < passesKeptMax, `${ended.length} of them have room`);
    await bench.close();
  });
});
