import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { ControlClient } from '../../src/control/client.ts';
import { encodeEvent } from '../../src/device/log/event-record.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { DeviceLab, type StartedCommand } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const uuid = '9d0a6e5e-20a3-4e63-a9d4-8f3bde0f6f0b';

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
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

/** As a device stores it. */
function happens(sequence: number, firstSector: number): void {
  const folder = join(lab.state, uuid);
  mkdirSync(folder, { recursive: true });
  const event = { kind: 'unreadable', sectors: 8, firstSector, lastSector: firstSector + 7 } as const;
  const line = encodeEvent(
    event,
    { device: 'disk', uuid, pid: 4242 },
    sequence,
    1_795_202_764_000 + sequence,
  );
  appendFileSync(join(folder, 'events.jsonl'), line);
}

test('a monitor tells each alert once, to everybody, over its own restarts and what happens in between', async () => {
  happens(1, 1000);
  const words = ['--mail', 'root', '--program', 'program'];
  const first = await once(...words);
  assert.equal(first.child.exitCode, ExitCode.ok);
  assert.match(first.errors(), /tells what happens from now on/);
  assert.deepEqual([first.output(), lines('told'), lines('mail')], ['', [], []], 'what was before is past');

  happens(2, 2000);
  const running = monitor('--interval', '0.1', ...words);
  await until(() => lines('told').length === 1, running);
  await until(() => /2000-2007/.test(running.output()), running);
  happens(3, 3000);
  await until(() => lines('told').length === 2, running);
  running.child.kill('SIGTERM');
  assert.equal(await running.ended, ExitCode.ok);

  happens(4, 4000);
  for (let round = 0; round < 2; round += 1) assert.equal((await once(...words)).child.exitCode, ExitCode.ok);
  const sectors = [2000, 3000, 4000];
  assert.deepEqual(
    lines('told'),
    sectors.map(
      (sector) =>
        `3: unreadable disk: 8 sectors cannot be read, within sectors ${sector}-${sector + 7} (error)`,
    ),
  );
  assert.equal(subjects().length, 3);
  for (const [at, sector] of sectors.entries())
    assert.match(subjects()[at]!, new RegExp(`sectors ${sector}-`));
  assert.ok(lines('mail').includes('sent -t -oi'));
  happens(5, 5000);
  assertShape('monitor', (await once('--json')).output());
});

test('a monitor outlives devices: one that is killed, assembled, removed, and another that comes', async () => {
  const create = (name: string): Promise<string> => {
    const [main, spare] = [lab.image(`${name}.img`, 64 * mib), `${name}-spare.img`];
    const flags = ['--create-spare', '32M', '--no-health'];
    return lab.mustRun('create', name, '--main', main, '--spare', spare, ...flags);
  };
  await create('disk');
  const words = ['--interval', '0.1', '--program', 'program'];
  const first = monitor(...words);
  await until(() => /from now on/.test(first.errors()), first);
  await until(() => existsSync(lab.path('state/monitor/told.json')), first);
  await lab.kill('disk');
  await until(() => lines('told').length === 1, first);
  assert.match(lines('told')[0]!, /^3: process-died disk: its process was killed/);
  first.child.kill('SIGTERM');
  await first.ended;
  const second = monitor(...words);
  await lab.mustRun('assemble', 'disk', '--spare', 'disk-spare.img');
  await until(() => lines('told').some((line) => line.startsWith('3: took-over disk: ')), second);
  await lab.mustRun('remove', 'disk');
  await create('other');
  const client = new ControlClient(join(lab.runtime, 'other', 'control.sock'));
  await client.message(0, ['remap', '800', '8']);
  await until(() => lines('told').some((line) => line.startsWith('3: remapped other:')), second);
  second.child.kill('SIGTERM');
  assert.equal(await second.ended, ExitCode.ok);
  await lab.mustRun('remove', 'other');
  const kinds = lines('told').map((line) => line.split(' ')[1]);
  for (const kind of ['process-died', 'unclean-end', 'took-over', 'remapped']) {
    assert.equal(
      kinds.filter((one) => one === kind).length,
      1,
      `${kind}: told once, over a restart too: ${kinds}`,
    );
  }
});

test('a test reaches everybody, a failing mail is told of and kept, a second monitor is refused', async () => {
  const tested = await once('--test', '--mail', 'root,admin@example.org', '--program', 'program');
  assert.equal(tested.child.exitCode, ExitCode.ok);
  assert.match(tested.output(), /info {2}none: test: a test of dm-remap monitor/);
  assert.match(lines('told')[0]!, /^3: test none: a test of dm-remap monitor/);
  assert.ok(lines('mail').includes('To: root, admin@example.org'));

  script('bin/sendmail', 'echo "no connection" >&2; exit 75');
  const failing = await once('--test', '--mail', 'root');
  assert.equal(failing.child.exitCode, ExitCode.failed);
  assert.match(failing.errors(), /mail root: the test was not told: ended with code 75 \(no connection\)/);
  happens(5, 5000);
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
