import assert from 'node:assert/strict';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import {
  type BadRun,
  badGranules,
  exportUri,
  remapCount,
  remappedGranules,
  spreadBadSectors,
} from './bad-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { missingTool, mustRunTool, runTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 128 * mebibyte;
const badCount = 500;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(() => endLab(lab));

/** Every block of the export once, in chance order, each with its own checksum in it. */
function fioWords(uri: string): string[] {
  return [
    '--name=verify',
    '--ioengine=nbd',
    `--uri=${uri}`,
    '--rw=randwrite',
    '--bs=4k',
    '--iodepth=16',
    `--size=${mainBytes}`,
    '--randseed=20',
    '--verify=crc32c',
    '--verify_fatal=1',
    // Else it leaves a file in the working directory.
    '--verify_state_save=0',
    '--output-format=json',
  ];
}

interface FioJob {
  readonly error: number;
  readonly read: { readonly total_ios: number };
  readonly write: { readonly total_ios: number };
}

function jobOf(output: string): FioJob {
  const report: { jobs: FioJob[] } = JSON.parse(output.slice(output.indexOf('{')));
  return report.jobs[0]!;
}

test(`I17 I20 fio writes and verifies a whole export with ${badCount} dead sectors under it`, {
  skip: missingTool('fio'),
}, async () => {
  const bad = spreadBadSectors('fio-verify', badCount, 0, mainBytes / 512);
  const main = lab.image('main.img', mainBytes);
  const table = lab.faultTable('main.table', main, mainBytes, bad);
  lab.image('spare.img', 64 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  const uri = exportUri(lab, 'disk');
  const blocks = mainBytes / 4096;

  const written = jobOf(await mustRunTool('fio', ...fioWords(uri), '--do_verify=1'));
  assert.equal(written.error, 0);
  assert.equal(written.write.total_ios, blocks, 'every block is written');
  assert.equal(written.read.total_ios, blocks, 'every block is verified');
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules(bad));
  assert.equal(await remapCount(lab, 'disk'), badGranules(bad).length);

  await killAndAssemble(table);
  const verified = jobOf(await mustRunTool('fio', ...fioWords(uri), '--verify_only'));
  assert.equal(verified.error, 0);
  assert.equal(verified.read.total_ios, blocks);
  assert.equal(await remapCount(lab, 'disk'), badGranules(bad).length);

  // The same verification finds one changed byte: it was no formality.
  await killAndAssemble(table, () => changeByte(main, healthyOffset(bad)));
  const { status, output } = await runTool('fio', ...fioWords(uri), '--verify_only');
  assert.notEqual(status, 0);
  assert.match(output, /verify: bad (?:magic )?header|crc32c: verify failed/);
});

async function killAndAssemble(table: string, whileDead: () => void = () => undefined): Promise<void> {
  await lab.kill('disk');
  whileDead();
  await lab.mustRun('assemble', '--main-table', table, '--spare', 'spare.img');
}

/** In the data of a block in the middle of the disk that is on main. */
function healthyOffset(bad: readonly BadRun[]): number {
  const granules = new Set(badGranules(bad));
  let granule = mainBytes / 4096 / 2;
  while (granules.has(granule)) granule += 1;
  return granule * 4096 + 2000;
}

function changeByte(path: string, offset: number): void {
  const descriptor = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(descriptor, byte, 0, 1, offset);
  byte[0]! ^= 1;
  writeSync(descriptor, byte, 0, 1, offset);
  closeSync(descriptor);
}
