import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { heapFlags } from '../../../src/device/process/heap-flags.ts';

const sizes = ['--min-semi-space-size=2', '--max-semi-space-size=2'];

test('the young generation has one size and one collector, unless somebody has chosen', () => {
  assert.deepEqual(heapFlags([], {}), [...sizes, '--no-parallel-scavenge']);
  assert.deepEqual(heapFlags(['--max-semi-space-size=32'], {}), ['--no-parallel-scavenge']);
  assert.deepEqual(heapFlags([], { NODE_OPTIONS: '--max_semi_space_size=32' }), ['--no-parallel-scavenge']);
  assert.deepEqual(heapFlags(['--parallel-scavenge'], {}), sizes);
  const flags = heapFlags([], {});
  assert.deepEqual(heapFlags(flags, {}), [], 'a process that has them is not begun again for them');
});

/** Bytes of V8's young generation, both halves, at most, in a process with much that lives for a while. */
function youngBytesMost(flags: readonly string[]): number {
  const script = `
    const { getHeapSpaceStatistics } = require('node:v8');
    const rounds = [];
    let most = 0;
    for (let round = 0; round < 200; round += 1) {
      rounds[round % 20] = Array.from({ length: 2_000 }, (_, at) => ({ at }));
      const { space_size } = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
      most = Math.max(most, space_size);
    }
    console.log(most);`;
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  assert.equal(status, 0, stderr);
  return Number(stdout);
}

test('V8 knows these flags, and its young generation does not grow', () => {
  const mebibyte = 1_048_576;
  assert.equal(youngBytesMost(heapFlags([], {})), 2 * 2 * mebibyte);
  assert.ok(youngBytesMost([]) > 4 * mebibyte, 'it does without them');
});
