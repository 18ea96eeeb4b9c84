import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { DeviceLab } from './device-lab.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(async () => {
  await lab.close();
});

async function policiesOf(name: string): Promise<Record<string, string>> {
  return JSON.parse(await lab.mustRun('policy', name, '--json')).policies;
}

test('M10, R12 policies are chosen at creation, changed while it serves, and survive a kill and assembling', async () => {
  const main = lab.image('main.img', 32 * mib);
  const table = lab.faultTable('main.table', main, 32 * mib, [[1000, 1]]);
  const spare = lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', spare, '--on-lost', 'zero');
  const client = await lab.connect('disk');
  const bytes = new Uint8Array(4096).fill(1);
  await client.read(bytes, 1000 * 512);
  assert.deepEqual(bytes.subarray(0, 512), new Uint8Array(512), 'R12 zeroes in the place of the lost sector');
  assert.match(await lab.mustRun('status', 'disk'), /^ +policies +on-lost zero$/m);
  assert.equal(await lab.mustRun('policy', 'disk', 'on-lost', 'error'), 'on-lost error\n');
  await assert.rejects(client.read(bytes, 1000 * 512), 'the next request');
  await lab.mustRun('policy', 'disk', 'path-timeout', '3');
  await lab.kill('disk');
  await lab.mustRun('assemble', '--spare', spare, '--main-table', table, '--verify', 'always');
  const policies = await policiesOf('disk');
  assert.deepEqual(
    [policies['on-lost'], policies['path-timeout'], policies['verify'], policies['salvage']],
    ['error', '3', 'always', 'on'],
  );
  await lab.mustRun('remove', 'disk');
  await lab.mustRun('assemble', '--spare', spare, '--main-table', table);
  assert.equal((await policiesOf('disk'))['verify'], 'always', 'what assemble was given is stored');
  await lab.mustRun('remove', 'disk');
});

test('a policy that means nothing is refused in one line, before anything is touched', async () => {
  const main = lab.image('main.img', 32 * mib);
  const spare = lab.image('spare.img', 24 * mib);
  const create = ['create', 'disk', '--main', main, '--spare', spare];
  await lab.mustFail(2, /on-lost is 'nought', expected error or zero/, ...create, '--on-lost', 'nought');
  await lab.mustRun(...create);
  await lab.mustFail(2, /verify is 'maybe'/, 'policy', 'disk', 'verify', 'maybe');
  await lab.mustFail(2, /unknown policy 'dance'/, 'policy', 'disk', 'dance');
  await lab.mustRun('remove', 'disk');
  await lab.mustFail(2, /path-timeout is '-1'/, 'assemble', '--spare', spare, '--path-timeout', '-1');
  await lab.mustFail(3, /./, 'policy', 'nobody');
});
