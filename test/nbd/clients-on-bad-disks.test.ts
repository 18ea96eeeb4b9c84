import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Met, runClientsOnBadDisk } from './clients-on-bad-disks.ts';

async function runSeeds(first: number, count: number, outages: boolean): Promise<Met> {
  const sums: Met = {
    requests: 0,
    cutConnections: 0,
    powerCuts: 0,
    remapped: 0,
    zeroExtents: 0,
    partialReads: 0,
  };
  for (let seed = first; seed < first + count; seed += 1) {
    const met = await runClientsOnBadDisk(seed, { outages });
    for (const key of Object.keys(sums) as (keyof Met)[]) sums[key] += met[key];
  }
  return sums;
}

/** Another 1000 seeds of each kind were run when this was written. */
describe('clients of a bad disk, on connections that break', () => {
  test('R3, R6, R22, R29 find what was acknowledged, after power cuts what was durable, and hear of no false zeros', async () => {
    const met = await runSeeds(1, 8, false);
    assert.ok(met.requests > 1000 && met.cutConnections > 40 && met.powerCuts > 40, JSON.stringify(met));
    assert.ok(met.remapped > 300 && met.zeroExtents > 200 && met.partialReads > 10, JSON.stringify(met));
  });

  test('R17 also where main and spare come and go', async () => {
    const met = await runSeeds(1, 5, true);
    assert.ok(met.requests > 500 && met.cutConnections > 20 && met.powerCuts > 20, JSON.stringify(met));
  });
});
