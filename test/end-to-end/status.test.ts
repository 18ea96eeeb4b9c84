import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { DeviceLab } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  const words = ['create', 'disk', '--main', 'main.img', '--spare', 'spare.img', '--create-spare', '32M'];
  await lab.mustRun(...words);
});

afterEach(async () => {
  await endLab(lab);
});

/** Resolves when the command has printed `text`. */
async function printed(command: { readonly output: () => string }, text: RegExp): Promise<void> {
  while (!text.test(command.output())) await new Promise((resolve) => setTimeout(resolve, 20));
}

test('every form of status says the same of one device', async () => {
  await lab.mustRun('message', 'disk', '0', 'remap', '5000', '40');
  const json = await lab.mustRun('status', 'disk', '--json');
  assertShape('status', json);
  const status: { remap: { remappedSectors: number; statusWords: string }; uuid: string } = JSON.parse(json);
  assert.equal(status.remap.remappedSectors, 40);
  assert.ok((await lab.mustRun('status', 'disk', '--line')).endsWith(` ${status.remap.statusWords}\n`));
  const [head, line, ...more] = (await lab.mustRun('status', 'disk', '--csv')).trimEnd().split('\n');
  assert.equal(more.length, 0);
  assert.equal(line?.split(',')[head!.split(',').indexOf('uuid')], status.uuid);
  assert.match(await lab.mustRun('status', 'disk'), /remapped {2}5 granules of 4 KiB \(40 sectors\)/);
  await lab.mustFail(ExitCode.usage, /--json and --csv exclude/, 'status', 'disk', '--csv', '--json');
});

test('without a name status tells of every device, and fails for those that cannot be asked', async () => {
  lab.image('other.img', 64 * mib);
  const words = ['create', 'other', '--main', 'other.img', '--spare', 'o.img', '--create-spare', '32M'];
  await lab.mustRun(...words);
  const lines = (await lab.mustRun('status', '--line')).trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => line.split(' ')[0]),
    ['disk:', 'other:'],
  );
  assert.equal((await lab.mustRun('status', '--csv')).trimEnd().split('\n').length, 3);
  const all: unknown[] = JSON.parse(await lab.mustRun('status', '--json'));
  for (const status of all) assertShape('status', JSON.stringify(status));
  assert.equal(all.length, 2);
  await lab.kill('other');
  const result = await lab.run('status', '--line');
  assert.equal(result.exitCode, ExitCode.failed);
  assert.match(result.output, /^disk: 0 131072 remap [^\n]*\n$/);
  assert.match(result.errors, /^dm-remap: status: other: its process was killed; [^\n]*\n$/);
  await lab.mustRun('remove', 'other');
});

test('a watch in a pipe prints a line an interval and ends with 0 by SIGINT', async () => {
  for (const [form, lines] of [
    ['--line', /^(0 131072 remap [^\n]*\n){2}/],
    ['--csv', /^unixMs,name,[^\n]*\n(\d+,disk,[^\n]*\n){2}/],
    ['--json', /^(\{"unixMs":[^\n]*\n){2}/],
  ] as const) {
    const watch = lab.start('status', 'disk', '--watch', '0.1', form);
    await printed(watch, lines);
    watch.child.kill('SIGINT');
    assert.equal(await watch.ended, ExitCode.ok);
    assert.equal(watch.errors(), '');
    if (form !== '--json') continue;
    for (const line of watch.output().trimEnd().split('\n')) assertShape('status-watch', line);
  }
});

test('a watch for people prints blocks with an empty line between', async () => {
  const watch = lab.start('status', 'disk', '--watch', '0.1');
  await printed(watch, /^disk: serving, ok\n( {2}[^\n]*\n)+\ndisk: serving, ok\n/);
  watch.child.kill('SIGTERM');
  assert.equal(await watch.ended, ExitCode.ok);
});

test('a watch ends with 0 when its device is removed, with 3 when it is killed', async () => {
  const watch = lab.start('status', 'disk', '--watch', '0.1', '--line');
  await printed(watch, /remap/);
  await lab.mustRun('remove', 'disk');
  assert.equal(await watch.ended, ExitCode.ok);
  assert.equal(watch.errors(), '');
  await lab.mustRun('assemble', '--spare', 'spare.img', '--main', 'main.img');
  const again = lab.start('status', 'disk', '--watch', '0.1', '--line');
  await printed(again, /remap/);
  await lab.kill('disk');
  assert.equal(await again.ended, ExitCode.notFound);
  assert.match(again.errors(), /^dm-remap: status: disk: its process was killed; [^\n]*\n$/);
});

test('a watch whose reader goes away ends, without a word', async () => {
  const watch = lab.start('status', 'disk', '--watch', '0.1', '--line');
  await printed(watch, /remap/);
  watch.child.stdout?.destroy();
  assert.equal(await watch.ended, ExitCode.ok);
  assert.equal(watch.errors(), '');
});

test('R13 sectors that were never written are told apart from unreadable ones', async () => {
  lab.image('fresh.img', 64 * mib);
  const table = lab.faultTable('fresh.table', 'fresh.img', 64 * mib, [[1000, 3]]);
  const words = ['create', 'fresh', '--main-table', table, '--spare', 'f.img', '--create-spare', '32M'];
  await lab.mustRun(...words, '--fresh');
  const client = await lab.connect('fresh');
  const bytes = new Uint8Array(4096).fill(1);
  await client.read(bytes, 1000 * 512);
  assert.ok(bytes.every((byte) => byte === 0));
  await client.disconnect();
  const { remap }: { remap: Record<string, number> } = JSON.parse(
    await lab.mustRun('status', 'fresh', '--json'),
  );
  assert.deepEqual([remap['unreadableSectors'], remap['freshZeroSectors'], remap['goneSectors']], [0, 3, 0]);
  assert.match(await lab.mustRun('status', 'fresh', '--line'), / lost 0 /);
  assert.match(await lab.mustRun('status', 'fresh'), /3 sectors main cannot read were never written: zeros/);
  await lab.mustRun('remove', 'fresh');
});

test('on a terminal a watch is drawn in place, cut to its size, and ended by the key for it', async () => {
  const command = `stty cols 40 rows 8; exec "$@"`;
  const words = [process.execPath, lab.program, 'status', 'disk', '--watch', '0.1'];
  const quoted = ['sh', '-c', command, 'sh', ...words].map((word) => `'${word}'`).join(' ');
  // script(1) gives the command to $SHELL; a shell that stayed in between, as dash does, would take the interrupt too and
  // end with 130 whatever the watch answered.
  const terminal = spawn('script', ['-qec', `exec ${quoted}`, '/dev/null'], {
    env: { ...lab.environment(), SHELL: '/bin/sh' },
  });
  let seen = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    seen += text;
  });
  const ended = new Promise<number | null>((resolve) => {
    terminal.once('close', resolve);
  });
  const home = '\u001b[H';
  while (seen.split(home).length < 4) await new Promise((resolve) => setTimeout(resolve, 20));
  // What a terminal sends for control-C.
  terminal.stdin.write('\u0003');
  assert.equal(await ended, ExitCode.ok, seen);
  const screen = seen.split(home)[1]!.split('\r\n');
  assert.equal(screen.length, 8, 'seven lines, and where the cursor is');
  for (const line of screen) assert.ok(Array.from(line.replace('\u001b[K', '')).length <= 40, line);
  assert.match(screen[0]!, /^disk: serving, ok/);
});
