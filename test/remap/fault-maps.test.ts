import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { advisedSpareBytes, planLayout } from '../../src/metadata/layout.ts';
import type { SeededRandom } from '../../src/simulator/seeded-random.ts';
import {
  badSectorsOf,
  type FaultFixture,
  type FaultMapName,
  faultFixtures,
  faultMap,
  faultTable,
} from '../fixtures/fault-tables.ts';
import { defaultSpareBytes, FaultMapRig, granuleBytes, granulesOf } from './fault-map-rig.ts';
import { LyingDevice } from './remap-stack.ts';

const mainBytes = 100 << 20;

/** One for each entry of `fault-maps.json`, by its name; each compares bytes. */
const tests: Record<string, (fixture: FaultFixture) => Promise<void>> = {
  'five-spread': generalWorkload,
  'low-pair': lowPair,
  'low-run': removalWithRemaps,
  'zero-two': firstSectors,
  'hundred-step': persistence,
  'stage-50': stages,
  'groups-185': groups,
  percent,
  'metadata-on-spare': metadataOnSpare,
  'spare-bad': spareBad,
  flaky,
  slow,
  torn,
  silent,
};

describe('I17 the fault maps', () => {
  for (const fixture of faultFixtures()) {
    it(`${fixture.name}: ${fixture.purpose}`, async () => {
      const test = tests[fixture.name];
      assert.ok(test !== undefined, `fault-maps.json has ${fixture.name}, and no test is about it`);
      await test(fixture);
    });
  }

  it('are all in the file', () => {
    const names = new Set(faultFixtures().map(({ name }) => name));
    assert.deepEqual(
      Object.keys(tests).filter((name) => !names.has(name)),
      [],
    );
  });
});

/** A device over error targets at the sectors of the map, open. */
async function overErrors(
  name: FaultMapName,
  options: { fresh?: boolean } = {},
): Promise<{ rig: FaultMapRig; bad: number[] }> {
  const map = faultMap(name);
  const { table } = faultTable(map, 'error', 'disk');
  const rig = await FaultMapRig.create(name, { mainBytes: map.mainBytes, table, ...options });
  await rig.open();
  return { rig, bad: badSectorsOf(map) };
}

async function generalWorkload(): Promise<void> {
  const { rig, bad } = await overErrors('five-spread');
  for (let round = 0; round < 200; round += 1) {
    const near = rig.random.chance(0.5) ? bad[rig.random.below(bad.length)]! : rig.random.below(204_000);
    const sector = Math.max(0, near - rig.random.below(40));
    await rig.write(sector, 1 + rig.random.below(64));
  }
  for (const sector of bad) await rig.write(sector - 3, 8);
  await rig.check();
  assert.deepEqual(await rig.movedGranules(), granulesOf(bad));
  await rig.reopen();
  await rig.check();
  await rig.close();
}

/** Neighbours of the pair, each by itself: nothing is off by one, and creating over it took no time. */
async function lowPair(): Promise<void> {
  const { rig, bad } = await overErrors('low-pair');
  assert.deepEqual(bad, [1000, 1001]);
  assert.ok(rig.clock.nowMs() < 1000, 'I1: creating and opening do not wait');
  for (const sector of [999, 1002]) await rig.write(sector, 1);
  assert.deepEqual(await rig.movedGranules(), [], 'sectors beside the pair are good');
  for (const sector of [1001, 1000]) await rig.write(sector, 1);
  await rig.write(996, 4);
  await rig.check();
  assert.deepEqual(await rig.movedGranules(), [125]);
  await rig.reopen();
  await rig.check();
  await rig.close();
}

async function removalWithRemaps(): Promise<void> {
  const { rig, bad } = await overErrors('low-run');
  await rig.write(992, 24);
  assert.deepEqual(await rig.movedGranules(), granulesOf(bad));
  const startMs = rig.clock.nowMs();
  await rig.close();
  assert.ok(rig.clock.nowMs() - startMs < 1000, 'I6: removal does not wait');
  await rig.open();
  await rig.check();
  await rig.close();
}

/** As mkfs does it: reads what was never written, then writes parts of it. */
async function firstSectors(): Promise<void> {
  const { rig, bad } = await overErrors('zero-two', { fresh: true });
  assert.deepEqual(await rig.read(0, 64), new Uint8Array(64 * 512), 'R13: zeros, not EIO');
  assert.deepEqual(await rig.movedGranules(), []);
  await rig.write(2, 2);
  await rig.write(0, 1);
  await rig.write(128, 8);
  await rig.check();
  assert.deepEqual(await rig.read(1, 1), new Uint8Array(512));
  assert.deepEqual(await rig.movedGranules(), granulesOf(bad));
  await rig.reopen();
  await rig.check();
  assert.deepEqual(await rig.read(4, 4), new Uint8Array(4 * 512));
  await rig.close();

  const strict = await overErrors('zero-two');
  await strict.rig.expectError(0, 1);
  await strict.rig.close();
}

