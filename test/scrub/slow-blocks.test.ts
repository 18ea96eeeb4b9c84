import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { type Clock, delay } from '../../src/block/clock.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { ReadBaseline } from '../../src/scrub/read-baseline.ts';
import { baselineReadsMin, slowFactor } from '../../src/scrub/scrub-limits.ts';
import { MoveBudget } from '../../src/scrub/slow-blocks.ts';
import { granuleBytes, mainBytes, readBytes, ScrubBench } from './scrub-bench.ts';

/** A main that takes long for some granules, each time or the first time only. */
class SlowMain extends FilterDevice {
  readonly slow = new Set<number>();
  readonly once = new Set<number>();
  readonly reads: number[] = [];
  #clock: Clock | undefined;

  use(clock: Clock): void {
    this.#clock = clock;
  }

  override async read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    await this.below.read(target, offset, flags);
    const first = Math.floor(offset / granuleBytes);
    const last = Math.floor((offset + target.length - 1) / granuleBytes);
    for (let granule = first; granule <= last; granule += 1) {
      const isSlow = this.slow.has(granule) || this.once.delete(granule);
      if (isSlow && this.#clock !== undefined) {
        this.reads.push(target.length);
        await delay(this.#clock, 900);
      }
    }
  }
}

async function slowBench(
  policies: Readonly<Record<string, string>>,
): Promise<{ bench: ScrubBench; main: SlowMain }> {
  let main: SlowMain | undefined;
  const wrapMain = (below: BlockDevice): SlowMain => {
    main = new SlowMain(below);
    return main;
  };
  const bench = await ScrubBench.create({ policies, wrapMain });
  assert.ok(main !== undefined);
  main.use(bench.clock);
  return { bench, main };
}

/** Behind the reads that a baseline needs. */
const late = (baselineReadsMin * readBytes) / granuleBytes + 8;

describe('slow reads', () => {
  it('are reported when a second look finds them slow too, block by block', async () => {
    const { bench, main } = await slowBench({});
    main.slow.add(late + 3);
    main.once.add(late + 100);
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    const [last] = bench.report.ended;
    assert.equal(last?.counts.slowGranules, 1);
    assert.equal(last?.counts.slowMovedGranules, 0, 'report only');
    assert.equal(last?.counts.foundGranules, 0, 'nothing is bad');
    const sector = ((late + 3) * granuleBytes) / 512;
    const [event] = bench.events.filter(({ kind }) => kind === 'slow-blocks');
    assert.deepEqual(event, {
      kind: 'slow-blocks',
      ...{ granules: 1, movedGranules: 0, firstSector: sector, lastSector: sector + 7 },
    });
    assert.deepEqual(main.reads, [readBytes, readBytes, granuleBytes], 'the second look is one block');
    assert.equal(bench.now.device.status().remappedGranules, 0);
    await bench.close();
  });

  it('are moved within a budget an hour, with the same bytes and as what they are', async () => {
    const { bench, main } = await slowBench({ 'slow-read': 'move', 'slow-moves': '2' });
    const bytes = Buffer.alloc(granuleBytes, 9);
    // What is read while clients have just worked teaches nothing: far behind that.
    const first = 1700;
    for (const granule of [first, first + 20, first + 40, first + 60]) {
      await bench.clock.run(bench.write(bytes, granule * granuleBytes));
      main.slow.add(granule);
    }
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    assert.equal(bench.report.ended[0]?.counts.slowGranules, 4);
    assert.equal(bench.report.ended[0]?.counts.slowMovedGranules, 2);
    assert.equal(bench.now.device.status().remappedGranules, 2);
    assert.match(await bench.message('list'), / slowRead$/m);
    assert.deepEqual(await bench.clock.run(bench.read(first * granuleBytes, granuleBytes)), bytes);
    await bench.clock.runFor(3_600_000);
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    assert.equal(bench.now.device.status().remappedGranules, 4, 'the others an hour later');
    await bench.close();
  });

  it('R31 are never moved into the reserve', async () => {
    const { bench, main } = await slowBench({ 'slow-read': 'move', 'slow-moves': '1000' });
    const { slotsFree, slotsReserved } = bench.now.device.status();
    // All but one of the slots that are no reserve.
    let left = slotsFree - slotsReserved - 1;
    for (let sector = 0; left > 0; left -= 1, sector += 8) {
      const count = Math.min(left, 128);
      await bench.message('remap', String(sector), String(count * 8));
      left -= count - 1;
      sector += (count - 1) * 8;
      if (sector > mainBytes / 512 / 2) break;
    }
    const free = bench.now.device.status().slotsFree;
    const room = Math.max(0, free - slotsReserved);
    for (let index = 0; index < 4; index += 1) main.slow.add(mainBytes / granuleBytes - 1 - index * 20);
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    assert.ok(bench.now.device.status().slotsFree >= Math.min(free, slotsReserved));
    assert.ok((bench.report.ended[0]?.counts.slowMovedGranules ?? 0) <= room);
    await bench.close();
  });

  it("are nobody's business with the policy off", async () => {
    const { bench, main } = await slowBench({ 'slow-read': 'off' });
    main.slow.add(late);
    bench.now.scrubber.start('operator');
    await bench.untilNotRunning();
    assert.equal(bench.report.ended[0]?.counts.slowGranules, 0);
    assert.equal(main.reads.length, 1, 'no second look');
    await bench.close();
  });
});

describe('what a disk usually takes', () => {
  it('is the median, to a fifth, of what was seen', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 2000, noNaN: true }),
        fc.integer({ min: 40, max: 20_000 }),
        (ms, reads) => {
          const baseline = new ReadBaseline();
          for (let read = 0; read < reads; read += 1) baseline.add(read % 3 === 0 ? ms * 50 : ms);
          const median = baseline.medianMs ?? 0;
          assert.ok(median >= ms && median <= ms * 1.2, `${median} for ${ms}`);
          assert.ok(baseline.reads <= 4096, 'bounded');
        },
      ),
      { numRuns: 50 },
    );
  });

  it('says nothing before it has seen enough, and never calls slow what is below the policy', () => {
    const baseline = new ReadBaseline();
    for (let read = 1; read < baselineReadsMin; read += 1) baseline.add(1);
    assert.equal(baseline.slowMs(200), undefined);
    baseline.add(1);
    assert.equal(baseline.slowMs(200), 200);
    for (let read = 0; read < 1000; read += 1) baseline.add(100);
    assert.ok((baseline.slowMs(200) ?? 0) >= slowFactor * 100);
  });
});

describe('the budget of moves', () => {
  it('is never exceeded in any hour', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 900_000 }), { maxLength: 100 }),
        fc.nat(9),
        (gaps, perHour) => {
          const budget = new MoveBudget();
          const taken: number[] = [];
          let nowMs = 0;
          for (const gap of gaps) {
            nowMs += gap;
            if (budget.take(perHour, nowMs)) taken.push(nowMs);
          }
          for (const at of taken) {
            const within = taken.filter((other) => other >= at && other < at + 3_600_000);
            assert.ok(within.length <= perHour);
          }
        },
      ),
    );
  });
});
