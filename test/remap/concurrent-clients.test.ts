import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IoFlags, sectorBytes } from '../../src/block/block-device.ts';
import { delay } from '../../src/block/clock.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno, type FailureKind } from '../../src/block/errno.ts';
import { MessageError } from '../../src/remap/message/message-error.ts';
import { allocationsMax } from '../../src/remap/move/relocation.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { finish, makeStack, patternOf, type Stack } from './remap-stack.ts';

describe('a remap device with several clients', () => {
  it('I20 several clients, overlapping writes, changing faults: every acknowledged byte is found', () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
        await runClients(seed, 0);
      }),
      // The first seed puts four bad slots in a row.
      { numRuns: 60, examples: [[2115162662]] },
    ));

  it('R1, R4, I28 nor does an operator lose one, who moves, takes home, tests and imports what they work on', async () => {
    let messages = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
        messages += await runClients(seed, 2);
      }),
      // A write waits for a granule of which the salvager moves a part; of which main gives back what was lost.
      { numRuns: 60, examples: [[458567997], [1075]] },
    );
    assert.ok(messages > 60 * 20, `only ${messages} messages did something`);
  });

  it('R5, R17 nor do disks that come and go, and no request fails for that', async () => {
    let outages = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
        await runClients(seed, 0, (stack) => {
          const { mainReads, mainWrites, spare } = stack.core.paths;
          outages += mainReads.outages + mainWrites.outages + spare.outages;
        });
      }),
      // In the first seed main goes away while a granule is read again, and is back for the probe.
      { numRuns: 60, examples: [[185232512]] },
    );
    assert.ok(outages > 30, `only ${outages} outages were met`);
  });
});

const modelSectors = 256;

/** Versions that each sector may hold: the acknowledged one, or any write begun and not yet superseded. */
class SectorModel {
  /** Sectors that main refused to read at some time. */
  readonly badReads = new Set<number>();
  /** Outages of main or spare that have begun, and ended. */
  outagesBegun = 0;
  outagesEnded = 0;
  readonly possible: Set<number>[] = Array.from({ length: modelSectors }, () => new Set([0]));
  readonly #pending: Set<number>[] = Array.from({ length: modelSectors }, () => new Set());
  readonly #bornAfter = new Map<number, Set<number>[]>();
  /** What reads under way may see, by sector: all that was possible at any moment of theirs. */
  readonly #watching = new Set<ReadonlyMap<number, Set<number>>>();

