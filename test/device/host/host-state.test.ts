import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { HostState, rememberedDevicesMax } from '../../../src/device/host/host-state.ts';
import { HostStateWriter, lookIntervalMs, tableDelayMs } from '../../../src/device/host/host-state-writer.ts';
import { RecordedState } from '../../../src/device/host/recorded-state.ts';
import { stateDirectory } from '../../../src/device/host/state-directory.ts';
import { type MappingRecord, noSlot } from '../../../src/metadata/mapping-state.ts';
import type { MetadataStatus } from '../../../src/metadata/metadata-store.ts';
import { HandClock } from '../hand-clock.ts';

const uuid = '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11';
const device = {
  uuid,
  name: 'disk',
  mainSizeBytes: 2 ** 30,
  logicalBlockBytes: 512,
  granuleBytes: 4096,
  mainIdentity: { kind: 'file', path: '/main.img' },
  spareIdentity: { kind: 'file', path: '/spare.img' },
};
const session = {
  uuid,
  sequence: 3,
  sessionNonce: '00ff00ff00ff00ff',
  generation: 2,
  closedRevision: 0,
  writtenUnixSeconds: 1_790_000_000,
};

let folder: string;
let state: HostState;
let clock: HandClock;
let complaints: string[];
let status: { -readonly [Key in keyof MetadataStatus]: MetadataStatus[Key] };

function lost(granule: number): MappingRecord {
  const bits = { held: 0, unreadable: 1, gone: 0, flags: 0 };
  return { type: 'granules', granule, granuleCount: 1, slot: noSlot, ...bits, cause: 2, unixSeconds: 5 };
}

function writerOf(records: readonly MappingRecord[] = [lost(4)]): HostStateWriter {
  return new HostStateWriter({
    clock,
    state,
    table: new RecordedState(records),
    status: () => status,
    device,
    complain: (event) => complaints.push(event),
  });
}

/** Lets time pass, and waits for the real file system. */
async function passTime(writer: HostStateWriter, milliseconds: number): Promise<void> {
  clock.advance(milliseconds);
  await writer.drained();
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-state-'));
  state = new HostState(join(folder, 'a', 'state'));
  clock = new HandClock();
  complaints = [];
  status = {
    state: 'open',
    uuid,
    replicasInSync: 2,
    replicasTotal: 2,
    generation: 2,
    sequence: 3,
    acknowledgedSequence: 3,
    sessionNonce: '00ff00ff00ff00ff',
    revision: 7,
    closedCleanly: false,
    journalBlocksUsed: 0,
    journalBlocks: 100,
    commits: 3,
    batches: 3,
    flushes: 3,
    checkpoints: 0,
    checkpointsFailed: 0,
    checkpointRunning: false,
  };
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('M12 the state directory is the named one, that of root, that of XDG, or below HOME', () => {
  assert.equal(stateDirectory({ DM_REMAP_STATE_DIR: '/x' }, 0), '/x');
  assert.equal(stateDirectory({ HOME: '/root' }, 0), '/var/lib/dm-remap');
  assert.equal(stateDirectory({ XDG_STATE_HOME: '/s', HOME: '/h' }, 7), '/s/dm-remap');
  assert.equal(stateDirectory({ XDG_STATE_HOME: 'relative', HOME: '/h' }, 7), '/h/.local/state/dm-remap');
  assert.equal(stateDirectory({}, 7), undefined);
});

test('M12 a session is remembered, replaced whole and forgotten; a damaged one is none', async () => {
  assert.equal(await state.readSession(uuid), undefined);
  await state.writeSession(session);
  await state.writeSession({ ...session, sequence: 4 });
  assert.deepEqual(await state.readSession(uuid), { ...session, sequence: 4 });
  assert.equal(statSync(state.directory).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(join(state.directory, uuid)), ['session']);
  const path = join(state.directory, uuid, 'session');
  writeFileSync(path, readFileSync(path, 'latin1').replace('"sequence":4', '"sequence":9'));
  assert.equal(await state.readSession(uuid), undefined);
  await state.forget(uuid);
  assert.deepEqual(readdirSync(state.directory), []);
});

test('M12 a directory that remembers its greatest number of devices takes no other, and keeps those', async () => {
  for (let device = 0; device < rememberedDevicesMax; device += 1) {
    const name = `00000000-0000-4000-8000-${device.toString(16).padStart(12, '0')}`;
    mkdirSync(join(state.directory, name), { recursive: true });
  }
  await assert.rejects(state.writeSession(session), /remembers 1024 devices already; remove/);
  assert.equal(readdirSync(state.directory).length, rememberedDevicesMax);
});

test('M13 table and session are there soon after the start, whole and by name', async () => {
  const writer = writerOf();
  writer.start();
  await writer.drained();
  await writer.close();
  // A copy of another device that cannot be read keeps nobody from this one.
  mkdirSync(join(state.directory, '00000000-0000-4000-8000-000000000000', 'table'), { recursive: true });
  assert.equal((await state.listTables()).length, 1);
  const copy = await state.readTable(uuid);
  assert.ok(typeof copy === 'object');
  assert.deepEqual(copy.records, [lost(4)]);
  assert.deepEqual([copy.header.name, copy.header.sequence, copy.header.complete], ['disk', 3, false]);
  assert.equal((await state.readSession(uuid))?.sequence, 3);
  assert.deepEqual(complaints, []);
});

test('M13 a commit is noted at the next look and in the copy within 60 s, a checkpoint at the next look', async () => {
  assert.ok(tableDelayMs + 2 * lookIntervalMs < 60_000);
  const writer = writerOf();
  writer.start();
  await writer.drained();
  const copied = async (): Promise<number | undefined> => {
    const copy = await state.readTable(uuid);
    return typeof copy === 'object' ? copy.header.sequence : undefined;
  };
  Object.assign(status, { commits: 4, acknowledgedSequence: 4 });
  await passTime(writer, lookIntervalMs);
  assert.deepEqual([(await state.readSession(uuid))?.sequence, await copied()], [4, 3]);
  let waitedMs = lookIntervalMs;
  while ((await copied()) !== 4 && waitedMs < 60_000) {
    waitedMs += lookIntervalMs;
    await passTime(writer, lookIntervalMs);
  }
  assert.ok(waitedMs < 60_000, `${waitedMs} ms`);
  Object.assign(status, { commits: 5, acknowledgedSequence: 5, checkpoints: 1 });
  await passTime(writer, lookIntervalMs);
  assert.equal(await copied(), 5);
  await writer.close();
});

test('M12 M13 after a clean end both files say so', async () => {
  const writer = writerOf();
  writer.start();
  Object.assign(status, { state: 'closed', closedCleanly: true, revision: 9 });
  await writer.close();
  assert.equal((await state.readSession(uuid))?.closedRevision, 9);
  const copy = await state.readTable(uuid);
  assert.ok(typeof copy === 'object' && copy.header.complete);
});

test('M13 what cannot be written is told once, shown, and stops nothing', async () => {
  writeFileSync(join(folder, 'a'), 'a file where a folder should be');
  const writer = writerOf();
  writer.start();
  await writer.drained();
  await passTime(writer, lookIntervalMs);
  assert.equal(complaints.length, 1);
  assert.match(complaints[0] ?? '', /cannot be written: .*ENOTDIR/);
  assert.match(writer.report().trouble, /ENOTDIR/);
  await writer.close();
  assert.equal(complaints.length, 1);
});
