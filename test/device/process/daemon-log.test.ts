import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import {
  logFileBytesMax,
  logLinesPerWindowMax,
  logWindowMs,
  openDaemonLog,
} from '../../../src/device/process/daemon-log.ts';
import { HandClock } from '../hand-clock.ts';

let directory: string;
let path: string;
let clock: HandClock;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-log-'));
  path = join(directory, 'daemon.log');
  clock = new HandClock();
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const lines = (): { msg: string; suppressed?: number; device: string }[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

test('an event is one line of JSON that names the device, and is in the file at once', () => {
  const log = openDaemonLog(clock, path, 'disk');
  log.warn('something', { sector: 7 });
  assert.deepEqual(
    lines().map((line) => [line.msg, line.device]),
    [['something', 'disk']],
  );
  assert.equal(statSync(path).mode & 0o777, 0o600);
  log.close();
});

test('I11 a storm is cut, counted, and told when the window ends', () => {
  const log = openDaemonLog(clock, path, 'disk');
  for (let at = 0; at < logLinesPerWindowMax + 30; at += 1) log.info('storm');
  assert.equal(lines().length, logLinesPerWindowMax);
  clock.advance(logWindowMs);
  log.info('after');
  const last = lines().slice(-2);
  assert.equal(last[0]!.suppressed, 30);
  assert.equal(last[1]!.msg, 'after');
  log.close();
});

test('I11 what was suppressed last is told at the end', () => {
  const log = openDaemonLog(clock, path, 'disk');
  for (let at = 0; at < logLinesPerWindowMax + 2; at += 1) log.info('storm');
  log.close();
  assert.equal(lines().at(-1)!.suppressed, 2);
});

test('I10 the file and the piece before it are bounded', () => {
  const log = openDaemonLog(clock, path, 'disk');
  const details = { text: 'x'.repeat(100_000) };
  for (let at = 0; at < 30; at += 1) log.info('large', details);
  log.close();
  assert.ok(statSync(path).size <= logFileBytesMax);
  assert.ok(existsSync(`${path}.1`));
  assert.ok(statSync(`${path}.1`).size <= logFileBytesMax);
});

test('a log that cannot be written stops nobody', () => {
  const log = openDaemonLog(clock, '/dev/full', 'disk');
  log.error('lost');
  log.close();
});
