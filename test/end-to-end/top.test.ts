import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { TerminalPicture } from '../cli/top/terminal-picture.ts';
import { DeviceLab } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;
const terminals: TerminalLab[] = [];

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  const table = lab.faultTable('bad.table', 'main.img', 64 * mib, [[2048, 8]]);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 's.img', '--create-spare', '32M');
});

afterEach(async () => {
  for (const terminal of terminals.splice(0)) terminal.end();
  await endLab(lab);
});

interface Told {
  readonly requestsPerSecond: Record<string, number>;
  readonly bytesPerSecond: Record<string, number>;
  readonly seconds: number;
  readonly errors: number;
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 10));
}

test('the figures of all looks together are what the client did, in requests and in bytes', async () => {
  const top = lab.start('top', 'disk', '--json', '--interval', '0.2');
  const told = (): Told[] =>
    top
      .output()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line).figures);
  await until(() => told().length > 0);
  const client = await lab.connect('disk');
  const block = new Uint8Array(8192).fill(5);
  for (let round = 0; round < 40; round += 1) await client.write(block, mib * 8 + round * 8192);
  for (let round = 0; round < 70; round += 1) await client.read(block.subarray(0, 4096), round * 4096);
  await client.flush();
  let failed = 0;
  for (let round = 0; round < 3; round += 1) await client.read(block, 2048 * 512).catch(() => (failed += 1));
  assert.equal(failed, 3);
  const sum = (of: (one: Told) => number | undefined): number =>
    Math.round(told().reduce((all, one) => all + (of(one) ?? 0) * one.seconds, 0));
  await until(() => told().reduce((all, { errors }) => all + errors, 0) >= 3);
  top.child.kill('SIGTERM');
  assert.equal(await top.ended, ExitCode.ok);
  assert.equal(
    sum(({ requestsPerSecond }) => requestsPerSecond['write']),
    40,
  );
  assert.equal(
    sum(({ bytesPerSecond }) => bytesPerSecond['write']),
    40 * 8192,
  );
  assert.equal(
    sum(({ requestsPerSecond }) => requestsPerSecond['read']),
    70,
  );
  assert.equal(
    sum(({ bytesPerSecond }) => bytesPerSecond['read']),
    70 * 4096,
  );
  assert.equal(
    sum(({ requestsPerSecond }) => requestsPerSecond['flush']),
    1,
  );
  assert.equal(
    told().reduce((all, { errors }) => all + errors, 0),
    3,
  );
  for (const line of top.output().trimEnd().split('\n')) assertShape('top', line);
  assert.equal(top.errors(), '');
});

test('a pipe gets a head and a line a look, and top ends by its count, with its reader, and with its device', async () => {
  const lines = (await lab.mustRun('top', 'disk', '-i', '0.1', '-n', '2')).trimEnd().split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[0]!, /^TIME +DEVICE +STATE /);
  assert.match(lines[2]!, /^\d{4}-\S+Z disk +serving +ok +ok +0 /);
  const read = lab.start('top', 'disk', '-i', '0.1');
  await until(() => read.output().includes('serving'));
  read.child.stdout?.destroy();
  assert.equal(await read.ended, ExitCode.ok);
  const watched = lab.start('top', 'disk', '-i', '0.1');
  await until(() => watched.output().includes('serving'));
  await lab.mustRun('remove', 'disk');
  assert.equal(await watched.ended, ExitCode.ok);
  await lab.mustFail(ExitCode.notFound, /disk: no such device/, 'top', 'disk');
  for (const wrong of [
    ['-i', '0'],
    ['-n', '0'],
    ['--once', '-n', '2'],
  ])
    await lab.mustFail(ExitCode.usage, /expected|exclude/, 'top', ...wrong);
});

/** `top` on a terminal of its own, and what stands there. */
class TerminalLab {
  readonly picture: TerminalPicture = new TerminalPicture(90, 26);
  readonly ended: Promise<number | null>;
  readonly #script: ChildProcess;
  /** The last error of the picture: output comes in events, which no test hears of. */
  #broken: Error | undefined;

