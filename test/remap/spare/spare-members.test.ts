import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeviceError } from '../../../src/block/device-error.ts';
import { Errno } from '../../../src/block/errno.ts';
import { MetadataError, MetadataStore } from '../../../src/metadata/metadata-store.ts';
import {
  badGranules,
  besideClients,
  type DiskName,
  entryOf,
  MembersWorld,
  type OpenedWorld,
} from './members-world.ts';

/** A home whose slots are used up but for a few, so that blocks lie on all spares. */
async function spread(
  seed: string,
  names: readonly DiskName[] = ['a'],
): Promise<{ world: MembersWorld; opened: OpenedWorld }> {
  const world = new MembersWorld(seed);
  await world.create();
  const opened = await world.open();
  for (const name of names) await world.clock.run(world.add(opened, name));
  const { home } = homeAndMembers(opened);
  home.leaving = true;
  const half = badGranules.length / 2;
  for (const granule of badGranules.slice(0, half))
    await world.clock.run(world.writeGranule(opened.device, granule));
  home.leaving = false;
  await world.clock.run(world.fill(opened.device));
  return { world, opened };
}

function homeAndMembers({ device }: OpenedWorld): { home: { leaving: boolean } } {
  // Only to have blocks of both: the rig asks for the units through the members.
  const members = device.members!;
  return { home: members.home };
}

function slotsUsed(opened: OpenedWorld): number[] {
  return opened.device.spareUses().map(({ slotsUsed: used }) => used);
}

describe('a spare that is added', () => {
  it('takes blocks, and is there again when the device is opened', async () => {
    const { world, opened } = await spread('added');
    const [home, member] = slotsUsed(opened);
    assert.ok(home! > 0 && member! > 0, `${home} and ${member}`);
    assert.deepEqual(await world.clock.run(world.judge(opened.device, 'acknowledged')), []);
    await world.clock.run(opened.device.close());
    world.cut();
    const again = await world.open();
    assert.deepEqual(again.refused, [undefined]);
    assert.deepEqual(slotsUsed(again), [home, member]);
    assert.deepEqual(await world.clock.run(world.judge(again.device, 'acknowledged')), []);
    await world.clock.run(again.device.close());
  });

  it('is one of the device or is not, whenever the power goes, and no flushed write is lost', async () => {
    const whole = await added('cut add', Number.POSITIVE_INFINITY);
    const cuts = whole.world.operations;
    const seen = { there: 0, not: 0 };
    // The home is told at the end.
    const moments = Array.from({ length: 12 }, (_, index) => Math.ceil((index * cuts) / 12) + 1);
    for (let cutAt = cuts - 12; cutAt <= cuts; cutAt += 1) moments.push(cutAt);
    for (const cutAt of moments) {
      const { world } = await added('cut add', cutAt);
      if (!world.isCut) world.cut();
      const again = await world.open();
      assert.deepEqual(
        again.refused.filter((why) => why !== undefined),
        [],
        `refused at ${cutAt}`,
      );
      seen[again.metadata.facts.members.length === 1 ? 'there' : 'not'] += 1;
      assert.deepEqual(await world.clock.run(world.judge(again.device, 'floor')), []);
      await world.clock.run(again.device.close());
    }
    assert.ok(seen.there > 3 && seen.not > 3, JSON.stringify(seen));
  });

  it('a device with one spare says nothing of others, and says so again when the others have left', async () => {
    const world = new MembersWorld('bits');
    await world.create();
    assert.equal(await featuresOf(world), 0);
    const opened = await world.open();
    await world.clock.run(world.add(opened, 'a'));
    assert.equal(await featuresOf(world), 2);
    // A slot of it that proved bad is in the journal; whoever settles without opening the device keeps it readable.
    const { unit } = world.memberOf(opened, 'a');
    unit.allocator.claim(100, 1);
    opened.device.members!.retireSlot(unit.firstSlot + 100);
    await world.clock.run(world.writeGranule(opened.device, badGranules[0]!));
    await world.clock.run(world.remove(opened, 'a'));
    await world.clock.run(opened.device.close());
    await world.settleAsTool();
    assert.equal(await featuresOf(world), 2);
    const again = await world.open();
    await world.clock.run(again.device.close());
    assert.equal(await featuresOf(world), 0);
    const last = await world.open();
    assert.equal(last.device.status().slotsRetired, 0);
    await world.clock.run(last.device.close());
  });

  it('M12 from another time than its home is refused, and its blocks are errors until the right one is there', async () => {
    const { world, opened } = await spread('older');
    await world.clock.run(opened.device.close());
    const older = await world.imageOf('a');
    const second = await world.open();
    assert.deepEqual(second.refused, [undefined]);
    const onMember = badGranules.slice(0, badGranules.length / 2);
    for (const granule of onMember) await world.clock.run(world.writeGranule(second.device, granule));
    await world.clock.run(second.device.close());
    const newest = await world.imageOf('a');
    await world.putBack('a', older);
    const third = await world.open();
    assert.match(third.refused[0] ?? '', /another time/);
    const failed = await world.clock.run(world.judge(third.device, 'acknowledged'));
    assert.deepEqual(failed, onMember);
    await world.clock.run(third.device.close());
    await world.putBack('a', newest);
    const fourth = await world.open();
    assert.deepEqual(
      fourth.refused,
      [undefined],
      'it is taken back: nothing happened to its blocks meanwhile',
    );
    assert.deepEqual(await world.clock.run(world.judge(fourth.device, 'acknowledged')), []);
    await world.clock.run(fourth.device.close());
  });

  it('M12 a copy from the middle of a session that was closed since is refused', async () => {
    const { world, opened } = await spread('middle');
    const copy = await world.imageOf('a');
    for (const granule of badGranules) await world.clock.run(world.writeGranule(opened.device, granule));
    await world.clock.run(opened.device.close());
    await world.putBack('a', copy);
    const again = await world.open();
    assert.match(again.refused[0] ?? '', /earlier copy/);
    await world.clock.run(again.device.close());
  });

  it('M11 takes no part in a session when another one has claimed it since, and is not written to', async () => {
    const { world, opened } = await spread('claimed twice');
    await world.clock.run(opened.device.close());
    const { writes } = world.disk('a').counts;
    let claims = 0;
    const again = await world.open(['a'], 'home', (disk) => {
      const claim = disk.claim.bind(disk);
      disk.claim = async (entry) => {
        const epoch = await claim(entry);
        const other = world.memberDisk(opened.metadata, 'a');
        await other.troubleAs({ ...entry, epoch, closed: false });
        await other.claim(entry);
        claims = world.disk('a').counts.writes;
        return epoch;
      };
      return disk;
    });
    assert.ok(claims > writes);
    for (const granule of badGranules)
      await world.clock.run(world.writeGranule(again.device, granule)).catch(() => undefined);
    await world.clock.runFor(60_000);
    for (const granule of badGranules)
      await world.clock.run(world.writeGranule(again.device, granule)).catch(() => undefined);
    await world.clock.run(again.device.close());
    assert.equal(world.disk('a').counts.writes, claims);
  });

  it('a spare beside the home is not opened as a home, and tells whose it is', async () => {
    const { world, opened } = await spread('not a home');
    await world.clock.run(opened.device.close());
    await assert.rejects(
      world.clock.run(MetadataStore.open({ ...world.surroundings(), spare: world.disk('a').open() })),
      (error: unknown) => error instanceof MetadataError && error.code === 'METADATA_MEMBER',
    );
  });
});