  begin(version: number, first: number, count: number): void {
    const overtaken: Set<number>[] = [];
    for (let sector = first; sector < first + count; sector += 1) {
      // What was acknowledged before this write began is overwritten once it succeeds.
      overtaken.push(
        new Set([...this.possible[sector]!].filter((other) => !this.#pending[sector]!.has(other))),
      );
      this.possible[sector]!.add(version);
      this.#pending[sector]!.add(version);
      for (const watch of this.#watching) watch.get(sector)?.add(version);
    }
    this.#bornAfter.set(version, overtaken);
  }

  /** Until `stop`, collects what a read of these sectors may see. */
  watch(first: number, count: number): { seen: ReadonlyMap<number, Set<number>>; stop: () => void } {
    const seen = new Map<number, Set<number>>();
    for (let sector = first; sector < first + count; sector += 1) {
      seen.set(sector, new Set(this.possible[sector]));
    }
    this.#watching.add(seen);
    return { seen, stop: () => void this.#watching.delete(seen) };
  }

  end(version: number, first: number, count: number, failed: ReadonlySet<number>): void {
    const overtaken = this.#bornAfter.get(version)!;
    for (let sector = first; sector < first + count; sector += 1) {
      this.#pending[sector]!.delete(version);
      if (failed.has(sector)) continue;
      for (const old of overtaken[sector - first]!) this.possible[sector]!.delete(old);
    }
  }
}

/** The number of messages that were not refused. */
async function runClients(
  seed: number,
  operatorCount: number,
  afterOutages?: (stack: Stack) => void,
): Promise<number> {
  const random = new SeededRandom(seed);
  const granuleBytes = random.pick([512, 4096, 16_384]);
  const stack = makeStack({
    seed: String(seed),
    mainBytes: 1 << 20,
    spareBytes: 2 << 20,
    granuleBytes,
    reserved: [{ slot: 0, slotCount: (16 * 4096) / granuleBytes }],
    exactRanges: random.chance(0.5),
    remapBytes: 64 * 1024,
    verifySlots: random.chance(0.8),
  });
  const model = new SectorModel();
  let versions = 0;
  const client = async (chance: SeededRandom) => {
    for (let step = 0; step < 25; step += 1) {
      disturb(stack, model, chance);
      const first = chance.below(modelSectors);
      const count = 1 + chance.below(Math.min(40, modelSectors - first));
      if (chance.chance(0.15)) await flushOnce(stack, afterOutages !== undefined);
      else if (chance.chance(0.6)) {
        versions += 1;
        await writeOnce(stack, model, versions, first, count, chance.chance(0.2) ? IoFlags.fua : 0);
      } else await readOnce(stack, model, first, count);
    }
  };
  const clients = Array.from({ length: 4 }, (_, index) => client(random.fork(`client ${index}`)));
  const operators = Array.from({ length: operatorCount }, (_, index) =>
    operate(stack, random.fork(`operator ${index}`)),
  );
  let working = true;
  const outages =
    afterOutages === undefined ? Promise.resolve() : comeAndGo(stack, model, random, () => working);
  const work = Promise.all([...clients, ...operators]).finally(() => {
    working = false;
  });
  await stack.clock.run(Promise.all([work, outages]));
  afterOutages?.(stack);
  await readOnceRunning(stack, model);
  assert.equal(stack.core.table.totals().goneSectors, 0, 'the spare lost nothing here');
  await finish(stack, { lazyLost: true });
  return (await Promise.all(operators)).reduce((sum, count) => sum + count, 0);
}

/** Main and spare fail everything for a while, now and then. */
async function comeAndGo(
  stack: Stack,
  model: SectorModel,
  random: SeededRandom,
  working: () => boolean,
): Promise<void> {
  const chance = random.fork('outages');
  while (working()) {
    await delay(stack.clock, chance.pick([3, 10, 60]) * (1 + chance.below(5)));
    const { faults } = chance.pick([stack.mainDisk, stack.spareDisk]);
    faults.setPathError(chance.pick([Errno.EIO, Errno.ENODEV, Errno.ETIMEDOUT]));
    model.outagesBegun += 1;
    await delay(stack.clock, 1 + chance.below(chance.pick([10, 300])));
    faults.setPathError(undefined);
    model.outagesEnded += 1;
  }
}

/** A flush that a disk has failed is the client's to hear of (R7). */
async function flushOnce(stack: Stack, mayFail: boolean): Promise<void> {
  try {
    await stack.device.flush();
  } catch (error) {
    assert(mayFail && error instanceof DeviceError, String(error));
  }
}

/** Sends messages that move what the clients work on; the number of those that were not refused. */
async function operate(stack: Stack, random: SeededRandom): Promise<number> {
  let answered = 0;
  for (let step = 0; step < 25; step += 1) {
    await delay(stack.clock, random.below(30));
    const range = [String(random.below(modelSectors - 40)), String(1 + random.below(40))];
    const words = random.pick([
      ['unremap', ...range],
      ['verify'],
      ['verify', ...range],
      ['retry', 'all'],
      ['remap', ...range],
      ['retire'],
      ['import', 'suspect', ...range],
      ['query', ...range],
      ['policy', 'verify', random.pick(['first', 'always'])],
      ['policy', 'on-write-error', random.pick(['remap', 'rewrite-first'])],
    ]);
    try {
      await stack.device.message(words);
      answered += 1;
    } catch (error) {
      assert(error instanceof MessageError, `${words.join(' ')}: ${String(error)}`);
    }
  }
  return answered;
}

/** Grows and heals bad sectors, and lets single commits fail. */
function disturb(stack: Stack, model: SectorModel, chance: SeededRandom): void {
  const sector = chance.below(modelSectors);
  const count = 1 + chance.below(3);
  const { faults } = stack.mainDisk;
  if (chance.chance(0.15)) faults.addBadSectors(sector, count, { on: 'write' });
  if (chance.chance(0.1)) {
    faults.addBadSectors(sector, count, { on: 'both', healOnWrite: chance.chance(0.5) });
    for (let bad = sector; bad < sector + count; bad += 1) model.badReads.add(bad);
  }
  if (chance.chance(0.05)) faults.removeBadSectors(sector, count * 8);
  if (chance.chance(0.05)) faults.failNext(1, { kinds: ['write', 'read'] });
  if (chance.chance(0.03))
    stack.spareDisk.faults.addBadSectors(16 * 8 + chance.below(200), 1, { on: 'write' });
  if (chance.chance(0.03)) stack.metadata.failures.push('METADATA_NOT_COMMITTED');
}

function failedOf(error: unknown, only?: FailureKind): Set<number> {
  assert(error instanceof DeviceError, String(error));
  const sectors = new Set<number>();
  for (const { offset, length, kind } of error.ranges) {
    assert(length > 0);
    if (only !== undefined && kind !== only) continue;
    for (let at = offset; at < offset + length; at += sectorBytes) sectors.add(at / sectorBytes);
  }
  return sectors;
}

async function writeOnce(
  stack: Stack,
  model: SectorModel,
  version: number,
  first: number,
  count: number,
  flags: number,
): Promise<void> {
  model.begin(version, first, count);
  const { failuresInjected } = stack.metadata;
  let failed: ReadonlySet<number> = new Set();
  try {
    await stack.device.write(patternOf(first, count, version), first * sectorBytes, flags);
  } catch (error) {
    failed = failedOf(error);
    const commitFailed = stack.metadata.failuresInjected > failuresInjected;
    // R5: a write gives up after four bad slots, which may well follow each other on so small a spare.
    const excused = commitFailed || badSlotsMet(stack) >= allocationsMax;
    assert(excused, `no commit failed, the slots were good, and yet: ${String(error)}`);
    for (const sector of failed) assert(sector >= first && sector < first + count, 'its own sectors only');
  }
  model.end(version, first, count, failed);
}

/** Slots that really failed a write. */
function badSlotsMet(stack: Stack): number {
  const struck = [...stack.spareDisk.faults.struckSectors('write')];
  return new Set(struck.map((sector) => Math.floor((sector * sectorBytes) / stack.granuleBytes))).size;
}

async function readOnce(stack: Stack, model: SectorModel, first: number, count: number): Promise<void> {
  const target = new Uint8Array(count * sectorBytes).fill(0xaa);
  const { seen, stop } = model.watch(first, count);
  const outagesEnded = model.outagesEnded;
  let failed: ReadonlySet<number> = new Set();
  let transient: ReadonlySet<number> = new Set();
  let why = '';
  try {
    await stack.device.read(target, first * sectorBytes);
  } catch (error) {
    failed = failedOf(error);
    transient = failedOf(error, 'transient');
    why = String(error);
  }
  stop();
  const view = new DataView(target.buffer);
  for (let index = 0; index < count; index += 1) {
    const sector = first + index;
    if (failed.has(sector)) {
      // An outage, a good probe, another outage: nobody can tell that from a bad sector, and it is marked as one.
      if (model.outagesBegun - outagesEnded >= 2) model.badReads.add(sector);
      // One request is sent again after transient errors a few times only (R15).
      if (transient.has(sector)) continue;
      assert(model.badReads.has(sector), `sector ${sector} was never bad to read: ${why}`);
      continue;
    }
    const version = view.getUint32(index * sectorBytes + 4, true);
    assert(seen.get(sector)!.has(version), `sector ${sector} has version ${version}`);
    const expected = version === 0 ? new Uint8Array(sectorBytes) : patternOf(sector, 1, version);
    assert.deepEqual(target.slice(index * sectorBytes, (index + 1) * sectorBytes), expected);
  }
}

/** The last look, when nothing else goes on. */
async function readOnceRunning(stack: Stack, model: SectorModel): Promise<void> {
  await stack.clock.run(readOnce(stack, model, 0, modelSectors));
}