  constructor(command: readonly string[], environment: NodeJS.ProcessEnv) {
    // script(1) gives the command to $SHELL, see the test of `status --watch`.
    const words = ['sh', '-c', 'stty cols 90 rows 26; exec "$@"', 'sh', ...command];
    const quoted = words.map((word) => `'${word}'`).join(' ');
    this.#script = spawn('script', ['-qec', `exec ${quoted}`, '/dev/null'], {
      env: { ...environment, SHELL: '/bin/sh', TERM: 'xterm' },
    });
    this.#script.stdout?.setEncoding('utf8').on('data', (text: string) => {
      try {
        this.picture.write(text);
      } catch (error) {
        this.#broken ??= new Error('not what a terminal understands', { cause: error });
      }
    });
    this.ended = new Promise((resolve) => {
      this.#script.once('close', resolve);
    });
    terminals.push(this);
  }

  /** Of whatever a failed test left. */
  end(): void {
    this.#script.kill('SIGKILL');
  }

  press(keys: string): void {
    this.#script.stdin?.write(keys);
  }

  /** Resolves when what stands there is as wanted. */
  async shows(wanted: RegExp): Promise<string> {
    await until(() => this.#broken !== undefined || wanted.test(this.text));
    if (this.#broken !== undefined) throw this.#broken;
    return this.text;
  }

  get text(): string {
    return this.picture.lines.join('\n');
  }

  /** Of the command itself, the only child of script(1). */
  get pid(): number {
    return Number(execFileSync('pgrep', ['-P', String(this.#script.pid)], { encoding: 'utf8' }));
  }

  assertGivenBack(): void {
    const { alternate, cursorShown, wraps, unknown } = this.picture;
    assert.deepEqual([alternate, cursorShown, wraps, unknown], [false, true, true, []]);
  }
}

function topOnTerminal(...words: readonly string[]): TerminalLab {
  return new TerminalLab([process.execPath, lab.program, 'top', ...words], lab.environment());
}

test('on a terminal top shows what the client did, follows its size, pauses, changes devices, and gives it back', async () => {
  lab.image('other.img', 64 * mib);
  await lab.mustRun('create', 'other', '--main', 'other.img', '--spare', 'o.img', '--create-spare', '32M');
  const client = await lab.connect('disk');
  await client.write(new Uint8Array(4096).fill(1), 2048 * 512);
  const top = topOnTerminal('-i', '0.2');
  const text = await top.shows(/^map, .*\n[.\n]*m/m);
  assert.match(text, /^> disk +degraded/m);
  assert.match(text, /^ {2}sectors +8 moved, 0 unreadable, 0 gone$/m);
  // 50 requests in one interval of any length are shown as more than none, in the row of reads.
  const bytes = new Uint8Array(4096);
  let reading = true;
  const reads = (async () => {
    while (reading) await client.read(bytes, 0);
  })();
  await top.shows(/^ {2}read +[1-9][\d.kM]* +[\d.]+ [KM]iB\/s +[\d.]+ \S+ +[\d.]+ \S+$/m);
  reading = false;
  await reads;
  top.press('p');
  const paused = await top.shows(/PAUSED/);
  await client.read(bytes, 2048 * 512);
  assert.match(paused, /q quit {2}p go on {2}arrows device$/m);
  top.press('p\u001b[B');
  await top.shows(/^> other +ok/m);
  const terminal = readlinkSync(`/proc/${top.pid}/fd/1`);
  top.picture.resize(40, 9);
  execFileSync('stty', ['-F', terminal, 'cols', '40', 'rows', '9']);
  await top.shows(/^q quit {2}p pause {2}arrows device$/m);
  top.press('q');
  assert.equal(await top.ended, ExitCode.ok);
  top.assertGivenBack();
  await lab.mustRun('remove', 'other');
});

test('a signal and a crash give the terminal back too', async () => {
  const top = topOnTerminal('disk', '-i', '0.2');
  await top.shows(/^disk: serving/m);
  process.kill(top.pid, 'SIGTERM');
  assert.equal(await top.ended, ExitCode.ok);
  top.assertGivenBack();
  const module = fileURLToPath(new URL('../../src/cli/top/full-screen.js', import.meta.url));
  const crash = `import('${module}').then(({ FullScreen }) => {
    new FullScreen({ output: process.stdout, input: process.stdin, colours: true, onKey() {}, onRedraw() {}, stop() {} }).enter();
    setTimeout(() => { throw new Error(String.fromCharCode(98, 111, 111, 109)); }, 10);
  })`.replaceAll("'", '"');
  const crashed = new TerminalLab([process.execPath, '-e', crash], lab.environment());
  assert.notEqual(await crashed.ended, ExitCode.ok);
  crashed.assertGivenBack();
  assert.match(crashed.text, /Error: boom/, 'what it died of stands on the page that stays');
});
