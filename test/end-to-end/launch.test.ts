import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DeviceLab } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

/** It is what it has to be already: it does not begin again, which closes all but the standard descriptors. */
const asLaunched = { DM_REMAP_IO_FLUSHER_TRIED: '1' };

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
    env: { ...lab.environment(), ...asLaunched },
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

/** Both forms of the program: Node makes standard input non-blocking for the one and not for the other. */
const programs = { 'one file': 'program/cli/main.cjs', modules: 'src/cli/main.js' };
const distribution = fileURLToPath(new URL('../..', import.meta.url));

for (const [form, path] of Object.entries(programs)) {
  const program = join(distribution, path);
  const skip = existsSync(program) ? false : 'not made: node scripts/bundle.mjs';

  test(`a process waits for a launcher that is late: ${form}`, { skip }, async () => {
    lab.image('main.img', 32 * mib);
    lab.image('spare.img', 24 * mib);
    await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
    await lab.mustRun('remove', 'disk');
    const words = ['serve', 'disk', '--spare', 'spare.img', '--main', 'main.img', '--report-descriptor', '3'];
    const { child, ended } = startWith(program, words);
    let report = '';
    child.stdio[3]?.on('data', (piece) => {
      report += String(piece);
    });
    await untilItWaits(child.pid!);
    assert.equal(report, '');
    for (const part of ['be', 'gin\n']) {
      child.stdin?.write(part);
      await pause(lateMs);
    }
    child.stdin?.end();
    while (!report.endsWith('\n')) await pause(5);
    assert.equal(JSON.parse(report).ready, true);
    await lab.mustRun('remove', 'disk');
    assert.equal(await ended, 0);
  });

  test(`a command waits for a table that comes late: ${form}`, { skip }, async () => {
    const image = lab.image('main.img', 32 * mib);
    lab.image('spare.img', 24 * mib);
    const words = ['create', 'disk', '--main-table', '-', '--spare', 'spare.img'];
    const { child, ended } = startWith(program, words);
    await untilItWaits(child.pid!);
    child.stdin?.end(`0 ${(32 * mib) / 512} linear ${image} 0\n`);
    assert.equal(await ended, 0);
  });
}

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

function startWith(
  program: string,
  words: readonly string[],
): { child: ChildProcess; ended: Promise<unknown> } {
  const child = spawn(process.execPath, [program, ...words], {
    cwd: lab.folder,
    stdio: ['pipe', 'ignore', 'inherit', 'pipe'],
    env: { ...lab.environment(), ...asLaunched },
  });
  const ended = new Promise((resolve) => {
    child.once('close', resolve);
  });
  return { child, ended };
}

const lateMs = 100;

/** It has loaded its program, and had time to ask for what is not there yet. One that did not wait has ended: throws. */
async function untilItWaits(pid: number): Promise<void> {
  while (!readFileSync(`/proc/${pid}/maps`, 'latin1').includes('koffi.node')) await pause(5);
  await pause(3 * lateMs);
  assert.ok(existsSync(`/proc/${pid}/exe`), 'it has ended');
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