describe('a home that is replaced beside other spares', () => {
  it('R7 a flush of another spare that fails while it gets its new epoch is told to clients', async () => {
    const { world, opened } = await spread('epoch and flush');
    await world.clock.run(world.writeGranule(opened.device, badGranules[0]!));
    const failed = world.disk('a').faults.counts.flush;
    world.disk('a').faults.failFlush('once');
    await world.clock.run(opened.device.members!.renew());
    assert.equal(world.disk('a').faults.counts.flush, failed + 1);
    await assert.rejects(world.clock.run(opened.device.flush()), DeviceError);
    await world.clock.run(opened.device.flush());
    await world.clock.run(opened.device.close());
  });

  for (const giveUp of [false, true]) {
    it(
      giveUp ? 'R4 given up, loses its own blocks alone' : 'takes its own blocks along, and no others',
      async () => {
        const { world, opened } = await spread(`replaced ${giveUp}`);
        const before = slotsUsed(opened);
        const writes = world.disk('a').counts.writes;
        if (giveUp) {
          world.disk('home').faults.setPathError(Errno.ENODEV);
          await world.clock.run(opened.device.openAnew('spare'));
        }
        const outcome = await world.clock.run(world.replaceHome(opened, giveUp));
        assert.equal(outcome.failure, undefined);
        assert.equal(outcome.goneSectors, giveUp ? 8 * before[0]! : 0);
        const failed = await world.clock.run(world.judge(opened.device, 'acknowledged'));
        assert.equal(failed.length, giveUp ? before[0] : 0);
        assert.equal(world.disk('a').counts.writes, writes, 'the other spare is left alone');
        await world.clock.run(opened.device.members!.renew());
        for (const granule of badGranules) await world.clock.run(world.writeGranule(opened.device, granule));
        await world.clock.run(opened.device.close());
        const again = await world.open(['a', 'b'], 'next');
        assert.deepEqual(again.refused, [undefined]);
        assert.deepEqual(await world.clock.run(world.judge(again.device, 'acknowledged')), []);
        await world.clock.run(again.device.close());
        if (!giveUp) return;
        world.disk('home').faults.setPathError(undefined);
        const old = await world.open(['a', 'b'], 'home');
        assert.match(
          old.refused[0] ?? '',
          /another time/,
          'M12 the old home does not get at the newer blocks',
        );
      },
    );
  }
});

