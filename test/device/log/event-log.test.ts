import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import type { DeviceEvent, EventKind } from '../../../src/device/event-kinds.ts';
import { HostState } from '../../../src/device/host/host-state.ts';
import {
  eventsPerWindowMax,
  eventWindowMaxMs,
  eventWindowMinMs,
} from '../../../src/device/log/event-limits.ts';
import { EventLog } from '../../../src/device/log/event-log.ts';
import { eventFileBytesMax } from '../../../src/device/log/event-log-file.ts';
import { EventReader } from '../../../src/device/log/event-reader.ts';
import { parseEventLine, type StoredEvent } from '../../../src/device/log/event-record.ts';
import { HandClock } from '../hand-clock.ts';

const uuid = '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11';

let directory: string;
let path: string;
let logPath: string;
let clock: HandClock;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-events-'));
  path = join(directory, 'state', uuid, 'events.jsonl');
  logPath = join(directory, 'daemon.log');
  clock = new HandClock();
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function openLog(lasting = true): EventLog {
  return new EventLog({
    clock,
    origin: { device: 'disk', uuid, pid: 7 },
    hostState: lasting ? new HostState(join(directory, 'state')) : undefined,
    runtimeFolder: directory,
    logPath,
  });
}

function stored(from: string = path): StoredEvent[] {
  if (!existsSync(from)) return [];
  const lines = readFileSync(from, 'utf8').split('\n');
  assert.equal(lines.pop(), '', 'the last line is whole');
  return lines.map((line) => {
    const event = parseEventLine(line);
    assert.ok(event !== undefined, line);
    return event;
  });
}

async function readAll(): Promise<string[]> {
  const reader = new EventReader(path);
  const events = await reader.read();
  await reader.close();
  return events.map(({ event }) => event.kind);
}

async function until(condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 1_000; attempt += 1) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail('it did not come to that');
}

const storm: DeviceEvent = { kind: 'protocol-error', detail: 'nonsense' };

/** Sums of what a log says of one kind: lines, and the counts of what it left out. */
function told(events: readonly StoredEvent[], kind: EventKind): { lines: number; suppressed: number } {
  let lines = 0;
  let suppressed = 0;
  for (const event of events) {
    if (event.kind === kind) lines += 1;
    if (event.kind === 'suppressed' && event.fields['of'] === kind)
      suppressed += Number(event.fields['count']);
  }
  return { lines, suppressed };
}

test('an event is one line of JSON with its time, number, device and process, and one line for people', async () => {
  const log = openLog();
  clock.advance(1_500);
  log.append({ kind: 'suspended', flush: true });
  await log.close();
  assert.deepEqual(stored(), [
    {
      sequence: 1,
      unixMs: 1_500,
      device: 'disk',
      uuid,
      pid: 7,
      level: 'info',
      kind: 'suspended',
      fields: { flush: true },
    },
  ]);
  assert.match(readFileSync(path, 'utf8'), /^\{"v":1,"sequence":1,"time":"1970-01-01T00:00:01\.500Z",/);
  const line = JSON.parse(readFileSync(logPath, 'utf8'));
  assert.equal(line.msg, 'suspended, all that was answered is durable');
  assert.equal(line.kind, 'suspended');
  assert.equal(line.device, 'disk');
  for (const file of [path, logPath]) assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(join(directory, 'state', uuid)).mode & 0o777, 0o700);
});

test('numbers go on over restarts, also when the file was just started anew', async () => {
  for (let round = 0; round < 3; round += 1) {
    const log = openLog();
    log.append({ kind: 'resumed' });
    log.append({ kind: 'resumed' });
    await log.close();
  }
  assert.deepEqual(
    stored().map(({ sequence }) => sequence),
    [1, 2, 3, 4, 5, 6],
  );
  execFileSync('mv', [path, `${path}.1`]);
  const log = openLog();
  log.append({ kind: 'resumed' });
  await log.close();
  assert.equal(stored()[0]!.sequence, 7);
});

test('a line that a power cut tore is ended, and what was written before and comes after is whole', async () => {
  const log = openLog();
  log.append({ kind: 'resumed' });
  await log.close();
  const whole = readFileSync(path, 'utf8');
  for (const torn of ['{"v":1,"sequence":2,"ti', '\0\0\0\0']) {
    writeFileSync(path, whole + torn);
    const next = openLog();
    next.append({ kind: 'resumed' });
    await next.close();
    assert.match(readFileSync(path, 'utf8').split('\n')[2]!, /"sequence":2/);
    const lines = readFileSync(path, 'utf8').split('\n').map(parseEventLine);
    assert.deepEqual(
      lines.map((event) => event?.sequence),
      [1, undefined, 2, undefined],
    );
  }
});

