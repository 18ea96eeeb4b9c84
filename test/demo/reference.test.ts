import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compareFiles, noise, writeNoiseFile } from '../../demo/reference.ts';

const sizeBytes = 9 * 1024 * 1024 + 512;
let folder: string;
const path = (name: string): string => join(folder, name);

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-test-'));
  await writeNoiseFile(path('one'), 7, sizeBytes);
  await writeNoiseFile(path('other'), 7, sizeBytes);
});

after(() => rmSync(folder, { recursive: true }));

test('noise repeats by its seed, however it is cut, and no two blocks are equal', () => {
  assert.ok(readFileSync(path('one')).equals(noise(7, sizeBytes)));
  assert.ok(!noise(7, 512).equals(noise(8, 512)));
  const bytes = noise(7, 512_000);
  const blocks = new Set(
    Array.from({ length: 1000 }, (_, at) => bytes.toString('hex', at * 512, at * 512 + 512)),
  );
  assert.equal(blocks.size, 1000);
});

test('equal files are equal in all their bytes', async () => {
  const result = await compareFiles(path('one'), path('other'));
  assert.deepEqual(result, { comparedBytes: sizeBytes, differentBytes: 0, firstDifference: undefined });
});

test('one changed byte is found, anywhere', async () => {
  for (const offset of [0, 4 * 1024 * 1024 - 1, 4 * 1024 * 1024, sizeBytes - 1]) {
    const bytes = noise(7, sizeBytes);
    bytes[offset]! ^= 1;
    writeFileSync(path('changed'), bytes);
    const result = await compareFiles(path('one'), path('changed'));
    assert.deepEqual(result, { comparedBytes: sizeBytes, differentBytes: 1, firstDifference: offset });
  }
});

test('a file that ends early differs in all that is missing, on either side', async () => {
  writeFileSync(path('short'), noise(7, sizeBytes));
  truncateSync(path('short'), sizeBytes - 100);
  for (const [one, other] of [
    ['one', 'short'],
    ['short', 'one'],
  ] as const) {
    const result = await compareFiles(path(one), path(other));
    assert.deepEqual(result, {
      comparedBytes: sizeBytes,
      differentBytes: 100,
      firstDifference: sizeBytes - 100,
    });
  }
});