/** Closed cleanly, then with the power cut, then again: the table is the same each time. */
async function persistence(): Promise<void> {
  const { rig, bad } = await overErrors('hundred-step');
  for (const sector of bad) await rig.write(sector - 1, 3);
  await rig.flush();
  const list = await rig.device.message(['list', 'blocks']);
  assert.deepEqual(await rig.movedGranules(), granulesOf(bad));
  for (let round = 0; round < 4; round += 1) {
    if (round % 2 === 0) await rig.reopen();
    else await rig.cutAndReopen();
    assert.equal(await rig.device.message(['list', 'blocks']), list);
    await rig.check();
    // What was freed would be used now, over what is in use (I15).
    await rig.write(40_000 + round * 8, 8);
    await rig.flush();
  }
  await rig.close();
}

async function stages({ mainBytes: sizeBytes, random }: FaultFixture): Promise<void> {
  const rig = await FaultMapRig.create('stage-50', { mainBytes: sizeBytes! });
  await rig.open();
  const bad: number[] = [];
  for (let stage = 0; stage < random!.stages!; stage += 1) {
    const added = chanceSectors(rig.random, random!.perStage!, sizeBytes! / 512 - 16);
    for (const sector of added) rig.main.faults.addBadSectors(sector, 1, { on: 'both' });
    bad.push(...added);
    for (const sector of added) await rig.write(Math.max(0, sector - rig.random.below(8)), 9);
    await rig.check();
    assert.deepEqual(await rig.movedGranules(), granulesOf([...rig.main.faults.struckSectors('write')]));
    if (stage % 3 === 2) await rig.cutAndReopen();
  }
  assert.deepEqual(granulesOf([...rig.main.faults.struckSectors('write')]), granulesOf(bad));
  await rig.check();
  await rig.close();
}

/** All in groups, and then all of the disk around them is read, as a scrub does. */
async function groups({ mainBytes: sizeBytes, random }: FaultFixture): Promise<void> {
  const rig = await FaultMapRig.create('groups-185', { mainBytes: sizeBytes! });
  await rig.open();
  const [groupCount, total] = [random!.groups!, random!.total!];
  const inGroup = total / groupCount;
  assert.ok(Number.isInteger(inGroup));
  const starts = chanceSectors(rig.random, groupCount, sizeBytes! / 512 - 2048);
  for (const start of starts) {
    await rig.write(start, inGroup + 20);
    // They have gone bad since: what they held cannot be had any more.
    rig.main.faults.addBadSectors(start, inGroup, { on: 'both' });
  }
  const lost = starts.flatMap((start) => Array.from({ length: inGroup }, (_, index) => start + index));
  for (const sector of lost) {
    rig.model.delete(sector);
    await rig.expectError(sector, 1);
  }
  assert.equal(lost.length, total);
  await rig.check();
  assert.equal(await listedLost(rig), total, 'the scrub lists each of them');
  assert.deepEqual(await rig.movedGranules(), [], 'R17: and moves nothing');
  for (const start of starts) await rig.write(start - 2, inGroup + 4);
  await rig.check();
  assert.equal(await listedLost(rig), 0);
  assert.deepEqual(await rig.movedGranules(), granulesOf(lost));
  await rig.cutAndReopen();
  await rig.check();
  await rig.close();
}

