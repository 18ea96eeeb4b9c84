import assert from 'node:assert/strict';
import { closeSync, copyFileSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { ownHostIdentity } from '../../src/device/host/host-identity.ts';
import { encodeMark, markPlaces } from '../../src/metadata/in-use-mark.ts';
import { decodeSuperblock, type SharedFacts } from '../../src/metadata/superblock.ts';
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

function factsOn(spare: Uint8Array): SharedFacts {
  const found = decodeSuperblock(spare.subarray(64 * kib, 64 * kib + 4096));
  assert.ok(found.found === 'superblock');
  return found.superblock.shared;
}

/** As if this process of the tests served the spare from a program that takes no locks, over a network for example. */
function markInUse(): void {
  const path = lab.path('spare.img');
  const bytes = readFileSync(path);
  const { uuid, layout } = factsOn(bytes);
  const host = ownHostIdentity();
  assert.ok(host !== undefined);
  const block = new Uint8Array(4096);
  const rest = { nonce: '5a'.repeat(8), heartbeat: 1e6, writtenUnixSeconds: 1e9, intervalMs: 10_000 };
  encodeMark(block, uuid, { ...host, ...rest, released: false });
  for (const place of markPlaces(layout)) bytes.set(block, place);
  writeFileSync(path, bytes);
}

test('M11 every command that writes to a spare leaves one alone that somebody uses', async () => {
  await lab.mustRun('remove', 'disk');
  await dump();
  markInUse();
  const hash = await fileHash(lab.path('spare.img'));
  const commands = [
    ['adopt', 'spare.img'],
    ['adopt-main', 'spare.img', '--main', 'main.img'],
    ['metadata', 'repair', 'spare.img', '--yes'],
    restore,
    ['create', 'other', '--main', 'main.img', '--spare', 'spare.img', '--overwrite-spare'],
    ['wipe', 'spare.img', '--yes'],
  ];
  for (const words of commands) {
    await lab.mustFail(ExitCode.busy, /spare\.img: in use by process \d+ of .*stop it there first/, ...words);
  }
  // Where no superblock is left only the dump knows whose mark it is.
  const whole = readFileSync(lab.path('spare.img'));
  overwrite('spare.img', 64 * kib, 8 * kib);
  overwrite('spare.img', spareBytes - mib, 8 * kib);
  await lab.mustFail(ExitCode.busy, /spare\.img: in use by process/, ...restore);
  writeFileSync(lab.path('spare.img'), whole);
  assert.equal(await fileHash(lab.path('spare.img')), hash);
  const forced = await lab.mustRun('metadata', 'repair', 'spare.img', '--yes', '--force-takeover');
  assert.match(forced, /note the spare was taken over by force from process \d+ of/);
  await lab.mustRun('adopt', 'spare.img');
  await lab.mustRun(...assemble);
  await assertMoved();
});

test('M12 a dump goes onto no copy of its spare, and the original stays what it is', async () => {
  await lab.mustRun('remove', 'disk');
  await dump();
  copyFileSync(lab.path('spare.img'), lab.path('copy.img'));
  const ontoCopy = ['metadata', 'restore', 'disk.dump', 'copy.img', '--yes'];
  await lab.mustFail(ExitCode.refused, /is a copy of a spare.*dm-remap adopt/, ...ontoCopy);
  const damaged = readFileSync(lab.path('copy.img'));
  for (const place of [64 * kib, spareBytes - mib]) damaged.fill(0x5a, place, place + 8 * kib);
  writeFileSync(lab.path('copy.img'), damaged);
  const hash = await fileHash(lab.path('copy.img'));
  await lab.mustFail(ExitCode.refused, /the dump is of another disk.*--force/, ...ontoCopy);
  assert.equal(await fileHash(lab.path('copy.img')), hash);
  await lab.mustRun(...assemble);
  await assertMoved();
  await lab.mustRun('remove', 'disk');
  await dump();
  await lab.mustRun(...ontoCopy, '--force');
  await lab.mustRun('adopt', 'copy.img');
  await lab.mustRun('assemble', '--spare', 'copy.img');
  await assertMoved();
});

test('M12 a dump older than what this host knows goes only by force onto a spare with nothing but a checkpoint', async () => {
  await lab.mustRun('remove', 'disk');
  await dump();
  await lab.mustRun(...assemble);
  await lab.mustRun('message', 'disk', '0', 'remap', '80', '8');
  await lab.mustRun('remove', 'disk');
  const { layout } = factsOn(readFileSync(lab.path('spare.img')));
  for (const { superblockOffset, journalOffsets } of layout.replicas) {
    overwrite('spare.img', superblockOffset, 8 * kib);
    for (const offset of journalOffsets) overwrite('spare.img', offset, layout.journalBlocks * 4 * kib);
  }
  const hash = await fileHash(lab.path('spare.img'));
  await lab.mustFail(ExitCode.refused, /this host knows sequence 2, the dump has 1.*--force/, ...restore);
  assert.equal(await fileHash(lab.path('spare.img')), hash);
  await lab.mustRun(...restore, '--force');
  await lab.mustRun(...assemble);
  await assertMoved();
});