describe('a spare that is removed', () => {
  it('gives every block to the others while clients write, and is an ordinary disk then', async () => {
    const { world, opened } = await spread('removed');
    const done = await besideClients(world, opened, Number.POSITIVE_INFINITY, () =>
      world.remove(opened, 'a'),
    );
    assert.ok(done);
    world.ended = true;
    await world.clock.runFor(200);
    assert.deepEqual(await world.clock.run(world.judge(opened.device, 'acknowledged')), []);
    assert.deepEqual(
      opened.device.spareUses().map(({ place }) => place),
      ['spare'],
    );
    const { writes } = world.disk('a').counts;
    for (const granule of badGranules) await world.clock.run(world.writeGranule(opened.device, granule));
    assert.equal(world.disk('a').counts.writes, writes, 'nothing is written to it any more');
    await assert.rejects(
      world.clock.run(MetadataStore.open({ ...world.surroundings(), spare: world.disk('a').open() })),
      (error: unknown) => error instanceof MetadataError && error.code === 'METADATA_NOT_A_SPARE',
    );
    await world.clock.run(opened.device.close());
    const again = await world.open();
    assert.deepEqual(await world.clock.run(world.judge(again.device, 'acknowledged')), []);
    await world.clock.run(again.device.close());
  });

  it('loses no flushed write whenever the power goes, and goes on where it was', async () => {
    const whole = await removed('cut remove', Number.POSITIVE_INFINITY);
    const cuts = whole.world.operations;
    const seen = { there: 0, leaving: 0, gone: 0 };
    for (let cutAt = 1; cutAt <= cuts; cutAt += Math.ceil(cuts / 16)) await judgeCut(cutAt, seen);
    for (let cutAt = cuts - 10; cutAt <= cuts; cutAt += 2) await judgeCut(cutAt, seen);
    assert.ok(seen.there > 0 && seen.leaving > 5 && seen.gone > 0, JSON.stringify(seen));
  });

  it('R4 what it cannot read is gone, exactly that, and only when it is given up', async () => {
    const { world, opened } = await spread('unreadable');
    const [granule] = badGranules;
    const member = world.memberOf(opened, 'a');
    const slot = slotOf(opened, granule!) - member.unit.firstSlot;
    world.disk('a').faults.addBadSectors(slot * 8, 2, { on: 'both', readErrno: Errno.ENODATA });
    const refused = await world.clock.run(world.remove(opened, 'a'));
    assert.match(refused.failure ?? '', /give up what it cannot read/);
    assert.equal(opened.device.status().goneSectors, 0);
    const outcome = await world.clock.run(world.remove(opened, 'a', { giveUp: true, isDead: false }));
    assert.deepEqual(outcome, { failure: undefined, goneSectors: 2 });
    assert.equal(opened.device.status().goneSectors, 2);
    assert.deepEqual(await world.clock.run(world.judge(opened.device, 'acknowledged')), [granule]);
    await world.clock.run(opened.device.close());
  });

  it('R4 one that is dead is given up: what only it held is gone, and listed', async () => {
    const { world, opened } = await spread('dead');
    world.disk('a').faults.setPathError(Errno.ENODEV);
    const failed = await world.clock.run(world.remove(opened, 'a'));
    assert.match(failed.failure ?? '', /does not answer/);
    const onMember = badGranules.slice(0, badGranules.length / 2);
    const outcome = await world.clock.run(world.remove(opened, 'a', { giveUp: true, isDead: true }));
    assert.deepEqual(outcome, { failure: undefined, goneSectors: 8 * onMember.length });
    assert.deepEqual(await world.clock.run(world.judge(opened.device, 'acknowledged')), onMember);
    assert.equal(opened.device.status().state, 'ok');
    for (const granule of onMember) await world.clock.run(world.writeGranule(opened.device, granule));
    assert.deepEqual(await world.clock.run(world.judge(opened.device, 'acknowledged')), []);
    await world.clock.run(opened.device.close());
    const again = await world.open([]);
    assert.deepEqual(await world.clock.run(world.judge(again.device, 'acknowledged')), []);
    await world.clock.run(again.device.close());
  });

  it('waits while the device is suspended, and ends when it is closed', async () => {
    const { world, opened } = await spread('suspended');
    await world.clock.run(opened.device.suspend({ flush: true }));
    const member = world.memberOf(opened, 'a');
    const migration = opened.device.spareMigration(member, { giveUp: false, isDead: false })!;
    const running = migration.run();
    await world.clock.runFor(1000);
    assert.equal(migration.movedSlots, 0);
    migration.stop();
    const { failure } = await world.clock.run(running);
    assert.match(failure ?? '', /closed meanwhile/);
    await world.clock.run(opened.device.resume());
    await world.clock.run(opened.device.close());
  });

  it('R7 what was acknowledged and not flushed on a dead one fails the next flush, once, when it has been given up', async () => {
    const { world, opened } = await spread('dead unflushed');
    const [granule] = badGranules;
    await world.clock.run(world.writeGranule(opened.device, granule!));
    world.disk('a').faults.setPathError(Errno.ENODEV);
    const outcome = await world.clock.run(world.remove(opened, 'a', { giveUp: true, isDead: true }));
    assert.equal(outcome.failure, undefined);
    await assert.rejects(world.clock.run(opened.device.flush()), DeviceError);
    await world.clock.run(opened.device.flush());
    await world.clock.run(opened.device.close());
  });

  it('a third one takes the blocks when the home is full', async () => {
    const { world, opened } = await spread('third', ['a', 'b']);
    homeAndMembers(opened).home.leaving = true;
    const outcome = await world.clock.run(world.remove(opened, 'a'));
    homeAndMembers(opened).home.leaving = false;
    assert.equal(outcome.failure, undefined);
    assert.ok(world.memberOf(opened, 'b').unit.allocator.usedSlots >= badGranules.length / 2);
    assert.deepEqual(await world.clock.run(world.judge(opened.device, 'acknowledged')), []);
    await world.clock.run(opened.device.close());
    const again = await world.open();
    assert.equal(again.metadata.facts.members.length, 1);
    assert.deepEqual(await world.clock.run(world.judge(again.device, 'acknowledged')), []);
    await world.clock.run(again.device.close());
  });
});

