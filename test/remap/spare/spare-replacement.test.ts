import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { delay } from '../../../src/block/clock.ts';
import { DeviceError } from '../../../src/block/device-error.ts';
import { noSlot } from '../../../src/metadata/mapping-state.ts';
import { MetadataError } from '../../../src/metadata/metadata-store.ts';
import { wipe } from '../../metadata/spare-surgery.ts';
import { badGranules, type Opened, ReplacementWorld, spareBytes, usedGranules } from './replacement-world.ts';

const granuleSectors = 8;

async function filled(
  seed: string,
  nextBytes?: number,
): Promise<{ world: ReplacementWorld; opened: Opened }> {
  const world = new ReplacementWorld(seed, nextBytes);
  await world.create();
  const opened = await world.open(world.old);
  await world.clock.run(world.fill(opened.device));
  return { world, opened };
}

/** The slots of granules on the spare, as the table has them. */
function slotsOf({ metadata, device }: Opened): Map<number, number> {
  const slots = new Map<number, number>();
  const { records } = device.mappingState.recordsAfter({ section: 'granules', next: 0 }, 1000);
  for (const record of records) {
    if (record.type === 'granules' && record.slot !== noSlot) slots.set(record.granule, record.slot);
  }
  assert.ok(slots.size > 0 && metadata.layout.granuleBytes === 4096);
  return slots;
}

async function assertServed(world: ReplacementWorld, opened: Opened): Promise<void> {
  await world.clock.run(world.judgeAll(opened.device, 'acknowledged'));
}

async function failsToRead({ device }: Opened, world: ReplacementWorld, granule: number): Promise<boolean> {
  try {
    await world.clock.run(device.read(new Uint8Array(4096), granule * 4096));
    return false;
  } catch (error) {
    assert.ok(error instanceof DeviceError, String(error));
    return true;
  }
}

