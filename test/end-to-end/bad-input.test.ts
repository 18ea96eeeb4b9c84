import assert from 'node:assert/strict';
import { existsSync, linkSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { DeviceLab, fileHash } from './device-lab.ts';

const mib = 1_048_576;
const mainBytes = 64 * mib;
const spareBytes = 32 * mib;

let lab: DeviceLab;
let hashes: Map<string, string>;

before(() => {
  lab = new DeviceLab();
  lab.image('main.img', mainBytes);
  lab.image('spare.img', spareBytes);
  lab.image('large.img', 2 * mainBytes);
  lab.image('small.img', mib);
  lab.image('ragged.img', mainBytes + 100);
  lab.image('empty.img', 0);
  writeFileSync(lab.path('swap.img'), swapImage());
  symlinkSync('main.img', lab.path('symlink.img'));
  linkSync(lab.path('main.img'), lab.path('hardlink.img'));
  writeFileSync(lab.path('overlap.table'), `0 2048 linear main.img 0\n1000 2048 error\n`);
  writeFileSync(lab.path('garbage.table'), 'this is no table\n');
});

/** A swap area, as mkswap would make it: the shortest signature to write by hand. */
function swapImage(): Buffer {
  const image = Buffer.alloc(spareBytes);
  image.writeUInt32LE(1, 1024);
  image.writeUInt32LE(spareBytes / 4096 - 1, 1028);
  image.write('SWAPSPACE2', 4086, 'latin1');
  return image;
}

const files = ['main.img', 'spare.img', 'large.img', 'small.img', 'ragged.img', 'swap.img'];

async function hashAll(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const file of files) found.set(file, await fileHash(lab.path(file)));
  return found;
}

beforeEach(async () => {
  hashes ??= await hashAll();
});

afterEach(async () => {
  assert.deepEqual(await hashAll(), hashes, 'bad input harms nothing');
  assert.deepEqual(lab.leftovers(), [], 'bad input leaves nothing');
});

after(async () => {
  await lab.close();
});

const create = (main: string, spare: string, ...more: readonly string[]): string[] => [
  'create',
  'disk',
  '--main',
  main,
  '--spare',
  spare,
  ...more,
];

test('a missing file or device is named, with what makes it', async () => {
  await lab.mustFail(
    ExitCode.notFound,
    /create: none\.img: no such file/,
    ...create('none.img', 'spare.img'),
  );
  await lab.mustFail(ExitCode.notFound, /none\.img: .*--create-spare/, ...create('main.img', 'none.img'));
  await lab.mustFail(ExitCode.notFound, /none\.img: no such file/, 'assemble', '--spare', 'none.img');
  await lab.mustFail(ExitCode.notFound, /none\.img: no such file/, 'examine', 'none.img');
});

test('a directory, a pipe-like or an empty thing is no disk', async () => {
  await lab.mustFail(ExitCode.refused, /is a directory/, ...create('run', 'spare.img'));
  await lab.mustFail(ExitCode.refused, /is a directory/, ...create('main.img', 'run'));
  await lab.mustFail(ExitCode.refused, /is a directory/, 'examine', 'run');
  await lab.mustFail(ExitCode.refused, /is a character device/, ...create('main.img', '/dev/null'));
  await lab.mustFail(ExitCode.refused, /empty/, ...create('empty.img', 'spare.img'));
});

test('one file as main and spare is refused under every name', async () => {
  for (const again of ['main.img', 'symlink.img', 'hardlink.img']) {
    await lab.mustFail(ExitCode.refused, /same file/, ...create('main.img', again, '--overwrite-spare'));
  }
  const table = lab.faultTable('same.table', 'spare.img', spareBytes, []);
  const words = ['create', 'disk', '--main-table', table, '--spare', 'spare.img', '--overwrite-spare'];
  await lab.mustFail(ExitCode.refused, /same file/, ...words);
});

test('a spare that is too small is told what is needed', async () => {
  await lab.mustFail(
    ExitCode.refused,
    /small\.img: spare is 1 MiB, needs at least \d+ MiB for a 64 MiB main/,
    ...create('main.img', 'small.img'),
  );
});

test('a spare that is larger than main, as with swapped arguments, is refused', async () => {
  await lab.mustFail(ExitCode.refused, /larger than main/, ...create('main.img', 'large.img'));
});

test('a spare with a foreign signature is refused, and swapped arguments cannot be forced', async () => {
  await lab.mustFail(ExitCode.refused, /swap\.img: .*swap/, ...create('main.img', 'swap.img'));
  await lab.mustFail(ExitCode.refused, /wipefs/, ...create('main.img', 'swap.img', '--overwrite-spare'));
});