/** The advised spare is enough for one percent of lone sectors; five percent fill it, which costs writes and no data. */
async function percent({ mainBytes: sizeBytes, random }: FaultFixture): Promise<void> {
  const sectorCount = sizeBytes! / 512;
  for (const share of random!.percent!) {
    const spareBytes = Math.max(defaultSpareBytes, advisedSpareBytes(sizeBytes!, granuleBytes));
    const rig = await FaultMapRig.create(`percent ${share}`, { mainBytes: sizeBytes!, spareBytes });
    await rig.open();
    const bad = chanceSectors(rig.random, (sectorCount * share) / 100, sectorCount);
    for (const sector of bad) rig.main.faults.addBadSectors(sector, 1, { on: 'both' });
    const slots = planLayout(spareBytes, sizeBytes!, granuleBytes, {
      lostRangesMax: 4096,
      slotsMin: 64,
    }).slotCount;
    // Some more than there is room for are enough.
    const wanted = granulesOf(bad).slice(0, slots + 200);
    let refused = 0;
    for (const granule of wanted) {
      await rig.write(granule * 8, 8).catch((error: unknown) => {
        assert.ok(error instanceof DeviceError && error.errno === Errno.EIO, String(error));
        refused += 1;
      });
    }
    assert.equal(
      refused,
      Math.max(0, wanted.length - slots),
      `${share} %: ${wanted.length} for ${slots} slots`,
    );
    assert.equal((await rig.movedGranules()).length, wanted.length - refused);
    assert.equal(rig.device.status().state, refused > 0 ? 'spare-full' : 'ok');
    await rig.check();
    await rig.close();
  }
}

/** In all of one replica, from the first write on: it leaves the set, and what was acknowledged is there without it. */
async function metadataOnSpare(): Promise<void> {
  const { replicas, areaBlocks, journalBlocks } = planLayout(defaultSpareBytes, mainBytes, granuleBytes, {
    lostRangesMax: 4096,
    slotsMin: 64,
  });
  for (const [index, replica] of replicas.entries()) {
    const rig = await FaultMapRig.create(`metadata-on-spare ${index}`, { mainBytes });
    await rig.open();
    rig.main.faults.addBadSectors(1000, 80, { on: 'both' });
    await rig.write(1000, 8);
    const spoil = (offset: number, blocks: number): void =>
      rig.spare.faults.addBadSectors(offset / 512, blocks * 8, { on: 'both' });
    spoil(replica.superblockOffset, 2);
    for (const offset of replica.areaOffsets) spoil(offset, areaBlocks);
    for (const offset of replica.journalOffsets) spoil(offset, journalBlocks);
    await rig.write(1008, 40);
    await rig.flush();
    assert.ok(rig.spare.faults.counts.badSectorWrites > 0, 'the replica was written to');
    assert.equal(rig.device.status().metadata.replicasInSync, replicas.length - 1);
    await rig.cutAndReopen();
    await rig.check();
    // The sectors come back: the replica is written anew and counts again.
    rig.spare.faults.removeBadSectors(0, defaultSpareBytes / 512);
    await rig.cutAndReopen();
    assert.equal(rig.device.status().metadata.replicasInSync, replicas.length);
    await rig.check();
    await rig.close();
  }
}

async function spareBad(): Promise<void> {
  const mapOf = async (spoiled: number | undefined): Promise<{ rig: FaultMapRig; slotSector: number }> => {
    const rig = await FaultMapRig.create('spare-bad', { mainBytes });
    await rig.open();
    rig.main.faults.addBadSectors(1000, 8, { on: 'both' });
    if (spoiled !== undefined) rig.spare.faults.addBadSectors(spoiled, 8, { on: 'write' });
    await rig.write(1000, 8);
    const [, , slot] = (await rig.device.message(['list', 'blocks'])).split(' ');
    return { rig, slotSector: Number(slot) };
  };
  const first = await mapOf(undefined);
  await first.rig.close();
  const { rig, slotSector } = await mapOf(first.slotSector);
  assert.ok(rig.spare.faults.counts.badSectorWrites > 0, 'the slot that is chosen first fails');
  assert.notEqual(slotSector, first.slotSector);
  assert.equal(rig.device.status().slotsRetired, 1);
  await rig.check();
  await rig.cutAndReopen();
  await rig.check();
  await rig.close();
}

/** Minutes of it, in virtual time: every request is answered, and none of it costs a slot. */
async function flaky({ upSeconds, downSeconds }: FaultFixture): Promise<void> {
  const table = `0 ${mainBytes / 512} flakey disk 0 ${upSeconds} ${downSeconds}`;
  const rig = await FaultMapRig.create('flaky', { mainBytes, table });
  await rig.open();
  const endMs = rig.clock.nowMs() + 180_000;
  let longestMs = 0;
  while (rig.clock.nowMs() < endMs) {
    const startMs = rig.clock.nowMs();
    await rig.write(rig.random.below(20_000) * 8, 8);
    longestMs = Math.max(longestMs, rig.clock.nowMs() - startMs);
    await rig.sleep(50 + rig.random.below(200));
  }
  assert.ok(longestMs > 100, 'some of it came while the disk was away');
  assert.ok(longestMs < downSeconds! * 1000 + 4000, `a write took ${longestMs} ms`);
  const { remappedGranules, slotsRetired } = rig.device.status();
  assert.deepEqual([remappedGranules, slotsRetired], [0, 0]);
  await rig.check();
  await rig.sleep(10);
  await rig.close();
}

