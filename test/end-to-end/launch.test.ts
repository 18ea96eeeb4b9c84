import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DeviceLab } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(async () => {
  await endLab(lab);
});

/** As `create` starts the process of a device: what is said on its standard input is `said`, then the launcher is gone. */
async function launchedWith(said: string, spare: string): Promise<{ code: number | null; report: string }> {
  const words = [
    'serve',
    'disk',
    '--spare',
    spare,
    '--main',
    lab.path('main.img'),
    '--report-descriptor',
    '3',
  ];
  const child = spawn(process.execPath, [lab.program, ...words], {
    stdio: ['pipe', 'ignore', 'inherit', 'pipe'],
    env: lab.environment(),
  });
  let report = '';
  child.stdio[3]?.on('data', (piece) => {
    report += String(piece);
  });
  child.stdin?.end(said);
  const code = await new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  return { code, report };
}

test('a process that is not told to begin touches nothing, says nothing and ends', async () => {
  lab.image('main.img', 32 * mib);
  const spare = lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  await lab.mustRun('remove', 'disk');
  const written = readFileSync(spare);
  for (const said of ['', 'beg', 'other\n']) {
    assert.deepEqual(await launchedWith(said, spare), { code: 1, report: '' }, JSON.stringify(said));
    assert.deepEqual(readdirSync(lab.runtime), []);
  }
  assert.ok(readFileSync(spare).equals(written));
});

test('a process waits for its launcher, and a command for a table that comes late', async () => {
  const image = lab.image('main.img', 32 * mib);
  lab.image('spare.img', 24 * mib);
  const words = ['create', 'disk', '--main-table', '-', '--spare', 'spare.img'];
  const child = spawn(process.execPath, [lab.program, ...words], {
    cwd: lab.folder,
    stdio: ['pipe', 'inherit', 'inherit'],
    env: lab.environment(),
  });
  const ended = new Promise((resolve) => {
    child.once('close', resolve);
  });
  while (!waitsForInput(child.pid!)) await pause(5);
  child.stdin.end(`0 ${(32 * mib) / 512} linear ${image} 0\n`);
  assert.equal(await ended, 0);
});

test('a create that is refused leaves no process behind that it had started already', async () => {
  lab.image('main.img', 32 * mib);
  lab.image('spare.img', 64 * 1024);
  const refused = await lab.run('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  assert.equal(refused.exitCode, 4, refused.errors);
  assert.deepEqual(readdirSync(lab.runtime), []);
});

test('a create that dies leaves no process that serves what it did not finish', async () => {
  lab.image('main.img', 32 * mib);
  const spare = lab.path('spare.img');
  const words = ['create', 'disk', '--main', 'main.img', '--spare', spare, '--create-spare', '64M'];
  const creating = lab.start(...words, '--check-spare');
  // All of the spare is written and read before the device's process is told to begin.
  while (processesOfLab().length < 2) await pause(1);
  creating.child.kill('SIGKILL');
  assert.equal(await creating.ended, null, 'killed, not done');
  while (processesOfLab().length > 0) await pause(10);
  assert.equal(existsSync(join(lab.runtime, 'disk', 'nbd.sock')), false);
});

/** Asleep in read(2) of standard input, by the number of that call on x86-64 and on 64-bit ARM. Throws when it has ended. */
function waitsForInput(pid: number): boolean {
  return /^(?:0|63) 0x0 /.test(readFileSync(`/proc/${pid}/syscall`, 'latin1'));
}

function processesOfLab(): string[] {
  return readdirSync('/proc').filter((entry) => {
    try {
      return readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(lab.folder);
    } catch {
      // No process, or one that has ended.
      return false;
    }
  });
}
