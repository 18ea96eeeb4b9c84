import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Capabilities, IoFlags } from '../../../src/block/block-device.ts';
import { FilterDevice } from '../../../src/block/filter-device.ts';
import { defaultPolicies, type Policies } from '../../../src/remap/policies.ts';
import { failedRead, finish, makeStack, patternOf, type Stack, writeSectors } from '../remap-stack.ts';

/** Says nothing about a cache. */
class SilentDevice extends FilterDevice {
  override get capabilities(): Capabilities {
    const { volatileCache: _, ...rest } = super.capabilities;
    return rest;
  }
}

/** True when the last write to main was durable when main acknowledged it. */
function lastWriteDurable({ main }: Stack): boolean {
  const last = main.operations.findLast(({ kind, phase }) => kind === 'write' && phase === 'submit');
  assert.ok(last);
  return (last.flags & IoFlags.fua) !== 0;
}

function withCachePolicy(stack: Stack, mainCache: Policies['mainCache']): void {
  stack.core.policies = { ...defaultPolicies, mainCache };
}

describe('the volatile cache of main', () => {
  it('R8 fua: is used until main has a bad sector, then each write is durable at its acknowledgement', async () => {
    for (const on of ['read', 'write'] as const) {
      const stack = makeStack({ mainCapabilities: { volatileCache: true } });
      await writeSectors(stack, 0, patternOf(0, 8));
      assert.equal(lastWriteDurable(stack), false);
      assert.equal(stack.device.status().mainCache, 'trusted');
      stack.mainDisk.faults.addBadSectors(80, 1, { on });
      if (on === 'write') await writeSectors(stack, 80, patternOf(80, 8));
      else await failedRead(stack, 80, 1);
      await writeSectors(stack, 8, patternOf(8, 8, 2));
      assert.equal(lastWriteDurable(stack), true);
      assert.deepEqual(stack.mainDisk.durableImage.slice(8 * 512, 16 * 512), patternOf(8, 8, 2));
      assert.equal(stack.device.status().mainCache, 'bypassed');
      await finish(stack);
    }
  });

  it('R8 off: is never used; as-is: always, and the status says what that means', async () => {
    const stack = makeStack({ mainCapabilities: { volatileCache: true } });
    withCachePolicy(stack, 'off');
    await writeSectors(stack, 0, patternOf(0, 8));
    assert.equal(lastWriteDurable(stack), true);
    assert.equal(stack.device.status().mainCache, 'bypassed');
    withCachePolicy(stack, 'as-is');
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    await writeSectors(stack, 80, patternOf(80, 8));
    await writeSectors(stack, 0, patternOf(0, 8, 2));
    assert.equal(lastWriteDurable(stack), false);
    assert.equal(stack.device.status().mainCache, 'late');
    withCachePolicy(stack, 'fua');
    await writeSectors(stack, 0, patternOf(0, 8, 3));
    assert.equal(lastWriteDurable(stack), true, 'main showed its bad sector before');
    await finish(stack);
  });

  it('R8 a main without one is written as it is', async () => {
    const stack = makeStack({ mainCapabilities: { volatileCache: false } });
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    await writeSectors(stack, 80, patternOf(80, 8));
    await writeSectors(stack, 0, patternOf(0, 8));
    assert.equal(lastWriteDurable(stack), false);
    assert.equal(stack.device.status().mainCache, 'none');
    await finish(stack);
  });

  it('R8 what nobody knows is taken for a volatile cache, also where main has no FUA', async () => {
    const stack = makeStack({ mainCapabilities: { fua: false }, wrapMain: (main) => new SilentDevice(main) });
    assert.equal(stack.device.status().mainCache, 'trusted');
    withCachePolicy(stack, 'off');
    await writeSectors(stack, 0, patternOf(0, 8));
    assert.equal(stack.mainDisk.unflushedSectorCount, 0, 'a flush did it');
    await stack.clock.run(stack.device.writeZeroes(8 * 512, 512));
    assert.equal(stack.mainDisk.unflushedSectorCount, 0);
    await finish(stack);
  });
});
