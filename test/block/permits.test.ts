import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Permits } from '../../src/block/permits.ts';

test('permits let in no more than their number at once, everybody once, in the order of coming', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.boolean()), { maxLength: 30 }),
      async (atOnceMax, works) => {
        const permits = new Permits(atOnceMax);
        const begun: number[] = [];
        let running = 0;
        const results = await Promise.allSettled(
          works.map(([turns, fails], index) =>
            permits.run(async () => {
              begun.push(index);
              running += 1;
              assert.ok(running <= atOnceMax, `${running}`);
              for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
              running -= 1;
              if (fails) throw new Error('failed');
              return index;
            }),
          ),
        );
        assert.deepEqual(
          begun,
          works.map((_, index) => index),
        );
        assert.deepEqual(
          results.map(({ status }) => status === 'rejected'),
          works.map(([, fails]) => fails),
        );
      },
    ),
  );
});
