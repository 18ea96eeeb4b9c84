import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeviceError } from '../../../src/block/device-error.ts';
import { MetadataError } from '../../../src/metadata/metadata-store.ts';
import { replaceHoldMsMax, takeOverMsMax } from '../../../src/remap/spare/spare-replacement.ts';
import type { FaultScope } from '../../../src/simulator/simulated-faults.ts';
import { patternOf } from '../remap-stack.ts';
import { badGranules, type Opened, ReplacementWorld } from './replacement-world.ts';

const everything = Number.MAX_SAFE_INTEGER;
const [badGranule] = badGranules;
/** Of main, and good: clients of it need no spare. */
const goodOffset = 300 * 4096;

async function filled(seed: string): Promise<{ world: ReplacementWorld; opened: Opened }> {
  const world = new ReplacementWorld(seed);
  await world.create();
  const opened = await world.open(world.old);
  await world.clock.run(world.fill(opened.device));
  return { world, opened };
}

/** Blocks of every replica: the checkpoints and journals that a session may need again. */
function stateOf({ old }: ReplacementWorld, { metadata }: Opened): Buffer {
  const { layout } = metadata;
  const parts = layout.replicas.flatMap(({ areaOffsets, journalOffsets }) => [
    ...areaOffsets.map((offset) => old.cachedImage(offset, layout.areaBlocks * 4096)),
    ...journalOffsets.map((offset) => old.cachedImage(offset, layout.journalBlocks * 4096)),
  ]);
  return Buffer.concat(parts);
}

/** A client's request that is held for the replacement, and how long. */
async function heldMs(world: ReplacementWorld, { device }: Opened): Promise<number> {
  while (!device.suspended) await world.clock.runFor(0.5);
  const from = world.clock.nowMs();
  await world.clock.run(device.read(new Uint8Array(4096), goodOffset));
  return world.clock.nowMs() - from;
}

function metadataWrites({ metadata }: Opened, place: 'areas' | 'superblocks'): FaultScope[] {
  const { layout } = metadata;
  return layout.replicas.flatMap(({ areaOffsets, superblockOffset }): FaultScope[] =>
    place === 'superblocks'
      ? [{ kinds: ['write'], sector: superblockOffset / 512, sectorCount: 16 }]
      : areaOffsets.map((offset) => ({
          kinds: ['write'],
          sector: offset / 512,
          sectorCount: layout.areaBlocks * 8,
        })),
  );
}

