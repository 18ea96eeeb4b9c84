import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { DeviceEvent } from '../../../src/device/event-kinds.ts';
import { DiskEvents, noRoomIntervalMs, stateLookIntervalMs } from '../../../src/device/log/disk-events.ts';
import { gatherWindowMaxMs, gatherWindowMinMs } from '../../../src/device/log/span-gatherer.ts';
import { StateCause } from '../../../src/metadata/mapping-state.ts';
import { type GranuleState, healthyState } from '../../../src/remap/table/granule-table.ts';
import { HandClock } from '../hand-clock.ts';

let clock: HandClock;
let events: DeviceEvent[];
let state: string;
let freeSlots: number;
let disk: DiskEvents;

/** What is told behind the turn has been told. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const moved = (granule: number, cause: number = StateCause.writeError): GranuleState => ({
  ...healthyState(granule),
  slot: 40 + granule,
  held: 0xff,
  cause,
});

function move(granule: number, cause?: number): void {
  disk.granuleChanged(healthyState(granule), moved(granule, cause));
}

beforeEach(() => {
  clock = new HandClock();
  events = [];
  state = 'ok';
  freeSlots = 100;
  disk = new DiskEvents({
    clock,
    ticks: clock,
    events: { append: (event) => events.push(event) },
    granuleBytes: 4096,
    state: () => state,
    slots: () => ({ total: 100, free: freeSlots }),
  });
});

afterEach(() => {
  disk.close();
  assert.equal(clock.waitingCount, 0, 'I24: no timer is left');
});

test('I11 a disk that does not change is never told of', () => {
  clock.advance(10 * stateLookIntervalMs);
  assert.deepEqual(events, []);
});

test('R15 a full file system is told at once, then once a minute with how many writes it refused', () => {
  disk.roomRefused('main');
  for (let count = 0; count < 5; count += 1) disk.roomRefused('main');
  disk.roomRefused('spare');
  clock.advance(noRoomIntervalMs);
  disk.roomRefused('main');
  assert.deepEqual(events, [
    { kind: 'no-room', disk: 'main', writes: 1 },
    { kind: 'no-room', disk: 'spare', writes: 1 },
    { kind: 'no-room', disk: 'main', writes: 6 },
  ]);
});

test('the first move is told at once, all of one turn as one', async () => {
  move(10);
  move(12);
  assert.deepEqual(events, []);
  await turn();
  assert.deepEqual(events, [
    {
      kind: 'remapped',
      granules: 2,
      sectors: 16,
      firstSector: 80,
      lastSector: 103,
      causes: { writeError: 2 },
    },
  ]);
});

test('I11 a storm is one event a window, ever longer ones, and no granule is missing from their sum', async () => {
  let sent = 0;
  for (let ms = 0; ms < 600_000; ms += 100) {
    for (let at = 0; at < 20; at += 1) {
      move(sent, sent % 2 === 0 ? StateCause.writeError : StateCause.timeout);
      sent += 1;
    }
    await turn();
    clock.advance(100);
  }
  disk.close();
  assert.ok(events.length < 20, `${events.length} lines in ten minutes`);
  const sum = { granules: 0, sectors: 0, writeError: 0, timeout: 0 };
  for (const event of events) {
    assert.ok(event.kind === 'remapped');
    sum.granules += event.granules;
    sum.sectors += event.sectors;
    sum.writeError += event.causes['writeError'] ?? 0;
    sum.timeout += event.causes['timeout'] ?? 0;
  }
  assert.deepEqual(sum, { granules: sent, sectors: 8 * sent, writeError: sent / 2, timeout: sent / 2 });
});

test('after a quiet window the next move is told at once again', async () => {
  move(1);
  await turn();
  move(2);
  await turn();
  assert.equal(events.length, 1);
  clock.advance(gatherWindowMinMs);
  assert.equal(events.length, 2);
  clock.advance(gatherWindowMaxMs);
  move(3);
  await turn();
  assert.equal(events.length, 3);
});

test('what is lost, found again, saved and brought home is told by its sectors', async () => {
  const lost: GranuleState = { ...healthyState(4), unreadable: 0b0110, gone: 0b1000 };
  disk.granuleChanged(healthyState(4), lost);
  await turn();
  disk.granuleChanged(lost, moved(4, StateCause.salvage));
  await turn();
  disk.granuleChanged(moved(4), healthyState(4));
  await turn();
  assert.deepEqual(events, [
    { kind: 'unreadable', sectors: 2, firstSector: 33, lastSector: 34 },
    { kind: 'gone', sectors: 1, firstSector: 35, lastSector: 35 },
    { kind: 'saved-by-salvage', granules: 1, sectors: 8, firstSector: 32, lastSector: 39 },
    { kind: 'lost-cleared', sectors: 3, firstSector: 33, lastSector: 35 },
    { kind: 'taken-home', granules: 1, sectors: 8, firstSector: 32, lastSector: 39 },
  ]);
});

test('a slot that proved bad is told by its sectors on the spare', async () => {
  disk.slotRetired(3);
  await turn();
  assert.deepEqual(events, [{ kind: 'slot-retired', slots: 1, sectors: 8, firstSector: 24, lastSector: 31 }]);
});

test('a state is told once, behind the change that made it', async () => {
  move(1);
  state = 'spare-full';
  await turn();
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['remapped', 'state-changed'],
  );
  disk.stateMayHaveChanged();
  await turn();
  assert.equal(events.length, 2);
  state = 'ok';
  clock.advance(stateLookIntervalMs);
  assert.deepEqual(events.at(-1), { kind: 'state-changed', from: 'spare-full', to: 'ok' });
});

test('a way that closes and opens is told with how long it was closed', () => {
  disk.pathChanged(true, { disk: 'main', direction: 'write', awayMs: 0 });
  disk.pathChanged(false, { disk: 'main', direction: 'write', awayMs: 1_234.5 });
  assert.deepEqual(events, [
    { kind: 'path-lost', disk: 'main', direction: 'write' },
    { kind: 'path-back', disk: 'main', direction: 'write', awayMs: 1_235 },
  ]);
});

test('what is not told yet is told at the end', async () => {
  move(1);
  await turn();
  move(2);
  state = 'main-failed';
  disk.close();
  await turn();
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['remapped', 'remapped', 'state-changed'],
  );
});

test('a spare that fills is told of at 80 and at 90 %, each once until it is well below again', async () => {
  const fillings = async (free: number): Promise<number[]> => {
    events.length = 0;
    freeSlots = free;
    disk.stateMayHaveChanged();
    await turn();
    return events.map((event) => (event.kind === 'spare-filling' ? event.percent : Number.NaN));
  };
  assert.deepEqual(await fillings(21), []);
  assert.deepEqual(await fillings(20), [80]);
  assert.deepEqual(await fillings(15), []);
  assert.deepEqual(await fillings(10), [90]);
  assert.deepEqual(await fillings(0), [], 'full is a state of its own');
  assert.deepEqual(await fillings(12), [], 'at its border');
  assert.deepEqual(await fillings(9), []);
  assert.deepEqual(await fillings(16), []);
  assert.deepEqual(await fillings(10), [90]);
  assert.deepEqual(await fillings(60), []);
  assert.deepEqual(await fillings(5), [95]);
});