function slotOf({ device }: OpenedWorld, granule: number): number {
  const { records } = device.mappingState.recordsAfter({ section: 'granules', next: granule }, 1);
  const [record] = records;
  assert.ok(record?.type === 'granules' && record.granule === granule);
  return record.slot;
}

async function featuresOf(world: MembersWorld): Promise<number> {
  const bytes = new Uint8Array(4096);
  let newest = { revision: -1n, features: 0 };
  for (const offset of [64 * 1024, 68 * 1024]) {
    await world.clock.run(world.disk('home').open().read(bytes, offset));
    const view = new DataView(bytes.buffer);
    const revision = view.getBigUint64(48, true);
    if (revision > newest.revision) newest = { revision, features: view.getUint32(40, true) };
  }
  return newest.features;
}

async function added(seed: string, cutAt: number): Promise<{ world: MembersWorld; opened: OpenedWorld }> {
  const world = new MembersWorld(seed);
  await world.create();
  const opened = await world.open();
  await world.clock.run(world.fill(opened.device));
  await besideClients(world, opened, cutAt, () => world.add(opened, 'a'));
  return { world, opened };
}

async function removed(seed: string, cutAt: number): Promise<{ world: MembersWorld; opened: OpenedWorld }> {
  const { world, opened } = await spread(seed);
  await besideClients(world, opened, cutAt, () => world.remove(opened, 'a'));
  return { world, opened };
}

async function judgeCut(
  cutAt: number,
  seen: { there: number; leaving: number; gone: number },
): Promise<void> {
  const { world } = await removed('cut remove', cutAt);
  if (!world.isCut) world.cut();
  const again = await world.open();
  assert.deepEqual(
    again.refused.filter((why) => why !== undefined),
    [],
    `refused at ${cutAt}`,
  );
  const entry = entryOf(again, 'a');
  seen[entry === undefined ? 'gone' : entry.leaving ? 'leaving' : 'there'] += 1;
  assert.deepEqual(await world.clock.run(world.judge(again.device, 'floor')), [], `at ${cutAt}`);
  if (entry !== undefined) {
    const outcome = await world.clock.run(world.remove(again, 'a'));
    assert.equal(outcome.failure, undefined);
    assert.deepEqual(await world.clock.run(world.judge(again.device, 'floor')), [], `behind ${cutAt}`);
  }
  await world.clock.run(again.device.close());
}
