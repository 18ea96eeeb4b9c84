import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { type BadRun, badGranules, exportUri, remappedGranules } from './bad-disk.ts';
import { DeviceLab, fileHash } from './device-lab.ts';
import { missingTool, mustRunTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 64 * mebibyte;
const sectorBytes = 512;
const bad: readonly BadRun[] = [
  [1000, 2],
  [50_000, 2],
  [100_000, 100],
];

let lab: DeviceLab;
let uri: string;

beforeEach(async () => {
  lab = new DeviceLab();
  const table = lab.faultTable('main.table', lab.image('main.img', mainBytes), mainBytes, bad);
  lab.image('spare.img', 32 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  uri = exportUri(lab, 'disk');
});

afterEach(() => endLab(lab));

test('qemu-img info tells the size of a device, and map that all of it may hold data', {
  skip: missingTool('qemu-img'),
}, async () => {
  const info: { format: string; 'virtual-size': number } = JSON.parse(
    await mustRunTool('qemu-img', 'info', '--output=json', uri),
  );
  assert.deepEqual([info.format, info['virtual-size']], ['raw', mainBytes]);

  const source = lab.path('source.img');
  writeFileSync(source, randomBytes(mainBytes));
  await mustRunTool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', source, uri);
  const map: { start: number; length: number; data: boolean; zero: boolean }[] = JSON.parse(
    await mustRunTool('qemu-img', 'map', '--output=json', '-f', 'raw', uri),
  );
  let end = 0;
  for (const { start, length, data, zero } of map) {
    assert.equal(start, end, 'without a hole between ranges');
    assert.deepEqual([data, zero], [true, false], `all of it was written: ${start} ${length}`);
    end += length;
  }
  assert.equal(end, mainBytes);
});

test('qemu-img converts a device to another format and back, through bad sectors, in any order of writes', {
  skip: missingTool('qemu-img'),
}, async () => {
  const source = lab.path('source.img');
  writeFileSync(source, randomBytes(mainBytes));
  // -W and -m 16: many requests at a time, in no order.
  await mustRunTool('qemu-img', 'convert', '-W', '-m', '16', '-n', '-f', 'raw', '-O', 'raw', source, uri);
  const format = lab.path('copy.qcow2');
  await mustRunTool('qemu-img', 'convert', '-W', '-m', '16', '-f', 'raw', '-O', 'qcow2', uri, format);
  const back = lab.path('back.img');
  await mustRunTool('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', format, back);
  assert.equal(await fileHash(back), await fileHash(source));
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules(bad));
});

test('qemu-img bench writes over bad sectors with 64 requests at a time, flushes between them, and reads them', {
  skip: missingTool('qemu-img', 'qemu-io'),
}, async () => {
  const [count, sizeBytes] = [2000, 4096];
  const common = ['-f', 'raw', '-c', String(count), '-s', String(sizeBytes), '-d', '64'];
  const wrote = await mustRunTool(
    'qemu-img',
    'bench',
    ...common,
    '-w',
    '--pattern=0xa7',
    '--flush-interval=500',
    uri,
  );
  assert.match(wrote, /^Run completed in/m);
  assert.match(await mustRunTool('qemu-img', 'bench', ...common, uri), /^Run completed in/m);
  const written = bad.filter(([sector]) => sector * sectorBytes < count * sizeBytes);
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules(written));
  const read = `read -P 0xa7 0 ${count * sizeBytes}`;
  assert.doesNotMatch(await mustRunTool('qemu-io', '-r', '-f', 'raw', '-c', read, uri), /failed/);
});

test('qemu-io keeps several writes over bad sectors under way, flushes behind them, and reads them back', {
  skip: missingTool('qemu-io'),
}, async () => {
  const starts = Array.from({ length: 24 }, (_, index) => 99_990 * sectorBytes + index * 4608);
  const writes = starts.flatMap((offset, index) => ['-c', `aio_write -q -P ${index + 1} ${offset} 4608`]);
  const wrote = await mustRunTool('qemu-io', '-f', 'raw', ...writes, '-c', 'aio_flush', '-c', 'flush', uri);
  assert.doesNotMatch(wrote, /failed|error/i);
  await lab.kill('disk');
  await lab.mustRun('assemble', '--main-table', 'main.table', '--spare', 'spare.img');
  const reads = starts.flatMap((offset, index) => ['-c', `aio_read -P ${index + 1} ${offset} 4608`]);
  const read = await mustRunTool('qemu-io', '-r', '-f', 'raw', ...reads, '-c', 'aio_flush', uri);
  assert.equal(read.match(/^read 4608\/4608 bytes/gm)?.length, starts.length, read);
  assert.doesNotMatch(read, /failed|error/i);
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules([bad[2]!]));
});