describe('replacing a spare that is not well', () => {
  it('R4 R5 what the old spare cannot read is gone, exactly that, and the rest moves', async () => {
    const { world, opened } = await filled('worn');
    const [lost] = badGranules;
    const slot = slotsOf(opened).get(lost!)!;
    world.old.faults.addBadSectors(slot * granuleSectors, granuleSectors, { on: 'read' });
    const outcome = await world.clock.run(world.replacement(opened).run());
    assert.deepEqual(outcome, {
      replaced: true,
      failure: undefined,
      goneSectors: granuleSectors,
      oldDisowned: true,
    });
    assert.equal(opened.device.status().goneSectors, granuleSectors);
    assert.ok(await failsToRead(opened, world, lost!));
    world.granules.delete(lost!);
    await assertServed(world, opened);
    await world.clock.run(opened.device.close());
    const again = await world.open(world.next);
    assert.equal(again.device.status().goneSectors, granuleSectors);
    await world.clock.run(world.judgeAll(again.device, 'acknowledged'));
  });

  it('slots that were bad on the old disk are good on the new one', async () => {
    const { world, opened } = await filled('retired');
    const [granule] = badGranules;
    world.old.faults.addBadSectors(slotsOf(opened).get(granule!)! * granuleSectors, 1, { on: 'write' });
    await world.clock.run(opened.device.write(new Uint8Array(4096).fill(1), granule! * 4096));
    assert.equal(opened.device.status().slotsRetired, 1);
    const { slotsTotal, slotsFree } = opened.device.status();
    const outcome = await world.clock.run(world.replacement(opened).run());
    assert.equal(outcome.replaced, true);
    assert.equal(opened.device.status().slotsRetired, 0);
    assert.equal(opened.device.status().slotsFree, slotsFree + 1);
    assert.equal(opened.device.status().slotsTotal, slotsTotal);
  });

  it('a new disk that fails while it is copied to changes nothing', async () => {
    const { world, opened } = await filled('bad target');
    const slot = slotsOf(opened).get(badGranules[3]!)!;
    world.next.faults.addBadSectors(slot * granuleSectors, 1, { on: 'both' });
    const outcome = await world.clock.run(world.replacement(opened).run());
    assert.equal(outcome.replaced, false);
    assert.match(outcome.failure ?? '', /next/);
    assert.equal(opened.spare.disk.name, 'old');
    await assertServed(world, opened);
    world.cut();
    assert.equal(await world.ownerOf(world.next), undefined);
    assert.equal(await world.ownerOf(world.old), 'old');
  });

  it('M12 a new disk that does not take the metadata is left empty, and the old spare is the spare again', async () => {
    const { world, opened } = await filled('no metadata');
    // Only what the exchange writes there: emptying writes the superblocks, not the checkpoint areas.
    for (const { areaOffsets } of opened.metadata.layout.replicas) {
      for (const offset of areaOffsets) world.next.faults.addBadSectors(offset / 512, 8, { on: 'both' });
    }
    const outcome = await world.clock.run(world.replacement(opened).run());
    assert.equal(outcome.replaced, false);
    assert.ok(outcome.failure !== undefined);
    assert.equal(opened.spare.disk.name, 'old');
    await world.clock.run(opened.device.write(new Uint8Array(4096).fill(0), usedGranules[0]! * 4096));
    world.granules.delete(usedGranules[0]!);
    await world.clock.run(opened.device.flush());
    await assertServed(world, opened);
    world.cut();
    assert.equal(await world.ownerOf(world.next), undefined);
    assert.equal(await world.ownerOf(world.old), 'old');
    const again = await world.open(world.old);
    await world.clock.run(world.judgeAll(again.device, 'floor'));
  });

  it('M12 nobody writes to the new spare before the host knows that the one given up is the older', async () => {
    const { world, opened } = await filled('lost');
    world.old.unplug();
    const before = opened.metadata.store.status().sessionNonce;
    const seen: string[] = [];
    const noteSession = async () => {
      assert.notEqual(opened.metadata.store.status().sessionNonce, before);
      await delay(world.clock, 100);
      seen.push('noted');
    };
    const run = world.replacement(opened, true, noteSession).run();
    while (!opened.device.suspended) await world.clock.runFor(1);
    const bytes = new Uint8Array(4096);
    const offset = badGranules[0]! * bytes.length;
    const write = opened.device.write(bytes, offset).then(() => seen.push('written'));
    const outcome = await world.clock.run(run);
    await world.clock.run(write);
    assert.equal(outcome.replaced, true);
    assert.deepEqual(seen, ['noted', 'written']);
    await world.clock.run(opened.device.close());
  });

  it('M12 a host whose files hang holds up requests for a bounded time only', async () => {
    const { world, opened } = await filled('lost');
    world.old.unplug();
    const outcome = await world.clock.run(
      world.replacement(opened, true, () => new Promise(() => undefined)).run(),
    );
    assert.equal(outcome.replaced, true);
    assert.equal(outcome.failure, undefined);
    await world.clock.run(opened.device.close());
  });

  it('R4 a spare that is given up costs what only it held, and nothing else', async () => {
    const { world, opened } = await filled('lost');
    const held = slotsOf(opened).size;
    world.old.unplug();
    assert.ok(await failsToRead(opened, world, badGranules[0]!));
    const before = opened.metadata.store.status().sessionNonce;
    const outcome = await world.clock.run(world.replacement(opened, true).run());
    assert.deepEqual(outcome, {
      replaced: true,
      failure: undefined,
      goneSectors: held * granuleSectors,
      oldDisowned: false,
    });
    const { goneSectors, remappedGranules, state } = opened.device.status();
    assert.deepEqual(
      { goneSectors, remappedGranules, state },
      {
        goneSectors: held * granuleSectors,
        remappedGranules: 0,
        state: 'ok',
      },
    );
    // By it this host refuses the old one, should it come back (M12).
    assert.notEqual(opened.metadata.store.status().sessionNonce, before);
    for (const granule of badGranules) {
      if (world.granules.get(granule)!.acknowledged === 0) continue;
      assert.ok(await failsToRead(opened, world, granule), `granule ${granule}`);
      world.granules.delete(granule);
    }
    await assertServed(world, opened);
    await world.clock.run(opened.device.write(new Uint8Array(4096).fill(7), badGranules[0]! * 4096));
    await world.clock.run(opened.device.close());
    world.cut();
    const again = await world.open(world.next);
    const bytes = new Uint8Array(4096);
    await world.clock.run(again.device.read(bytes, badGranules[0]! * 4096));
    assert.ok(bytes.every((byte) => byte === 7));
    assert.ok(await failsToRead(again, world, badGranules[1]!));
  });

  it('M2 a replica that was fenced on the old disk is none on the new one, and is fenced there when it must be', async () => {
    const { world, opened } = await filled('fenced', spareBytes);
    const { store, layout } = opened.metadata;
    const place = layout.replicas[1]!.superblockOffset;
    world.old.faults.addBadSectors(place / 512, 16, { on: 'write' });
    await world.clock.run(store.updateProperties({ policies: {} }));
    assert.equal(store.status().replicasInSync, 1);
    assert.equal((await world.clock.run(world.replacement(opened).run())).replaced, true);
    assert.equal(store.status().replicasInSync, 2);
    world.next.faults.addBadSectors(place / 512, 16, { on: 'write' });
    await world.clock.run(store.updateProperties({ policies: {} }));
    assert.equal(store.status().replicasInSync, 1);
    world.cut();
    wipe(world.next, layout.replicas[0]!.superblockOffset, 8192);
    await assert.rejects(
      world.open(world.next),
      (error) => error instanceof MetadataError && error.code === 'METADATA_GAP',
    );
  });

  for (const kept of [0, 1] as const) {
    it(`M2 the metadata is whole although replicas are looked after meanwhile, by replica ${kept} alone`, async () => {
      const { world, opened } = await filled('looked after', spareBytes);
      const { store, layout } = opened.metadata;
      let hasEnded = false;
      let repairs = 0;
      const replacing = world
        .replacement(opened)
        .run()
        .finally(() => {
          hasEnded = true;
        });
      while (!hasEnded) {
        if (store.status().replicasInSync < layout.replicas.length) repairs += 1;
        void store.repairReplicas();
        await world.clock.runFor(0.2);
      }
      assert.equal((await replacing).replaced, true);
      assert.ok(repairs > 0, 'somebody looked while it was written');
      assert.equal(store.status().replicasInSync, layout.replicas.length);
      await world.clock.run(world.fill(opened.device));
      world.cut();
      wipe(world.next, layout.replicas[1 - kept]!.superblockOffset, 8192);
      const again = await world.open(world.next);
      await world.clock.run(world.judgeAll(again.device, 'floor'));
    });
  }
});
