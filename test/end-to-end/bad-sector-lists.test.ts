import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { DeviceLab, fileHash, pattern } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const sizeBytes = 64 * mib;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', sizeBytes);
  writeFileSync(lab.path('main.img'), pattern(0, sizeBytes, 1));
  const words = ['create', 'disk', '--main', 'main.img', '--spare', 'spare.img', '--create-spare', '32M'];
  await lab.mustRun(...words);
  await lab.mustRun('message', 'disk', '0', 'remap', '5000', '40');
});

afterEach(async () => {
  await endLab(lab);
});

interface Exported {
  readonly entries: readonly {
    readonly sector: number;
    readonly sectorCount: number;
    readonly place: string;
  }[];
}

test('R34 a list of another tool makes suspects: the first read asks main, and what it gives is no suspect any more', async () => {
  writeFileSync(lab.path('bad'), '4500\n4501\n4510\n2500\n');
  const json = await lab.mustRun('import', 'disk', 'bad', '--json');
  assertShape('import', json);
  assert.deepEqual(JSON.parse(json), { name: 'disk', ranges: 3, suspectSectors: 6, knownSectors: 2 });
  assert.equal(
    await lab.mustRun('message', 'disk', '0', 'lost'),
    '9000 4 suspect\n9020 2 suspect\n',
    'what is moved already stays moved',
  );
  assert.match(
    await lab.mustRun('export', 'disk', '--format', 'ddrescue'),
    /\n0x00465000 {2}0x00000800 {2}\*\n/,
  );
  const client = await lab.connect('disk');
  const bytes = new Uint8Array(4096);
  await client.read(bytes, 9000 * 512);
  assert.deepEqual(bytes, pattern(9000 * 512, 4096, 1), 'main has it');
  await client.disconnect();
  assert.equal(await lab.mustRun('message', 'disk', '0', 'lost'), '9020 2 suspect\n');
  assert.match(
    await lab.mustRun('import', 'disk', 'bad'),
    /^disk: 4 sectors are suspect from now on, 4 were known/,
  );
});

test('every format says the same of a device that is served and of its spare alone', async () => {
  writeFileSync(lab.path('bad.map'), '0x0 + 1\n0x0 0x200 -\n');
  await lab.mustRun('import', 'disk', 'bad.map');
  const formats = [
    ['--json'],
    ['--format', 'ddrescue'],
    ['--format', 'ddrescue', '--of', 'main'],
    ['--format', 'badblocks', '-b', '4096'],
    ['--format', 'dmsetup'],
  ];
  const served: string[] = [];
  for (const words of formats) served.push((await lab.run('export', 'disk', ...words)).output);
  assertShape('export', served[0]!);
  const { entries }: Exported = JSON.parse(served[0]!);
  assert.deepEqual(
    entries.map(({ sector, sectorCount, place }) => [sector, sectorCount, place]),
    [
      [0, 1, 'suspect'],
      [5000, 40, 'remapped'],
    ],
  );
  assert.equal(served[3], '0\n');
  await lab.run('remove', 'disk');
  const hash = await fileHash(lab.path('spare.img'));
  for (const [at, words] of formats.entries()) {
    assert.equal((await lab.run('export', '--spare', 'spare.img', ...words)).output, served[at]);
  }
  assert.equal(await fileHash(lab.path('spare.img')), hash, 'nothing is written');
});

test('the table for dmsetup finds every byte where it is: read through it, the device is as it was', async () => {
  const client = await lab.connect('disk');
  const block = pattern(0, 20_480, 7);
  await client.write(block, 5000 * 512);
  await client.disconnect();
  await lab.run('remove', 'disk');
  const { output, errors } = await lab.run('export', '--spare', 'spare.img', '--format', 'dmsetup');
  assert.match(
    errors,
    /^dm-remap: export: warning: \S+main\.img: is no block device: put it under a loop device/,
  );
  assert.match(output, /\n5000 40 linear \S+spare\.img \d+\n/);
  // Our own mapped device takes the kernel's tables: a device over this one serves what the table finds.
  writeFileSync(lab.path('device.table'), output);
  const words = [
    'create',
    'copy',
    '--main-table',
    'device.table',
    '--spare',
    's2.img',
    '--create-spare',
    '32M',
  ];
  await lab.mustRun(...words);
  const copy = await lab.connect('copy');
  const bytes = new Uint8Array(2 * mib);
  for (let offset = 0; offset < sizeBytes; offset += bytes.length) {
    await copy.read(bytes, offset);
    const expected = pattern(offset, bytes.length, 1);
    const at = 5000 * 512 - offset;
    if (at >= 0 && at < bytes.length) expected.set(block, at);
    assert.ok(Buffer.from(bytes).equals(expected), `at ${offset}`);
  }
  await copy.disconnect();
  await lab.mustRun('remove', 'copy');
});

test('what cannot be listed or noted is refused in one line', async () => {
  await lab.mustFail(ExitCode.usage, /of which device\?/, 'export');
  await lab.mustFail(ExitCode.usage, /of which device\?/, 'export', 'disk', '--spare', 'spare.img');
  await lab.mustFail(ExitCode.usage, /--format tar: expected one of/, 'export', 'disk', '--format', 'tar');
  await lab.mustFail(ExitCode.usage, /--block-bytes 700: expected a power/, 'export', 'disk', '-b', '700');
  await lab.mustFail(
    ExitCode.usage,
    /--of spare: expected device or main/,
    'export',
    'disk',
    '--of',
    'spare',
  );
  await lab.mustFail(
    ExitCode.usage,
    /dmsetup tells everything/,
    'export',
    'disk',
    '--format',
    'dmsetup',
    '--of',
    'main',
  );
  await lab.mustFail(ExitCode.notASpare, /not a dm-remap spare/, 'export', '--spare', 'main.img');
  await lab.mustFail(ExitCode.notFound, /no such device/, 'export', 'nobody');
  await lab.mustFail(
    ExitCode.notFound,
    /none: no such file; expected a list of bad sectors/,
    'import',
    'disk',
    'none',
  );
  await lab.mustFail(
    ExitCode.failed,
    /run: is a directory; expected a list of bad sectors/,
    'import',
    'disk',
    'run',
  );
  await lab.mustFail(ExitCode.usage, /line 1/, 'import', 'disk', 'spare.img');
  writeFileSync(lab.path('outside'), '65536\n');
  await lab.mustFail(ExitCode.usage, /expected less than 131072/, 'import', 'disk', 'outside');
  assert.equal(await lab.mustRun('message', 'disk', '0', 'lost'), '', 'nothing was noted');
});

test('info tells facts with the labels of dmsetup', async () => {
  const client = await lab.connect('disk');
  assert.match(
    await lab.mustRun('info', 'disk'),
    /^Name: +disk\nState: +ACTIVE\nOpen count: +1\nNumber of targets: 1\nSize: +67108864 bytes\n(.*\n)+Table: +0 131072 remap /,
  );
  await client.disconnect();
  await lab.mustRun('suspend', 'disk');
  const [info]: unknown[] = JSON.parse(await lab.mustRun('info', '--json'));
  assertShape('info', JSON.stringify(info));
  assert.match(await lab.mustRun('info'), /State: +SUSPENDED/);
  await lab.mustRun('resume', 'disk');
});
