import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { ControlClient } from '../../src/control/client.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { DeviceLab, type StartedCommand } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  const words = ['create', 'disk', '--main', 'main.img', '--spare', 'spare.img', '--create-spare', '32M'];
  await lab.mustRun(...words);
  mkdirSync(lab.path('bin'));
  script('bin/sendmail', `echo "sent $*" >> ${lab.path('mail')}\ncat >> ${lab.path('mail')}`);
  script('program', `echo "$#: $1 $2: $3 ($DM_REMAP_LEVEL)" >> ${lab.path('told')}`);
});

afterEach(async () => {
  await endLab(lab);
});

function script(name: string, text: string): void {
  writeFileSync(lab.path(name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
}

function lines(name: string): readonly string[] {
  return existsSync(lab.path(name)) ? readFileSync(lab.path(name), 'utf8').trimEnd().split('\n') : [];
}

const subjects = (): readonly string[] => lines('mail').filter((line) => line.startsWith('Subject: '));

/** A monitor that finds our sendmail before another one. */
function monitor(...words: readonly string[]): StartedCommand {
  const path = `${lab.path('bin')}${delimiter}${process.env['PATH'] ?? ''}`;
  return lab.startWith({ PATH: path }, 'monitor', ...words);
}

async function once(...words: readonly string[]): Promise<StartedCommand> {
  const command = monitor('--oneshot', ...words);
  await command.ended;
  return command;
}

/** Waits for the condition; the test's own time is the limit. */
async function until(condition: () => boolean, command?: StartedCommand): Promise<void> {
  while (!condition()) {
    assert.equal(command?.child.exitCode ?? null, null, `it ended: ${command?.errors()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Not by the command line, which costs a process each. */
async function remap(sector: number, name = 'disk'): Promise<void> {
  const client = new ControlClient(join(lab.runtime, name, 'control.sock'));
  await client.message(0, ['remap', String(sector), '8']);
}

/** Events are gathered for a while before they are stored. */
const stored = (count: number): Promise<void> =>
  until(() => {
    const logs = readdirSync(lab.state, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && existsSync(join(lab.state, entry.name, 'events.jsonl')))
      .map((entry) => readFileSync(join(lab.state, entry.name, 'events.jsonl'), 'utf8'));
    return (logs.join('').match(/"kind":"remapped"/g) ?? []).length >= count;
  });

test('a monitor tells each alert once, to everybody, over its own restarts and what happens in between', async () => {
  await remap(1000);
  await stored(1);
  const words = ['--mail', 'root', '--program', 'program'];
  const first = await once(...words);
  assert.equal(first.child.exitCode, ExitCode.ok);
  assert.match(first.errors(), /tells what happens from now on/);
  assert.deepEqual([first.output(), lines('told'), lines('mail')], ['', [], []], 'what was before is past');

  await remap(2000);
  await stored(2);
  const running = monitor('--interval', '0.1', ...words);
  await until(() => lines('told').length === 1, running);
  await until(() => /2000-2007/.test(running.output()), running);
  await remap(3000);
  await until(() => lines('told').length === 2, running);
  running.child.kill('SIGTERM');
  assert.equal(await running.ended, ExitCode.ok);

  await remap(4000);
  await stored(4);
  for (let round = 0; round < 2; round += 1) assert.equal((await once(...words)).child.exitCode, ExitCode.ok);
  const sectors = [2000, 3000, 4000];
  assert.deepEqual(
    lines('told'),
    sectors.map(
      (sector) =>
        `3: remapped disk: 1 granule (8 sectors) moved to the spare (1 operator), within sectors ${sector}-${sector + 7} (warn)`,
    ),
  );
  assert.equal(subjects().length, 3);
  for (const [at, sector] of sectors.entries())
    assert.match(subjects()[at]!, new RegExp(`sectors ${sector}-`));
  assert.ok(lines('mail').includes('sent -t -oi'));
  await remap(5000);
  await stored(5);
  assertShape('monitor', (await once('--json')).output());
});

test('a monitor outlives devices: one that is killed, assembled, removed, and another that comes', async () => {
  const running = monitor('--interval', '0.1', '--program', 'program');
  await until(
    () => existsSync(lab.path('state/monitor/told.json')) && /from now on/.test(running.errors()),
    running,
  );
  await lab.kill('disk');
  await until(() => lines('told').length === 1, running);
  assert.match(lines('told')[0]!, /^3: process-died disk: its process was killed/);
  await lab.mustRun('assemble', 'disk', '--spare', 'spare.img');
  await until(() => lines('told').length >= 3, running);
  assert.match(lines('told').join('\n'), /unclean-end disk: .*\n.*took-over disk: /);
  await lab.mustRun('remove', 'disk');
  lab.image('other.img', 64 * mib);
  const words = ['create', 'other', '--main', 'other.img', '--spare', 'o.img', '--create-spare', '32M'];
  await lab.mustRun(...words);
  await remap(800, 'other');
  await until(() => lines('told').some((line) => line.startsWith('3: remapped other:')), running);
  await lab.kill('other');
  await until(() => lines('told').at(-1)!.startsWith('3: process-died other:'), running);
  running.child.kill('SIGTERM');
  await running.ended;
  const told = lines('told').length;
  assert.equal((await once('--program', 'program')).child.exitCode, ExitCode.ok);
  assert.equal(lines('told').length, told, 'a death is told once, over a restart too');
  await lab.mustRun('remove', 'other');
});

test('a test reaches everybody, a failing mail is told of and kept, a second monitor is refused', async () => {
  const tested = await once('--test', '--mail', 'root,admin@example.org', '--program', 'program');
  assert.equal(tested.child.exitCode, ExitCode.ok);
  assert.match(tested.output(), /info {2}disk: test: a test of dm-remap monitor/);
  assert.match(lines('told')[0]!, /^3: test disk: a test of dm-remap monitor/);
  assert.ok(lines('mail').includes('To: root, admin@example.org'));

  script('bin/sendmail', 'echo "no connection" >&2; exit 75');
  const failing = await once('--test', '--mail', 'root');
  assert.equal(failing.child.exitCode, ExitCode.failed);
  assert.match(failing.errors(), /mail root: the test was not told: ended with code 75 \(no connection\)/);
  await remap(5000);
  await stored(1);
  const kept = await once('--mail', 'root,admin@example.org');
  assert.equal(kept.child.exitCode, ExitCode.failed);
  assert.match(kept.errors(), /monitor: 1 alerts could not be told; the next monitor tries again\n$/);
  rmSync(lab.path('mail'));
  script('bin/sendmail', `cat >> ${lab.path('mail')}`);
  assert.equal((await once('--mail', 'root,admin@example.org')).child.exitCode, ExitCode.ok);
  assert.match(subjects().join('\n'), /^Subject: [^\n]*sectors 5000-5007[^\n]*$/);

  const running = monitor('--interval', '0.1');
  await until(() => /"owner":"\d/.test(readFileSync(lab.path('state/monitor/told.json'), 'utf8')), running);
  await lab.mustFail(ExitCode.busy, /process \d+ is a monitor already/, 'monitor', '--oneshot');
  assert.equal((await once('--state', lab.path('mine.json'))).child.exitCode, ExitCode.ok);
  running.child.kill('SIGINT');
  assert.equal(await running.ended, ExitCode.ok);

  writeFileSync(lab.path('mine.json'), 'something else');
  await lab.mustFail(ExitCode.refused, /is not what a monitor keeps/, 'monitor', '--state', 'mine.json');
  assert.equal(readFileSync(lab.path('mine.json'), 'utf8'), 'something else');
});
