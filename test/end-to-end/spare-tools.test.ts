import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { DeviceLab, fileHash, pattern } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const kib = 1024;
const granuleBytes = 4096;
const spareBytes = 32 * mib;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('spare.img', spareBytes);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
  const client = await lab.connect('disk');
  await client.write(pattern(granuleBytes, granuleBytes, 5), granuleBytes);
  await client.flush();
  await client.disconnect();
});

afterEach(async () => {
  await endLab(lab);
});

const assemble = ['assemble', '--spare', 'spare.img'];

function overwrite(image: string, offset: number, length: number): void {
  const descriptor = openSync(lab.path(image), 'r+');
  writeSync(descriptor, Buffer.alloc(length, 0x5a), 0, length, offset);
  closeSync(descriptor);
}

async function assertMoved(): Promise<void> {
  const client = await lab.connect('disk');
  const bytes = new Uint8Array(granuleBytes);
  await client.read(bytes, granuleBytes);
  await client.disconnect();
  assert.ok(Buffer.from(bytes).equals(pattern(granuleBytes, granuleBytes, 5)), 'the moved bytes');
}

async function dump(): Promise<void> {
  writeFileSync(lab.path('disk.dump'), await lab.mustRun('metadata', 'dump', 'spare.img'));
}

const restore = ['metadata', 'restore', 'disk.dump', 'spare.img', '--yes'];

test('M13 the tools leave a spare that is served alone', async () => {
  for (const words of [
    ['wipe', 'spare.img', '--yes'],
    ['metadata', 'check', 'spare.img'],
    ['metadata', 'dump', 'spare.img'],
    ['metadata', 'repair', 'spare.img', '--yes'],
  ]) {
    await lab.mustFail(ExitCode.busy, /spare\.img: in use/, ...words);
  }
  await assertMoved();
});

test('M13 a good spare has no findings, a damaged replica is found, repaired, and no record is lost', async () => {
  await lab.kill('disk');
  assert.equal(await lab.mustRun('metadata', 'check', 'spare.img'), '');
  overwrite('spare.img', 64 * kib, 8 * kib);
  const check = await lab.run('metadata', 'check', 'spare.img');
  assert.equal(check.exitCode, ExitCode.notASpare);
  assert.match(check.output, /^spare\.img: replica 0 at byte 65536: has no valid superblock$/m);
  const json = await lab.run('metadata', 'check', 'spare.img', '--json');
  assert.equal((JSON.parse(json.output) as { findings: string[] }).findings.length, 1);
  await lab.mustFail(ExitCode.refused, /--yes does it/, 'metadata', 'repair', 'spare.img');
  const repaired = await lab.mustRun('metadata', 'repair', 'spare.img', '--yes');
  assert.match(repaired, /disk: 2 of 2 replicas valid, 1 before/);
  assert.equal(await lab.mustRun('metadata', 'check', 'spare.img'), '');
  await lab.mustRun(...assemble);
  await assertMoved();
});

test('M13 a dump brings back a spare whose superblocks are all gone', async () => {
  await lab.mustRun('remove', 'disk');
  await dump();
  overwrite('spare.img', 64 * kib, 8 * kib);
  overwrite('spare.img', spareBytes - mib, 8 * kib);
  await lab.mustFail(ExitCode.notASpare, /not a dm-remap spare/, ...assemble);
  assert.match(await lab.mustRun(...restore), /disk: 1 records restored/);
  assert.equal(await lab.mustRun('metadata', 'check', 'spare.img'), '');
  await lab.mustRun(...assemble);
  await assertMoved();
});

test('M13 a dump older than the spare is restored only by force, and goes nowhere but to its spare', async () => {
  await lab.mustRun('remove', 'disk');
  await dump();
  await lab.mustRun(...assemble);
  await lab.mustRun('message', 'disk', '0', 'remap', '80', '8');
  await lab.mustRun('remove', 'disk');
  const hash = await fileHash(lab.path('spare.img'));
  await lab.mustFail(ExitCode.refused, /has records up to sequence \d+, the dump only up to/, ...restore);
  assert.equal(await fileHash(lab.path('spare.img')), hash);
  lab.image('blank.img', spareBytes);
  const elsewhere = ['metadata', 'restore', 'disk.dump', 'blank.img', '--yes'];
  await lab.mustFail(ExitCode.notASpare, /nothing on it belongs to the device of this dump/, ...elsewhere);
  await lab.mustRun(...restore, '--force');
  await lab.mustRun(...assemble);
  await assertMoved();
});

