import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import type { BadRun } from './bad-disk.ts';
import { DeviceLab, pattern } from './device-lab.ts';
import { missingForMounts, missingTool, mustRunTool } from './foreign-tool.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 100 * mebibyte;
const sectorCount = mainBytes / 512;
/** A hang, whatever else the machine does: alone it takes 0.6 s. The count of reads below is the real measure. */
const creationMsMax = 45_000;
/** Looking for signatures at the start and the end of main, once by each of the two processes. */
const mainReadsMax = 64;

const places: readonly (readonly [name: string, bad: readonly BadRun[]])[] = [
  [
    'sectors 0 and 2',
    [
      [0, 1],
      [2, 1],
    ],
  ],
  ['sectors 1000 and 1001', [[1000, 2]]],
  ['the whole first mebibyte', [[0, 2048]]],
  [
    'the first and the last mebibyte',
    [
      [0, 2048],
      [sectorCount - 2048, 2048],
    ],
  ],
  ['every sector', [[0, sectorCount]]],
];

let lab: DeviceLab;
let undo: (() => Promise<unknown>)[];

beforeEach(() => {
  lab = new DeviceLab();
  undo = [];
});

afterEach(async () => {
  try {
    await lab.run('remove', 'disk', '--force');
    for (const step of undo.toReversed()) await step();
    assert.deepEqual(lab.leftovers(), []);
    assertNothingLeftOver(lab.folder);
  } finally {
    await lab.close();
  }
});

async function create(table: string): Promise<number> {
  const startMs = performance.now();
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--overwrite-spare');
  return performance.now() - startMs;
}

for (const [name, bad] of places) {
  test(`I1 creation over dead sectors ends in bounded time: ${name}`, async (context) => {
    const main = lab.image('main.img', mainBytes);
    const table = lab.faultTable('main.table', main, mainBytes, bad);
    lab.image('spare.img', 32 * mebibyte);
    const tookMs = await create(table);
    context.diagnostic(`${Math.round(tookMs)} ms`);
    assert.ok(tookMs < creationMsMax, `took ${Math.round(tookMs)} ms`);

    const offset = bad[0]![0] * 512;
    const client = await lab.connect('disk');
    const written = client.write(pattern(offset, 512, 1), offset, { fua: true });
    if (bad[0]![1] === sectorCount) {
      await assert.rejects(written, /EIO/, 'R16: a main where nothing works is no main with bad sectors');
    } else {
      await written;
      const read = new Uint8Array(512);
      await client.read(read, offset);
      assert.deepEqual(read, pattern(offset, 512, 1), 'and the device works on a dead sector');
    }
    await client.disconnect();
  });
}

test(`I1 creation reads main at most ${mainReadsMax} times, whatever is dead on it, and never writes to it`, {
  skip: missingTool('losetup') || missingForMounts(),
}, async () => {
  const image = lab.image('main.img', mainBytes);
  const loop = (await mustRunTool('losetup', '--find', '--show', '--direct-io=on', image)).trim();
  undo.push(() => mustRunTool('losetup', '--detach', loop));
  lab.image('spare.img', 32 * mebibyte);
  for (const [name, bad] of [['nothing', []] as const, ...places.slice(0, 4)]) {
    const table = lab.faultTable('main.table', loop, mainBytes, bad);
    const before = countsOf(loop);
    await create(table);
    const after = countsOf(loop);
    await lab.mustRun('remove', 'disk');
    const reads = after.reads - before.reads;
    assert.ok(reads <= mainReadsMax, `${name}: ${reads} reads of main`);
    assert.equal(after.sectorsWritten, before.sectorsWritten, `${name}: nothing is written to main`);
  }
});

/** By the kernel's own count (Documentation/block/stat.rst); a flush is a write of no sector. */
function countsOf(device: string): { reads: number; sectorsWritten: number } {
  const fields = readFileSync(`/sys/block/${device.slice('/dev/'.length)}/stat`, 'utf8')
    .trim()
    .split(/\s+/);
  return { reads: Number(fields[0]), sectorsWritten: Number(fields[6]) };
}
