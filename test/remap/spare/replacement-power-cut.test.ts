import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { replaceOnce } from './replacement-world.ts';

describe('a spare that is replaced while its device serves', () => {
  it('is the new disk then, with every acknowledged byte, and the old one is nobody’s', async () => {
    const { world, opened, outcome } = await replaceOnce('replace', Number.POSITIVE_INFINITY);
    assert.deepEqual(outcome, { replaced: true, failure: undefined, goneSectors: 0, oldDisowned: true });
    const before = world.old.counts.writes;
    await world.clock.runFor(200);
    assert.equal(world.old.counts.writes, before, 'nothing is written to the old disk any more');
    world.cut();
    assert.equal(await world.ownerOf(world.old), undefined);
    assert.equal(await world.ownerOf(world.next), 'next');
    const again = await world.open(world.next);
    await world.clock.run(world.judgeAll(again.device, 'floor'));
    await world.clock.run(again.device.close());
    assert.equal(opened.spare.disk.name, 'next');
  });

  it('gives every acknowledged byte behind the exchange, whatever clients wrote meanwhile', async () => {
    for (let seed = 0; seed < 5; seed += 1) {
      const { world, opened, outcome } = await replaceOnce(`meanwhile ${seed}`, Number.POSITIVE_INFINITY);
      assert.equal(outcome?.replaced, true);
      world.ended = true;
      await world.clock.runFor(200);
      await world.clock.run(world.judgeAll(opened.device, 'acknowledged'));
      await world.clock.run(opened.device.close());
      world.cut();
      const again = await world.open(world.next);
      await world.clock.run(world.judgeAll(again.device, 'acknowledged'));
    }
  });

  it('M12 has one original whenever the power goes, and no flushed write is lost', async () => {
    const whole = await replaceOnce('cuts', Number.POSITIVE_INFINITY);
    const { exchangedAt, endedAt } = whole.world;
    const cuts = [1, 0.2, 0.4, 0.6, 0.8].map((share) => Math.ceil(share * exchangedAt));
    for (let cutAt = exchangedAt - 4; cutAt <= endedAt; cutAt += 4) cuts.push(cutAt);
    const seen = { old: 0, next: 0, none: 0 };
    for (const cutAt of cuts) {
      const { world } = await replaceOnce('cuts', cutAt);
      assert.ok(world.isCut, `no power cut at ${cutAt}`);
      const originals = await world.originals();
      assert.ok(originals.length <= 1, `two spares at ${cutAt}`);
      const [disk] = originals;
      if (disk === undefined) {
        // The moment in which the old one is a copy already: `adopt` brings it back.
        assert.equal(await world.ownerOf(world.old), 'next', `nothing can be opened at ${cutAt}`);
      }
      seen[disk === undefined ? 'none' : disk === world.old ? 'old' : 'next'] += 1;
      const again = await world.open(disk ?? world.old);
      await world.clock.run(world.judgeAll(again.device, 'floor'));
      await world.clock.run(again.device.close());
    }
    assert.ok(seen.old > 5 && seen.none > 0 && seen.next > 5, JSON.stringify(seen));
  });
});