test('I11 a storm of 100 000 is some lines, and what was left out is counted exactly', async () => {
  const log = openLog();
  const total = 100_000;
  for (let at = 0; at < total; at += 1) {
    log.append(storm);
    if (at % 1_000 === 0) clock.advance(700);
  }
  clock.advance(eventWindowMaxMs);
  await log.close();
  const { lines, suppressed } = told(stored(), 'protocol-error');
  assert.equal(lines + suppressed, total, 'each is a line or counted');
  assert.equal(log.status().suppressed, suppressed);
  assert.ok(lines <= 4 * eventsPerWindowMax, `${lines} lines in 70 s`);
  assert.ok(stored().length < 100);
  const people = readFileSync(logPath, 'utf8').trim().split('\n');
  assert.equal(people.length, stored().length, 'both logs say the same');
});

test('I11 other kinds are told while one storms, and the storm is told when its window ends', async () => {
  const log = openLog();
  for (let at = 0; at < eventsPerWindowMax + 30; at += 1) log.append(storm);
  log.append({ kind: 'resumed' });
  clock.advance(eventWindowMinMs);
  log.append(storm);
  await log.close();
  const events = stored();
  assert.deepEqual(told(events, 'protocol-error'), { lines: eventsPerWindowMax + 1, suppressed: 30 });
  assert.deepEqual(
    events.slice(-3).map(({ kind }) => kind),
    ['resumed', 'suppressed', 'protocol-error'],
  );
  assert.equal(clock.waitingCount, 0, 'I24: no timer is left');
});

test('I11 whatever comes when, each event is a line or is counted', async () => {
  const steps = fc.array(fc.record({ count: fc.nat(60), waitMs: fc.nat(40_000), other: fc.boolean() }), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(steps, async (plan) => {
      rmSync(path, { force: true });
      const log = openLog();
      const sent = { 'protocol-error': 0, resumed: 0 };
      for (const { count, waitMs, other } of plan) {
        for (let at = 0; at < count; at += 1) log.append(other ? { kind: 'resumed' } : storm);
        sent[other ? 'resumed' : 'protocol-error'] += count;
        clock.advance(waitMs);
      }
      await log.close();
      for (const kind of ['protocol-error', 'resumed'] as const) {
        const { lines, suppressed } = told(stored(), kind);
        assert.equal(lines + suppressed, sent[kind], kind);
      }
    }),
    { numRuns: 60 },
  );
});

