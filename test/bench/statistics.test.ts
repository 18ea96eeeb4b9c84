import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ratiosOfRounds, roundOrder, summarize } from '../../bench/statistics.ts';

test('the median of an odd number of values is the middle one, of an even number the mean of the two', () => {
  assert.deepEqual(summarize([3, 1, 2]), { median: 2, least: 1, most: 3 });
  assert.deepEqual(summarize([4, 1, 3, 2]), { median: 2.5, least: 1, most: 4 });
  assert.deepEqual(summarize([7]), { median: 7, least: 7, most: 7 });
});

test('values are ordered as numbers, not as text', () => {
  assert.equal(summarize([9, 10, 100]).median, 10);
});

test('half of the values are on either side of the median, whatever their order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { minLength: 1, maxLength: 30 }), (values) => {
      const { median, least, most } = summarize(values);
      const below = values.filter((value) => value < median).length;
      const above = values.filter((value) => value > median).length;
      assert.ok(below <= values.length / 2 && above <= values.length / 2);
      assert.equal(least, Math.min(...values));
      assert.equal(most, Math.max(...values));
    }),
  );
});

test('nothing, and what is no number, has no summary', () => {
  assert.throws(() => summarize([]), RangeError);
  assert.throws(() => summarize([1, Number.NaN]), RangeError);
});

test('every contestant has every place of a round equally often', () => {
  const contestants = ['a', 'b', 'c'];
  const rounds = [0, 1, 2, 3, 4, 5].map((round) => roundOrder(contestants, round));
  for (const place of [0, 1, 2]) {
    const atPlace = rounds.map((round) => String(round[place])).toSorted();
    assert.deepEqual(atPlace, ['a', 'a', 'b', 'b', 'c', 'c']);
  }
  assert.deepEqual(roundOrder([], 3), []);
});

test('ratios are taken round by round', () => {
  assert.deepEqual(ratiosOfRounds([4, 9], [2, 3]), [2, 3]);
  assert.throws(() => ratiosOfRounds([1], [1, 2]), RangeError);
});
