import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { DeviceLab, pattern } from './device-lab.ts';

const mib = 1_048_576;
const mainBytes = 16 * mib;
const pieceBytes = 16_384;
const runMs = 8_000;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(async () => {
  await lab.close();
});

test('R17 a main that is away for 1 s in every 3 costs waiting: 0 errors, 0 remaps, every byte', async () => {
  const main = lab.image('main.img', mainBytes);
  // All I/O fails while it is down; it is up when the device is made.
  writeFileSync(lab.path('main.table'), `0 ${mainBytes / 512} flakey ${main} 0 2 1\n`);
  lab.image('spare.img', 24 * mib);
  await lab.mustRun(
    'create',
    'disk',
    '--main-table',
    'main.table',
    '--spare',
    'spare.img',
    '--overwrite-spare',
  );
  const client = await lab.connect('disk');
  const endMs = Date.now() + runMs;
  const versions = new Map<number, number>();
  let slow = 0;
  const workers = Array.from({ length: 4 }, async (_, worker) => {
    const region = (worker * mainBytes) / 4;
    const bytes = new Uint8Array(pieceBytes);
    for (let round = 1; Date.now() < endMs; round += 1) {
      const at = region + ((round * pieceBytes) % (mainBytes / 4));
      const startMs = Date.now();
      await client.write(pattern(at, pieceBytes, round % 200), at);
      await client.read(bytes, at);
      assert.ok(Buffer.from(bytes).equals(pattern(at, pieceBytes, round % 200)), `byte ${at}`);
      versions.set(at, round % 200);
      if (Date.now() - startMs > 300) slow += 1;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  await Promise.all(workers);
  assert.ok(slow > 0, 'the disk was away: some request waited');
  await lab.mustRun('message', 'disk', '0', 'main', '0', 'set', '1', '0');
  for (const [at, round] of versions) {
    const bytes = new Uint8Array(pieceBytes);
    await client.read(bytes, at);
    assert.ok(Buffer.from(bytes).equals(pattern(at, pieceBytes, round)), `byte ${at}`);
  }
  await client.disconnect();
  const status: { remap: { remappedGranules: number; unreadableSectors: number; state: string } } =
    JSON.parse(await lab.mustRun('status', 'disk', '--json'));
  assert.deepEqual(
    [status.remap.remappedGranules, status.remap.unreadableSectors, status.remap.state],
    [0, 0, 'ok'],
  );
  await lab.mustRun('remove', 'disk');
});