test('I10 the file and the piece before it are bounded, and no line is cut where one ends', async () => {
  const log = openLog();
  for (let at = 0; at < 600; at += 1) {
    log.append({ kind: 'start-failed', reason: 'x'.repeat(7_000) });
    clock.advance(eventWindowMinMs);
    if (at % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await log.close();
  for (const file of [path, `${path}.1`]) assert.ok(statSync(file).size <= eventFileBytesMax);
  assert.ok(statSync(`${path}.1`).size > eventFileBytesMax / 2);
  const sequences = [...stored(`${path}.1`), ...stored()].map(({ sequence }) => sequence);
  assert.deepEqual(
    sequences,
    sequences.map((_, at) => sequences[0]! + at),
    'no number is missing',
  );
  assert.equal(sequences.at(-1), 600);
});

test('I10 an event of any length is one line of bounded length that says that it was cut', async () => {
  const log = openLog();
  log.append({ kind: 'fail-stop', origin: 'x', error: 'ä'.repeat(100_000), stack: 'line\n'.repeat(50_000) });
  log.append({
    kind: 'serving',
    version: '1',
    engine: 'node',
    engineReason: '',
    exports: [],
    notes: Array(10_000).fill('y'.repeat(900)),
  });
  await log.close();
  for (const line of readFileSync(path, 'utf8').split('\n')) assert.ok(Buffer.byteLength(line) <= 8_192);
  assert.deepEqual(
    stored().map(({ kind, fields }) => [kind, fields['cut']]),
    [
      ['fail-stop', true],
      ['serving', true],
    ],
  );
});

test('without a place that lasts, events are beside the sockets, and the status says so', async () => {
  const log = openLog(false);
  log.append({ kind: 'resumed' });
  assert.deepEqual(log.status(), {
    path: join(directory, 'events.jsonl'),
    trouble: 'goes with the device: no folder for it, set DM_REMAP_STATE_DIR',
    dropped: 0,
    suppressed: 0,
  });
  await log.close();
  assert.equal(stored(join(directory, 'events.jsonl')).length, 1);
});

test('a file that was removed is made again with the next event but one', async () => {
  const log = openLog();
  log.append({ kind: 'resumed' });
  await until(() => stored().length === 1);
  rmSync(join(directory, 'state'), { recursive: true });
  let sent = 1;
  // One goes to the file that nobody can see any more; what is sent before that is noticed goes there too.
  await until(() => {
    if (existsSync(path)) return true;
    clock.advance(eventWindowMinMs);
    log.append({ kind: 'resumed' });
    sent += 1;
    return false;
  });
  await log.close();
  const sequences = stored().map(({ sequence }) => sequence);
  assert.ok(sequences[0]! >= 3);
  assert.equal(sequences.at(-1), sent);
});

test('a log that cannot be written stops nobody: what is missing is counted, and told when it works again', async () => {
  writeFileSync(join(directory, 'state'), 'no folder');
  const log = openLog();
  for (let sent = 1; sent <= 5; sent += 2) {
    log.append({ kind: 'resumed' });
    await until(() => log.status().dropped === sent);
    if (sent < 5) log.append({ kind: 'resumed' });
  }
  assert.equal(log.status().dropped, 5);
  assert.match(log.status().trouble, /ENOTDIR|EEXIST|not a directory/);
  rmSync(join(directory, 'state'));
  log.append({ kind: 'resumed' });
  await until(() => log.status().trouble === '');
  await log.close();
  const events = stored();
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['resumed', 'dropped'],
  );
  assert.equal(events[1]!.fields['count'], 5);
  const people = readFileSync(logPath, 'utf8').trim().split('\n');
  assert.equal(people.length, 7, 'people read them all the same');
});

test('last words are in the files when the call returns, behind what waited', async () => {
  const log = openLog();
  log.append({ kind: 'resumed' });
  await until(() => stored().length === 1 && existsSync(logPath));
  log.append({ kind: 'suspended', flush: false });
  log.lastWords({ kind: 'fail-stop', origin: 'test', error: 'AssertionFailure', stack: '' });
  const told = await readAll();
  assert.deepEqual(told, ['resumed', 'suspended', 'fail-stop']);
  assert.match(readFileSync(logPath, 'utf8'), /internal error, stopping: AssertionFailure/);
  await log.close();
  assert.deepEqual(await readAll(), told, 'what a thread wrote as well is the same lines');
});

test('the thread that appends never waits, though the disk under the log hangs', {
  skip: process.getuid?.() !== 0 && 'needs root for a pipe in place of the file',
}, async () => {
  // A pipe that nobody reads hangs whoever opens it to write: in a thread of libuv, not here.
  execFileSync('mkdir', ['-p', join(directory, 'state', uuid)]);
  execFileSync('mkfifo', [logPath]);
  const log = openLog();
  const startMs = performance.now();
  for (let at = 0; at < 1_000; at += 1) {
    log.append({ kind: 'resumed' });
    clock.advance(eventWindowMinMs);
  }
  assert.ok(performance.now() - startMs < 1_000);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const reader = readFileSyncOfPipe(logPath);
  await reader;
  await log.close();
  assert.equal(stored().filter(({ kind }) => kind === 'resumed').length, 1_000);
});

/** Opens the pipe, so that the writer goes on, and reads some of it. */
async function readFileSyncOfPipe(pipe: string): Promise<void> {
  const { open } = await import('node:fs/promises');
  const handle = await open(pipe, 'r');
  await handle.read(Buffer.alloc(65_536));
  await handle.close();
}

test('a host that can keep no events says so before anybody needs them', async () => {
  writeFileSync(join(directory, 'state'), 'not a folder');
  const log = openLog();
  assert.match((await log.whyNotLasting()) ?? '', /ENOTDIR|EEXIST|not a directory/);
  await log.close();
  rmSync(join(directory, 'state'));
  const well = openLog();
  assert.equal(await well.whyNotLasting(), undefined);
  await well.close();
  assert.equal(clock.waitingCount, 0);
});
