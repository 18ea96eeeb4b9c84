import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { DeviceLab, pattern } from './device-lab.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(async () => {
  await lab.close();
});

function say(...words: string[]): Promise<string> {
  return lab.mustRun('message', 'disk', '0', ...words);
}

test('R4, R34, M16 an operator moves, imports and retires; main alone then has every byte', async () => {
  const main = lab.image('main.img', 32 * mib);
  const spare = lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main', main, '--spare', spare);
  const client = await lab.connect('disk');
  await client.write(pattern(0, mib, 1), 0);
  assert.equal(await say('health'), 'ok\n');
  assert.match(await say('remap', '0', '64'), /^remapped 8 of 8/);
  await client.write(pattern(0, mib, 2), 0);
  await client.flush();
  assert.match(await say('query', '56', '16'), /^56 8 spare \d+ operator unverified\n64 8 main\n$/);
  assert.equal(await say('import', 'suspect', '1000', '2'), 'import: suspect 2, known 0\n');
  await lab.kill('disk');
  await lab.mustRun('assemble', '--spare', spare);
  assert.match(await say('lost'), /^1000 2 suspect\n$/);
  assert.match(await say('health'), /^degraded: 8 blocks moved to the spare; 2 sectors unreadable/);
  assert.equal(await say('unremap', '0', '8'), 'unremap: home 1, main-bad 0, spare-bad 0\n');
  const again = await lab.connect('disk');
  const bytes = new Uint8Array(mib);
  await again.read(bytes, 0);
  assert.ok(Buffer.from(bytes).equals(pattern(0, mib, 2)));
  assert.equal(await say('lost'), '', 'main gave what was imported');
  assert.match(await say('retire'), /^retire: home 7, .*\nthe table is empty/);
  await again.disconnect();
  await lab.mustRun('remove', 'disk');
  const image = readFileSync(main).subarray(0, mib);
  assert.ok(image.equals(pattern(0, mib, 2)), 'the raw disk has what was acknowledged');
});
