import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { type BadRun, badGranules, exportUri, remapCount, remappedGranules } from './bad-disk.ts';
import { DeviceLab, fileHash } from './device-lab.ts';
import { missingTool, mustRunTool, runTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 100 * mebibyte;
const sectorBytes = 512;

/** The maps five-spread, low-pair and zero-two together, and a run over several granules. */
const bad: readonly BadRun[] = [
  [0, 1],
  [2, 1],
  [1000, 2],
  [50_000, 2],
  [75_000, 1],
  [100_000, 100],
  [150_000, 1],
];

let lab: DeviceLab;
let uri: string;

beforeEach(async () => {
  lab = new DeviceLab();
  const main = lab.image('main.img', mainBytes);
  const table = lab.faultTable('main.table', main, mainBytes, bad);
  lab.image('spare.img', 32 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  uri = exportUri(lab, 'disk');
});

afterEach(() => endLab(lab));

test('nbdcopy writes a whole disk over bad sectors and reads the same bytes back, through kill and assemble', {
  skip: missingTool('nbdcopy'),
}, async () => {
  const source = lab.path('source.img');
  writeFileSync(source, randomBytes(mainBytes));
  await mustRunTool('nbdcopy', source, uri);
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules(bad), 'I17: exactly the bad granules');
  assert.equal(await remapCount(lab, 'disk'), badGranules(bad).length);
  await mustRunTool('nbdcopy', uri, lab.path('copy.img'));
  assert.equal(await fileHash(lab.path('copy.img')), await fileHash(source));

  await lab.kill('disk');
  await lab.mustRun('assemble', '--main-table', 'main.table', '--spare', 'spare.img');
  await mustRunTool('nbdcopy', uri, lab.path('again.img'));
  assert.equal(await fileHash(lab.path('again.img')), await fileHash(source));
  assert.equal(await remapCount(lab, 'disk'), badGranules(bad).length);
});

test('qemu-img converts onto bad sectors, and finds what it compares identical, or not where it is not', {
  skip: missingTool('qemu-img'),
}, async () => {
  const source = lab.path('source.img');
  writeFileSync(source, randomBytes(mainBytes));
  await mustRunTool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', source, uri);
  const compare = ['compare', '-f', 'raw', '-F', 'raw', source, uri];
  assert.match(await mustRunTool('qemu-img', ...compare), /Images are identical/);
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules(bad));

  const changed = readFileSync(source);
  changed[50_001 * sectorBytes]! ^= 1;
  writeFileSync(source, changed);
  const { status, output } = await runTool('qemu-img', ...compare);
  assert.equal(status, 1);
  assert.match(output, new RegExp(`Content mismatch at offset ${50_001 * sectorBytes}`));
});

/** A write of one byte value, and the model of the disk that all writes together make. */
interface PatternWrite {
  readonly value: number;
  readonly sector: number;
  readonly sectorCount: number;
}

/** Single bad sectors, their neighbours, runs that begin, end or lie in one, and far more than one request. */
const writes: readonly PatternWrite[] = [
  { value: 0x11, sector: 0, sectorCount: 8 },
  { value: 0x22, sector: 1000, sectorCount: 1 },
  { value: 0x33, sector: 999, sectorCount: 2 },
  { value: 0x44, sector: 1001, sectorCount: 15 },
  { value: 0x55, sector: 49_990, sectorCount: 32 },
  { value: 0x66, sector: 74_999, sectorCount: 3 },
  { value: 0x77, sector: 99_000, sectorCount: 4096 },
  { value: 0x88, sector: 100_050, sectorCount: 1 },
  { value: 0x99, sector: 150_000, sectorCount: 1 },
];

test('qemu-io patterns of single sectors and long runs over bad sectors read back as written', {
  skip: missingTool('qemu-io'),
}, async () => {
  const model = Buffer.alloc(mainBytes);
  const commands: string[] = [];
  for (const [index, { value, sector, sectorCount }] of writes.entries()) {
    const [offset, length] = [sector * sectorBytes, sectorCount * sectorBytes];
    const flag = index % 2 === 0 ? '-f ' : '';
    commands.push('-c', `write ${flag}-P ${value} ${offset} ${length}`);
    model.fill(value, offset, offset + length);
  }
  const wrote = await mustRunTool('qemu-io', '-f', 'raw', ...commands, '-c', 'flush', uri);
  assert.equal(wrote.match(/^wrote /gm)?.length, writes.length, wrote);

  for (let round = 0; round < 2; round += 1) {
    const reads = writes
      .flatMap(({ sector, sectorCount }) => runsOf(model, sector, sectorCount))
      .flatMap((run) => [
        '-c',
        `read -P ${run.value} ${run.sector * sectorBytes} ${run.sectorCount * sectorBytes}`,
      ]);
    const read = await mustRunTool('qemu-io', '-r', '-f', 'raw', ...reads, uri);
    assert.doesNotMatch(read, /Pattern verification failed|failed/);
    assert.equal(read.match(/^read /gm)?.length, reads.length / 2, read);
    await lab.kill('disk');
    await lab.mustRun('assemble', '--main-table', 'main.table', '--spare', 'spare.img');
  }
});

/** The model's equal sectors in a range, as runs: later writes cut earlier ones. */
function runsOf(model: Buffer, firstSector: number, sectorCount: number): PatternWrite[] {
  const runs: PatternWrite[] = [];
  for (let sector = firstSector; sector < firstSector + sectorCount; sector += 1) {
    const value = model[sector * sectorBytes]!;
    const last = runs.at(-1);
    if (last?.value === value) runs[runs.length - 1] = { ...last, sectorCount: last.sectorCount + 1 };
    else runs.push({ value, sector, sectorCount: 1 });
  }
  return runs;
}

test('a read of what was never written on a bad sector fails, and the connection goes on', {
  skip: missingTool('qemu-io'),
}, async () => {
  const commands = ['-c', `read ${75_000 * sectorBytes} 512`, '-c', `read -P 0 ${75_001 * sectorBytes} 512`];
  const { output } = await runTool('qemu-io', '-r', '-f', 'raw', ...commands, uri);
  assert.match(output, /read failed: Input\/output error\nread 512\/512 bytes/);
  assert.equal(await remapCount(lab, 'disk'), 0, 'R17: a read that nobody can satisfy moves nothing');
  assert.match(await lab.mustRun('message', 'disk', '0', 'lost'), /^75000 1 unreadable$/m);
});