/** A region that takes 100 ms, one that takes 10 s: each answers right, and the others as if there were none. */
async function slow({ delayMs }: FaultFixture): Promise<void> {
  const [little, long] = delayMs!;
  const table = [
    '0 80000 linear disk 0',
    `80000 8000 delay disk 80000 ${little}`,
    `88000 8000 delay disk 88000 ${long}`,
    `96000 ${mainBytes / 512 - 96_000} linear disk 96000`,
  ].join('\n');
  const rig = await FaultMapRig.create('slow', { mainBytes, table });
  await rig.open();
  const startMs = rig.clock.nowMs();
  let [littleMs, longMs] = [0, 0];
  const slowWrites = Promise.all([
    rig.startWrite(80_008, 8).then(() => {
      littleMs = rig.clock.nowMs() - startMs;
    }),
    rig.startWrite(88_008, 8).then(() => {
      longMs = rig.clock.nowMs() - startMs;
    }),
  ]);
  for (let at = 0; at < 50; at += 1) await rig.write(at * 8, 8);
  assert.ok(rig.clock.nowMs() - startMs < little!, 'healthy sectors wait for nobody');
  await rig.clock.run(slowWrites);
  assert.ok(littleMs >= little! && littleMs < 2 * little!, `${littleMs} ms`);
  assert.ok(longMs >= long! && longMs < 2 * long!, `R3: the write is waited for, ${longMs} ms`);
  assert.equal(rig.device.status().remappedGranules, 0, 'R14: slow is not bad');
  await rig.check();
  await rig.close();
}

/** The power goes at each operation of the spare in turn, while one block moves: old or new, and the others whole. */
async function torn(): Promise<void> {
  let finished = false;
  for (let cutAt = 1; !finished; cutAt += 1) {
    assert.ok(cutAt < 200, 'a move ends');
    const rig = await FaultMapRig.create(`torn ${cutAt}`, { mainBytes });
    await rig.open();
    rig.main.faults.addBadSectors(1000, 24, { on: 'write' });
    await rig.write(1000, 8);
    await rig.write(1008, 8);
    await rig.flush();
    const old = new Uint8Array(8 * 512);
    const [kept, newBytes] = [new Map(rig.model), await rig.writeCutAt(1016, 8, cutAt)];
    finished = newBytes.acknowledged;
    await rig.open();
    const found = await rig.read(1016, 8);
    if (finished) assert.deepEqual(found, newBytes.bytes, 'acknowledged with FUA');
    for (let at = 0; at < found.length; at += 512) {
      const sector = Buffer.from(found.subarray(at, at + 512));
      const allowed = [old, newBytes.bytes].map((bytes) => bytes.subarray(at, at + 512));
      assert.ok(
        allowed.some((bytes) => sector.equals(bytes)),
        `cut ${cutAt}: a sector of neither`,
      );
    }
    for (const [sector, bytes] of kept) assert.deepEqual(await rig.read(sector, 1), bytes, `cut ${cutAt}`);
    assert.deepEqual(
      rig.device.status().metadata.replicasInSync,
      rig.device.status().metadata.replicasTotal,
      'the others are repaired (M5)',
    );
    await rig.close();
  }
}

/** A spare that gives other bytes than it was given is found out while the bytes can still go elsewhere. */
async function silent(): Promise<void> {
  const rig = await FaultMapRig.create('silent', { mainBytes });
  let liar: LyingDevice | undefined;
  await rig.open((spare: BlockDevice) => {
    liar = new LyingDevice(spare, 0);
    return liar;
  });
  rig.main.faults.addBadSectors(1000, 16, { on: 'both' });
  liar!.liesLeft = 1;
  await rig.write(1000, 16);
  assert.equal(liar!.lies, 1);
  assert.equal(rig.device.status().counters.verifyMismatches, 1);
  assert.equal(rig.device.status().slotsRetired, 1, 'R24');
  await rig.check();
  await rig.cutAndReopen();
  await rig.check();
  await rig.close();
}

function chanceSectors(random: SeededRandom, count: number, end: number): number[] {
  const sectors = new Set<number>();
  while (sectors.size < count) sectors.add(16 + random.below(end - 16));
  return [...sectors];
}

async function listedLost(rig: FaultMapRig): Promise<number> {
  const lines = (await rig.device.message(['lost'])).split('\n').filter((line) => line !== '');
  return lines.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
}
