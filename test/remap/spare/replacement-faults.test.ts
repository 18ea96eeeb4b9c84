import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeviceError } from '../../../src/block/device-error.ts';
import { Errno } from '../../../src/block/errno.ts';
import { MetadataError } from '../../../src/metadata/metadata-store.ts';
import type { ReplacementOutcome } from '../../../src/remap/spare/spare-replacement.ts';
import type { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import type { FaultScope } from '../../../src/simulator/simulated-faults.ts';
import { type Opened, ReplacementWorld } from './replacement-world.ts';

/** Each about 0.1 s; 560 were run once, of which 32 and 49 found what `takes only 1 of 2 replicas` is about. */
const seeds = 24;
/** Of virtual time: far behind every deadline of a replacement. */
const stepsMax = 4000;

/** Something goes wrong with one of the two disks, from now on. Flushes of the old one are left alone: its clients share one device. */
function breakOne(world: ReplacementWorld, { metadata }: Opened, random: SeededRandom): void {
  const { layout } = metadata;
  const { superblockOffset, areaOffsets } = random.pick(layout.replicas);
  const disk = random.chance(0.7) ? world.next : world.old;
  const superblocks = { sector: superblockOffset / 512, sectorCount: 16 } as const;
  const scope: FaultScope = random.pick([
    { kinds: ['write', 'flush'] },
    { kinds: ['write'] },
    { kinds: ['write'], ...superblocks },
    { kinds: ['write'], sector: random.pick(areaOffsets) / 512, sectorCount: layout.areaBlocks * 8 },
  ]);
  const count = random.pick([1, 2, 5, Number.MAX_SAFE_INTEGER]);
  const what = random.below(4);
  if (what === 0) disk.faults.stickNext(count, scope);
  else if (what === 1)
    disk.faults.failNext(count, { kinds: ['write'], ...superblocks, errno: Errno.ENOLINK });
  else if (what === 2) world.next.faults.failFlush(random.pick(['once', 'always'] as const));
  else disk.faults.addBadSectors(superblocks.sector, 16, { on: random.pick(['write', 'both'] as const) });
}

/** The device's error, when a client met with one. */
async function untilItFails(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof DeviceError, String(error));
  }
}

async function replaceWithFaults(seed: string): Promise<'old' | 'next' | 'none'> {
  const world = new ReplacementWorld(seed);
  await world.create();
  const opened = await world.open(world.old);
  await world.clock.run(world.fill(opened.device));
  const random = world.random.fork('faults');
  world.operations = 0;
  if (random.chance(0.5)) world.cutAt = 1 + random.below(700);
  const when = random.pick(['at once', 'at the exchange', 'some time'] as const);
  const breakAt = random.below(60);
  if (when === 'at once') breakOne(world, opened, random);
  let outcome: ReplacementOutcome | undefined;
  const onStartAnew = (): void => {
    if (when === 'at the exchange') breakOne(world, opened, random);
  };
  const run = world
    .replacement(opened, false, undefined, onStartAnew)
    .run()
    .then((end) => {
      outcome = end;
    });
  let failure: unknown;
  const clients = [0, 1, 2].map((client) => untilItFails(world.write(opened.device, client)));
  Promise.all([run, ...clients]).catch((error: unknown) => {
    failure = error;
  });
  for (let step = 0; step < stepsMax && outcome === undefined && !world.isCut; step += 1) {
    if (when === 'some time' && step === breakAt) breakOne(world, opened, random);
    opened.metadata.store.updateProperties({ policies: { step: String(step) } }).catch((error: unknown) => {
      if (!(error instanceof MetadataError)) failure = error;
    });
    await world.clock.runFor(step < 400 ? 5 : 50);
    assert.equal(failure, undefined, `${seed}: ${String(failure)}`);
  }
  assert.ok(world.isCut || outcome !== undefined, `${seed}: a replacement without end`);
  assert.ok(world.isCut || !opened.device.suspended, `${seed}: requests are still held`);
  world.ended = true;
  if (!world.isCut) world.cut();
  world.old.faults.calm();
  world.next.faults.calm();
  const originals = await world.originals();
  assert.ok(originals.length <= 1, `${seed}: two spares`);
  const [disk] = originals;
  // The moment in which the old one is a copy already, and what `adopt` is for.
  if (disk === undefined)
    assert.equal(await world.ownerOf(world.old), 'next', `${seed}: nothing can be opened`);
  const again = await world.open(disk ?? world.old);
  await world.clock.run(world.judgeAll(again.device, 'floor'));
  return disk === undefined ? 'none' : disk === world.old ? 'old' : 'next';
}

describe('a spare that is replaced while its disks, the old one and the new one, fail and hang', () => {
  it('M12 R36 ends, with one original at most, and no flushed write is lost, whatever goes wrong and whenever the power goes', async () => {
    const seen = { old: 0, next: 0, none: 0 };
    for (let seed = 0; seed < seeds; seed += 1) seen[await replaceWithFaults(`faults ${seed}`)] += 1;
    assert.ok(seen.old > 5 && seen.next > 1, JSON.stringify(seen));
  });
});
