import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { BadRun } from './bad-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { mustRunTool } from './foreign-tool.ts';
import { KernelAttachment, missingForAttachment } from './kernel-attachment.ts';
import { endLab } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 64 * mebibyte;
/** What badblocks reads at a time, whatever blocks it was told of: it goes through the page cache. */
const sectorsPerPage = 8;
const sectorBytes = 512;
/** At both ends, neighbours, and a run over several blocks that begins and ends within one. */
const bad: readonly BadRun[] = [
  [0, 1],
  [2, 1],
  [1000, 2],
  [50_003, 40],
  [75_000, 1],
  [mainBytes / sectorBytes - 1, 1],
];
/** The first run is written through the device: what was saved is not lost. */
const savedRun: BadRun = [1000, 2];
const lostRuns = bad.filter((run) => run[0] !== savedRun[0]);

let lab: DeviceLab;
let attachment: KernelAttachment;
let contents: Buffer;

beforeEach(async () => {
  lab = new DeviceLab();
  attachment = new KernelAttachment(lab);
  contents = randomBytes(mainBytes);
  const main = lab.path('main.img');
  writeFileSync(main, contents);
  const table = lab.faultTable('main.table', main, mainBytes, bad);
  lab.image('spare.img', 32 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  const client = await lab.connect('disk');
  const [first, count] = savedRun;
  const saved = randomBytes(count * sectorBytes);
  saved.copy(contents, first * sectorBytes);
  await client.write(saved, first * sectorBytes, { fua: true });
  await client.disconnect();
});

afterEach(async () => {
  await attachment.undoAll();
  await endLab(lab);
});

/** Sector and count of each run that the device lists as lost; it lists no range beyond a block. */
async function lostRanges(): Promise<BadRun[]> {
  const list = await lab.mustRun('message', 'disk', '0', 'lost');
  const runs: [sector: number, count: number][] = [];
  for (const line of list.split('\n').filter((text) => text !== '')) {
    const [sector, count, kind] = line.split(' ');
    assert.equal(kind, 'unreadable', line);
    const last = runs.at(-1);
    if (last !== undefined && last[0] + last[1] === Number(sector)) last[1] += Number(count);
    else runs.push([Number(sector), Number(count)]);
  }
  return runs;
}

/** What a map file of ddrescue calls bad, in sectors. */
function badInMapFile(path: string): BadRun[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => /^(0x[0-9A-F]+)\s+(0x[0-9A-F]+)\s+-$/.exec(line))
    .filter((match) => match !== null)
    .map(([, offset, length]) => [Number(offset) / sectorBytes, Number(length) / sectorBytes]);
}

function sectorsThatDiffer(found: Buffer, expected: Buffer): number[] {
  assert.equal(found.length, expected.length);
  return Array.from({ length: expected.length / sectorBytes }, (_, sector) => sector).filter(
    (sector) =>
      found.compare(
        expected,
        sector * sectorBytes,
        (sector + 1) * sectorBytes,
        sector * sectorBytes,
        (sector + 1) * sectorBytes,
      ) !== 0,
  );
}

test('I17 ddrescue through nbdfuse saves every byte but those of the sectors that the device lists as lost', {
  skip: missingForAttachment('ddrescue'),
}, async () => {
  await attachment.attach();
  const [copy, map] = [lab.path('copy.img'), lab.path('copy.map')];
  const words = ['--sector-size=512', '--idirect', '--retry-passes=1', '--quiet'];
  await mustRunTool('ddrescue', ...words, join(lab.path('fuse'), 'nbd'), copy, map);
  assert.deepEqual(badInMapFile(map), lostRuns);
  assert.deepEqual(await lostRanges(), lostRuns);

  // The last sector is lost: it wrote nothing there, and the copy ends before it.
  truncateSync(copy, mainBytes);
  const rescued = readFileSync(copy);
  const expected = Buffer.from(contents);
  for (const [sector, count] of lostRuns) {
    expected.fill(0, sector * sectorBytes, (sector + count) * sectorBytes);
  }
  assert.deepEqual(sectorsThatDiffer(rescued, expected), [], 'what it could not read it leaves as a hole');
});

test('I17 badblocks on the loop device over nbdfuse finds exactly the pages with sectors that are listed as lost', {
  skip: missingForAttachment('badblocks'),
}, async () => {
  const loop = await attachment.attach();
  const found = numbersIn(await mustRunTool('badblocks', '-b', String(sectorBytes), loop));
  const lost = lostRuns.flatMap(([first, count]) =>
    Array.from({ length: count }, (_, index) => first + index),
  );
  const pages = [...new Set(lost.map((sector) => Math.floor(sector / sectorsPerPage)))];
  const sectorsOfPages = pages.flatMap((page) =>
    Array.from({ length: sectorsPerPage }, (_, index) => page * sectorsPerPage + index),
  );
  assert.deepEqual(found, sectorsOfPages);
  assert.deepEqual(numbersIn(await mustRunTool('badblocks', '-b', '4096', loop)), pages);
  assert.deepEqual(await lostRanges(), lostRuns, 'the device knows to the sector');

  // A destructive run writes them all: none is bad any more, and what it wrote is there.
  const written = await mustRunTool('badblocks', '-w', '-t', '0x5a', '-b', '4096', '-c', '256', loop);
  assert.deepEqual(numbersIn(written), []);
  assert.deepEqual(await lostRanges(), []);
  await attachment.undoAll();
  const client = await lab.connect('disk');
  const sector = Buffer.alloc(sectorBytes);
  for (const at of [...lost, 1000, 1001, 60_000]) {
    await client.read(sector, at * sectorBytes);
    assert.ok(sector.equals(Buffer.alloc(sectorBytes, 0x5a)), `sector ${at}`);
  }
  await client.disconnect();
});

function numbersIn(output: string): number[] {
  return output
    .split('\n')
    .filter((line) => /^\d+$/.test(line))
    .map(Number);
}