describe('disks that hang while a spare is replaced (R36)', () => {
  it('R36 a new disk that hangs before it has a superblock is left, and the old spare serves on untouched', async () => {
    const { world, opened } = await filled('hangs in the area');
    const before = stateOf(world, opened);
    const run = world
      .replacement(opened, false, undefined, () => {
        for (const scope of metadataWrites(opened, 'areas')) world.next.faults.stickNext(everything, scope);
      })
      .run();
    const held = await heldMs(world, opened);
    const outcome = await world.clock.run(run);
    assert.ok(world.next.faults.counts.stuck > 0, 'the new disk hung');
    assert.equal(outcome.replaced, false);
    assert.match(outcome.failure ?? '', /next.*does not answer/);
    assert.ok(held <= takeOverMsMax + 1000, `${held} ms`);
    assert.equal(opened.spare.disk.name, 'old');
    assert.deepEqual(stateOf(world, opened), before, 'M7 nothing but superblocks was written to it');
    await world.clock.run(opened.device.flush());
    await world.clock.run(world.judgeAll(opened.device, 'acknowledged'));
    await world.clock.run(world.fill(opened.device));
    world.next.releaseStuck();
    await world.clock.runFor(1000);
    await world.clock.run(world.judgeAll(opened.device, 'acknowledged'));
    world.cut();
    assert.equal(await world.ownerOf(world.next), undefined);
    assert.equal(await world.ownerOf(world.old), 'old');
    const again = await world.open(world.old);
    await world.clock.run(world.judgeAll(again.device, 'floor'));
  });

  it('M12 what others write into superblocks meanwhile goes to no disk that is left again', async () => {
    const { world, opened } = await filled('others write');
    const { store } = opened.metadata;
    for (const scope of metadataWrites(opened, 'areas')) world.next.faults.failNext(everything, scope);
    let ended = false;
    const run = world
      .replacement(opened)
      .run()
      .finally(() => {
        ended = true;
      });
    let changes = 0;
    while (!ended) {
      changes += 1;
      const change = { policies: { n: String(changes) } };
      store.updateProperties(change).catch((error: unknown) => assert.ok(error instanceof MetadataError));
      await world.clock.runFor(0.2);
    }
    const outcome = await run;
    assert.equal(outcome.replaced, false);
    await world.clock.run(store.updateProperties({ policies: { n: 'last' } }));
    world.cut();
    assert.equal(await world.ownerOf(world.next), undefined);
    assert.equal(await world.ownerOf(world.old), 'old');
    const again = await world.open(world.old);
    assert.equal(again.metadata.facts.properties.policies['n'], 'last');
    await world.clock.run(world.judgeAll(again.device, 'floor'));
  });

  it('M2 a new disk that takes one replica only is not fit, and keeps no superblock', async () => {
    for (const replica of [0, 1] as const) {
      const { world, opened } = await filled(`half fit ${replica}`);
      const { superblockOffset } = opened.metadata.layout.replicas[replica]!;
      const run = world
        .replacement(opened, false, undefined, () => {
          world.next.faults.addBadSectors(superblockOffset / 512, 16, { on: 'write' });
        })
        .run();
      const outcome = await world.clock.run(run);
      assert.ok(world.next.faults.counts.badSectorWrites > 0);
      assert.equal(outcome.replaced, false);
      assert.match(
        outcome.failure ?? '',
        /next: takes only 1 of 2 replicas of the metadata: use another disk/,
      );
      await world.clock.run(world.fill(opened.device));
      world.cut();
      assert.equal(await world.ownerOf(world.next), undefined);
      assert.equal(await world.ownerOf(world.old), 'old');
      const again = await world.open(world.old);
      await world.clock.run(world.judgeAll(again.device, 'floor'));
    }
  });

  it('R7 no client hears of a flush that only the new disk failed', async () => {
    const { world, opened } = await filled('flush of the new one');
    const run = world
      .replacement(opened, false, undefined, () => world.next.faults.failFlush('always'))
      .run();
    assert.equal((await world.clock.run(run)).replaced, false);
    assert.ok(world.next.faults.counts.flush > 0);
    await world.clock.run(opened.device.flush());
  });

  it('M12 a new disk that hangs over its superblock stays the spare, and no record is stored until somebody has looked', async () => {
    const { world, opened } = await filled('hangs in the superblock');
    const run = world
      .replacement(opened, false, undefined, () => {
        for (const scope of metadataWrites(opened, 'superblocks'))
          world.next.faults.stickNext(everything, scope);
      })
      .run();
    const held = await heldMs(world, opened);
    const outcome = await world.clock.run(run);
    assert.ok(world.next.faults.counts.stuck > 0, 'the new disk hung');
    assert.equal(outcome.replaced, true);
    assert.match(outcome.failure ?? '', /assemble it with next, or .*adopt old/);
    assert.ok(held <= takeOverMsMax + 1000, `${held} ms`);
    await world.clock.run(world.judgeAll(opened.device, 'acknowledged'));
    await assert.rejects(
      world.clock.run(opened.device.write(patternOf(0, 8, 9), goodOffset)),
      (error) => error instanceof DeviceError,
    );
    world.cut();
    assert.equal(await world.ownerOf(world.old), 'next', 'whoever opens it is told to adopt it');
    const again = await world.open(world.old);
    await world.clock.run(world.judgeAll(again.device, 'floor'));
  });

  it('R36 a new disk that hangs while it is copied to is given up, and nobody was held', async () => {
    const { world, opened } = await filled('hangs in a slot');
    const { layout } = opened.metadata;
    world.next.faults.stickNext(everything, {
      kinds: ['write'],
      sector: 0,
      sectorCount: layout.replicas[0]!.superblockOffset / 512,
    });
    for (const sector of [layout.replicas[0]!.areaOffsets[1] / 512 + layout.areaBlocks * 8]) {
      world.next.faults.stickNext(everything, { kinds: ['write'], sector, sectorCount: 4096 });
    }
    let ended = false;
    const run = world
      .replacement(opened)
      .run()
      .finally(() => {
        ended = true;
      });
    while (!ended) {
      assert.equal(opened.device.suspended, false);
      await world.clock.runFor(100);
    }
    assert.ok(world.next.faults.counts.stuck > 0, 'the new disk hung');
    const outcome = await run;
    assert.equal(outcome.replaced, false);
    assert.match(outcome.failure ?? '', /does not answer/);
    await world.clock.run(world.fill(opened.device));
    await world.clock.run(world.judgeAll(opened.device, 'acknowledged'));
  });

  it('R36 an old spare that hangs while it is copied from ends the replacement, and may then be given up', async () => {
    const { world, opened } = await filled('a write of a slot hangs');
    world.old.faults.stickNext(1, { kinds: ['write'] });
    const write = opened.device.write(patternOf(badGranule! * 8, 8, 99), badGranule! * 4096);
    write.catch((error: unknown) => assert.ok(error instanceof DeviceError));
    await world.clock.runFor(100);
    assert.equal(world.old.faults.counts.stuck, 1);
    const first = await world.clock.run(world.replacement(opened).run());
    assert.equal(first.replaced, false);
    assert.match(first.failure ?? '', /no slot could be copied for 60 s.*--give-up/);
    assert.equal(opened.device.suspended, false);
    world.old.faults.stickNext(everything);
    const second = await world.clock.run(world.replacement(opened, true).run());
    assert.equal(second.replaced, true);
    world.old.releaseStuck();
    await world.clock.runFor(5000);
    for (const granule of badGranules) world.granules.delete(granule);
    await world.clock.run(world.judgeAll(opened.device, 'acknowledged'));
  });

  it('R36 an old spare that hangs over its superblocks stays the spare, and is told so when it answers again', async () => {
    const { world, opened } = await filled('the old one hangs');
    const run = world.replacement(opened).run();
    while (!opened.device.suspended) await world.clock.runFor(0.5);
    for (const scope of metadataWrites(opened, 'superblocks')) world.old.faults.stickNext(everything, scope);
    const held = await heldMs(world, opened);
    const outcome = await world.clock.run(run);
    assert.ok(world.old.faults.counts.stuck > 0, 'the old disk hung');
    assert.equal(outcome.replaced, false);
    assert.ok(held <= replaceHoldMsMax + 1000, `${held} ms`);
    world.old.faults.calm();
    world.old.releaseStuck();
    await world.clock.runFor(60_000);
    world.cut();
    assert.equal(await world.ownerOf(world.old), 'old');
    assert.equal(await world.ownerOf(world.next), undefined);
  });

  it('R3 R36 an old spare that hangs with everything is given up in bounded time, and its late answers harm nobody', async () => {
    const { world, opened } = await filled('all of the old one hangs');
    world.old.faults.stickNext(everything);
    const seen: string[] = [];
    const hear = (what: string, request: Promise<void>): void => {
      request.then(
        () => seen.push(`${what} done`),
        (error: unknown) => seen.push(`${what} ${error instanceof DeviceError ? 'failed' : String(error)}`),
      );
    };
    hear('write', opened.device.write(patternOf(badGranule! * 8, 8, 99), badGranule! * 4096));
    hear('flush', opened.metadata.store.flushSpare());
    hear(
      'policy',
      opened.metadata.store.updateProperties({ policies: {} }).catch(() => undefined),
    );
    await world.clock.runFor(1000);
    assert.equal(seen.join(), '', 'nobody has an answer');
    assert.ok(world.old.faults.counts.stuck >= 2);
    const from = world.clock.nowMs();
    const outcome = await world.clock.run(world.replacement(opened, true).run());
    assert.equal(outcome.replaced, true);
    assert.equal(outcome.failure, undefined);
    assert.ok(world.clock.nowMs() - from <= replaceHoldMsMax + takeOverMsMax);
    assert.ok(seen.includes('write failed') && seen.includes('flush failed'), seen.join());
    for (const granule of badGranules) world.granules.delete(granule);
    await world.clock.run(world.judgeAll(opened.device, 'acknowledged'));
    await world.clock.run(opened.device.write(patternOf(badGranule! * 8, 8, 100), badGranule! * 4096));
    world.old.faults.calm();
    world.old.releaseStuck();
    await world.clock.runFor(5000);
    const bytes = new Uint8Array(4096);
    await world.clock.run(opened.device.read(bytes, badGranule! * 4096));
    assert.deepEqual(Buffer.from(bytes), Buffer.from(patternOf(badGranule! * 8, 8, 100)));
    await world.clock.run(opened.device.close());
    world.cut();
    const again = await world.open(world.next);
    await world.clock.run(again.device.read(bytes, badGranule! * 4096));
    assert.deepEqual(Buffer.from(bytes), Buffer.from(patternOf(badGranule! * 8, 8, 100)));
  });
});
