import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Placed, PlacedList } from '../../src/io/placed-list.ts';

test('a placed list holds what a set would hold, whatever comes and goes', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(9), { maxLength: 200 }), (toggles) => {
      const items: Placed[] = Array.from({ length: 10 }, () => ({ place: -1 }));
      const list = new PlacedList<Placed>();
      const model = new Set<Placed>();
      for (const at of toggles) {
        const item = items[at]!;
        if (model.delete(item)) list.remove(item);
        else {
          model.add(item);
          list.add(item);
          list.add(item);
        }
        assert.equal(list.length, model.size);
        assert.deepEqual(new Set(list), model);
        for (const one of items) assert.equal(one.place >= 0, model.has(one));
      }
    }),
  );
});

test('to remove what is not in the list is a bug', () => {
  const list = new PlacedList<Placed>();
  assert.throws(() => list.remove({ place: -1 }), /not in the list/);
});