test('M13 a dump that was changed or cut, and what is none, is refused', async () => {
  await lab.mustRun('remove', 'disk');
  await dump();
  const text = readFileSync(lab.path('disk.dump'), 'utf8');
  assert.match(text, /^granules 1 1 \d+ ff 0 0 /m);
  const refuse = async (what: RegExp, changed: string): Promise<void> => {
    writeFileSync(lab.path('disk.dump'), changed);
    await lab.mustFail(ExitCode.usage, what, ...restore);
  };
  await refuse(/checksum is wrong/, text.replace('granules 1 1', 'granules 2 1'));
  await refuse(/cut short/, text.slice(0, -20));
  await refuse(/is no dump/, 'hello\n');
  await lab.mustFail(
    ExitCode.notFound,
    /none\.dump/,
    'metadata',
    'restore',
    'none.dump',
    'spare.img',
    '--yes',
  );
  await lab.mustFail(ExitCode.refused, /--yes does it/, 'metadata', 'restore', 'disk.dump', 'spare.img');
});

test('M17 wipe takes every superblock away, and nothing else', async () => {
  await lab.mustRun('remove', 'disk');
  await lab.mustFail(
    ExitCode.refused,
    /spare of disk; what was moved to it is lost.*--yes/,
    'wipe',
    'spare.img',
  );
  await lab.mustFail(ExitCode.notASpare, /main\.img: not a dm-remap spare/, 'wipe', 'main.img', '--yes');
  await lab.mustFail(ExitCode.notFound, /none\.img/, 'wipe', 'none.img', '--yes');
  const before = readFileSync(lab.path('spare.img'));
  assert.match(
    await lab.mustRun('wipe', 'spare.img', '--yes'),
    /superblocks wiped, it was the spare of disk/,
  );
  const after = readFileSync(lab.path('spare.img'));
  for (const place of [64 * kib, spareBytes - mib]) {
    before.fill(0, place, place + 8 * kib);
    assert.ok(after.subarray(place, place + 8 * kib).every((byte) => byte === 0));
  }
  assert.ok(after.equals(before), 'nothing but superblocks');
  assert.equal(
    await lab.mustRun('scan', 'main.img', '--json').then((text) => JSON.parse(text)[0].state),
    'no-spare',
  );
  await lab.mustFail(ExitCode.notASpare, /not a dm-remap spare/, ...assemble);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
});

test('M15 scan tells spares, whose they are, and whether their main is there', async () => {
  const rows = async (...paths: string[]): Promise<Record<string, string>[]> =>
    JSON.parse(await lab.mustRun('scan', ...paths, '--json')) as Record<string, string>[];
  const [served, none, gone] = await rows('spare.img', 'main.img', 'none.img');
  assert.deepEqual([served!['name'], served!['servedAs'], served!['main']], ['disk', 'disk', 'found']);
  assert.equal(none!['state'], 'no-spare');
  assert.deepEqual([gone!['state'], /no such file/.test(gone!['detail']!)], ['failed', true]);
  copyFileSync(lab.path('spare.img'), lab.path('copy.img'));
  const [copy] = await rows('copy.img');
  assert.deepEqual([copy!['servedAs'], copy!['name']], ['', 'disk']);
  assert.match(copy!['copyOf']!, /belongs to .*spare\.img.*this is .*copy\.img/);
  assert.match(await lab.mustRun('scan', 'copy.img'), /copy\.img +copy +disk/);
  await lab.mustRun('remove', 'disk');
  assert.match(
    await lab.mustRun('scan', 'spare.img'),
    /spare\.img +clean +disk +[0-9a-f-]{36} +.*main\.img found/,
  );
  copyFileSync(lab.path('main.img'), lab.path('other.img'));
  renameSync(lab.path('other.img'), lab.path('main.img'));
  assert.equal((await rows('spare.img'))[0]!['main'], 'unproven');
  rmSync(lab.path('main.img'));
  assert.equal((await rows('spare.img'))[0]!['main'], 'missing');
  overwrite('spare.img', 64 * kib + 100, 4 * kib);
  overwrite('spare.img', spareBytes - mib + 100, 4 * kib);
  overwrite('spare.img', 68 * kib + 100, 4000);
  overwrite('spare.img', spareBytes - mib + 4 * kib + 100, 4000);
  assert.equal((await rows('spare.img'))[0]!['state'], 'damaged');
  // The disks of this machine: whatever they carry, looking at them ends well.
  await lab.mustRun('scan');
});