test('a main with a ragged size is told how to cut it', async () => {
  await lab.mustFail(ExitCode.refused, /truncate -s 67108864/, ...create('ragged.img', 'spare.img'));
});

test('tables that overlap, are garbage, or do not fit are refused by line', async () => {
  const withTable = (table: string): string[] => [
    'create',
    'disk',
    '--main-table',
    table,
    '--spare',
    'spare.img',
  ];
  await lab.mustFail(
    ExitCode.usage,
    /line 2: starts at sector 1000, which overlaps/,
    ...withTable('overlap.table'),
  );
  await lab.mustFail(ExitCode.usage, /line 1/, ...withTable('garbage.table'));
  await lab.mustFail(ExitCode.notFound, /none\.table/, ...withTable('none.table'));
  const table = (line: string): string[] => ['create', 'disk', '--table', line];
  await lab.mustFail(ExitCode.usage, /main has 131072/, ...table('0 131064 remap main.img spare.img'));
  await lab.mustFail(ExitCode.usage, /starts at sector 8/, ...table('8 131072 remap main.img spare.img'));
  await lab.mustFail(ExitCode.usage, /unknown target linear/, ...table('0 131072 linear main.img 0'));
  await lab.mustFail(
    ExitCode.usage,
    /leave out/,
    ...table('0 131072 remap main.img spare.img'),
    '--main',
    'main.img',
  );
});

test('what is no spare is neither assembled nor examined', async () => {
  await lab.mustFail(ExitCode.notASpare, /not a dm-remap spare/, 'assemble', '--spare', 'main.img');
  await lab.mustFail(ExitCode.notASpare, /not a dm-remap spare/, 'examine', 'main.img');
  await lab.mustFail(ExitCode.notASpare, /not a dm-remap spare/, 'serve', '--spare', 'main.img');
});

test('a wrong command line says what is wrong with it', async () => {
  const cases: [string[], RegExp][] = [
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['create'], /missing required argument 'NAME'/],
    [['create', 'disk'], /--main/],
    [['create', 'disk', '--main', 'main.img'], /--spare/],
    [['create', 'disk', '--main', '', '--spare', 'spare.img'], /its value is empty/],
    [['assemble', '--spare', ''], /its value is empty/],
    [['create', '../disk', '--main', 'main.img', '--spare', 'spare.img'], /may not start with/],
    [['create', 'a/b', '--main', 'main.img', '--spare', 'spare.img'], /letters, digits/],
    [create('main.img', 'spare.img', '--port', '99999'), /--port 99999: expected/],
    [create('main.img', 'spare.img', '--cache', 'fast'), /--cache fast: expected none or writeback/],
    [create('main.img', 'new.img', '--create-spare', '64Q'), /--create-spare 64Q: expected/],
    [create('main.img', 'spare.img', '--unknown'), /unknown option '--unknown'/],
    [['table'], /missing required argument/],
    [['message', 'disk', '0'], /missing required argument/],
  ];
  for (const [words, message] of cases) await lab.mustFail(ExitCode.usage, message, ...words);
  assert.equal(existsSync(lab.path('new.img')), false);
});

test('a socket or a port that cannot be is refused before the spare is formatted', async () => {
  const file = lab.path('overlap.table');
  await lab.mustFail(ExitCode.busy, /not a socket/, ...create('main.img', 'spare.img', '--socket', file));
  await lab.mustFail(
    ExitCode.notFound,
    /no folder/,
    ...create('main.img', 'spare.img', '--socket', 'no/x.sock'),
  );
});

test('a runtime directory that cannot be is refused before the spare is formatted', async () => {
  const nowhere = new DeviceLab();
  try {
    rmdirSync(nowhere.runtime);
    writeFileSync(nowhere.runtime, '');
    const words = create(lab.path('main.img'), lab.path('spare.img'));
    await nowhere.mustFail(ExitCode.failed, /run: cannot hold the sockets.*DM_REMAP_RUNTIME_DIR/, ...words);
    rmSync(nowhere.runtime);
  } finally {
    await nowhere.close();
  }
});

test('a device that does not exist is told so by every verb', async () => {
  for (const words of [['status'], ['table'], ['remove']]) {
    await lab.mustFail(ExitCode.notFound, /nobody: no such device/, ...words, 'nobody');
  }
  await lab.mustFail(ExitCode.notFound, /no such device/, 'message', 'nobody', '0', 'list');
  assert.equal(await lab.mustRun('ls'), '');
});
