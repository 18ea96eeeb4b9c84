import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ControlClient, ControlError } from '../../../src/control/client.ts';
import { parseEventLine } from '../../../src/device/log/event-record.ts';
import { createDevice } from '../../../src/device/spare/create-device.ts';
import { createDataPlane, type DataPlane } from '../../../src/io/data-plane.ts';
import { connectNbd, type NbdClient, NbdRequestError } from '../../../src/nbd/client.ts';

const program = fileURLToPath(new URL('./daemon-process.js', import.meta.url));
const mib = 1_048_576;

let folder: string;
let child: ChildProcess;
let output: string;
let plane: DataPlane;
let nbd: NbdClient;
let control: ControlClient;

function fileOf(name: string, sizeBytes: number): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 1_000; attempt += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`${what} did not come: ${output}`);
}

async function answers(): Promise<boolean> {
  try {
    await control.ping();
    return true;
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    return false;
  }
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-daemon-'));
  const main = fileOf('main.img', 16 * mib);
  const spare = fileOf('spare.img', 32 * mib);
  await createDevice({
    name: 'disk',
    main: { kind: 'path', path: main },
    sparePath: spare,
    cache: 'none',
    // The spare is larger than main here.
    overwriteSpare: true,
  });
  output = '';
  child = spawn(process.execPath, [program, spare, folder], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  await until('readiness', () => output.includes('ready'));
  plane = createDataPlane();
  nbd = await connectNbd(await plane.connectUnix(join(folder, 'disk', 'nbd.sock')), 'disk');
  control = new ControlClient(join(folder, 'disk', 'control.sock'));
});

afterEach(async () => {
  await nbd.close();
  await plane.close();
  child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

test('the disk serves on while its control plane crashes and comes back', async () => {
  const bytes = new Uint8Array(4096).fill(7);
  let served = 0;
  let stop = false;
  const serving = (async (): Promise<void> => {
    const target = new Uint8Array(4096);
    while (!stop) {
      await nbd.write(bytes, 4096);
      await nbd.read(target, 4096);
      assert.deepEqual(target, bytes);
      served += 1;
    }
  })();
  const breakPath = join(folder, 'disk', 'break');
  for (let crash = 1; crash <= 3; crash += 1) {
    writeFileSync(breakPath, '');
    await until('the crash', () => !existsSync(breakPath));
    const before = served;
    await until('the control plane', answers);
    assert.ok(served > before, 'requests were served meanwhile');
    assert.equal((await control.status()).controlRestarts, crash);
  }
  stop = true;
  await serving;
  const log = readFileSync(join(folder, 'disk', 'daemon.log'), 'utf8');
  assert.equal(log.match(/"reason":"[^"]*broken as asked/g)?.length, 3);
});

test('the end is told step by step, and the process then ends by itself', async () => {
  const closed = new Promise((resolve) => child.once('exit', resolve));
  const { steps, leftBehind } = await control.remove({ force: true });
  assert.deepEqual(leftBehind, []);
  assert.deepEqual(
    steps.map(({ step, result }) => `${step} ${result}`),
    [
      'replacement done',
      'export done',
      'raw view done',
      'flush done',
      'heartbeat done',
      'stamp done',
      'remap done',
      'main done',
      'spare done',
      'engine done',
      'host state done',
    ],
  );
  assert.equal(await closed, 0, 'I24: nothing keeps the process');
  assert.match(output, /"clean":true/);
  assert.equal(existsSync(join(folder, 'disk')), false);
  assert.deepEqual(readdirSync(folder).sort(), ['.state', 'main.img', 'spare.img']);
});

test('two removals at one time are one, and both hear of it', async () => {
  const [first, second] = await Promise.all([
    control.remove({ force: true }),
    control.remove({ force: true }),
  ]);
  assert.deepEqual(first, second);
});

test('R30 suspended, clients wait and nothing is written; resumed, they are answered', async () => {
  await nbd.write(new Uint8Array(4096).fill(1), 0);
  assert.deepEqual(await control.suspend(true), { state: 'suspended' });
  assert.deepEqual(await control.suspend(true), { state: 'suspended' });
  assert.equal((await control.status()).state, 'suspended');
  assert.equal((await control.ping()).state, 'suspended');
  await control.table();
  await control.message(0, ['list']);
  await assert.rejects(control.message(0, ['remap', '0']), (error: unknown) => {
    assert.ok(error instanceof ControlError);
    assert.equal(error.code, 'BUSY');
    assert.equal(error.message, "the device is suspended: resume it before 'remap'");
    return true;
  });
  const before = readFileSync(join(folder, 'main.img'));
  let answered = false;
  const writing = nbd.write(new Uint8Array(4096).fill(2), 0).then(() => {
    answered = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(answered, false);
  assert.equal(Buffer.compare(readFileSync(join(folder, 'main.img')), before), 0);
  assert.deepEqual(await control.resume(), { state: 'serving' });
  assert.deepEqual(await control.resume(), { state: 'serving' });
  await writing;
  const target = new Uint8Array(4096);
  await nbd.read(target, 0);
  assert.ok(target.every((byte) => byte === 2));
});

test('R30 removed while suspended, what waits is refused once and the end is clean', async () => {
  await nbd.write(new Uint8Array(4096).fill(1), 0);
  await control.suspend(false);
  const outcomes: unknown[] = [];
  const held = [nbd.write(new Uint8Array(4096), 0), nbd.read(new Uint8Array(512), 0), nbd.flush()].map(
    (request) =>
      request.then(
        () => outcomes.push('ok'),
        (error: unknown) => outcomes.push(error instanceof NbdRequestError ? error.errno : error),
      ),
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  const { steps } = await control.remove();
  await Promise.all(held);
  assert.deepEqual(outcomes, [108, 108, 108]);
  assert.ok(
    steps.every(({ result }) => result === 'done'),
    JSON.stringify(steps),
  );
});

test('R30 resume looks at both disks first, and stays suspended while one is not what it was', async () => {
  await control.suspend(true);
  truncateSync(join(folder, 'main.img'), 8 * mib);
  await assert.rejects(control.resume(), (error: unknown) => {
    assert.ok(error instanceof ControlError);
    assert.equal(error.code, 'UNSAFE');
    assert.match(
      error.message,
      /main\.img: has 8388608 bytes, had 16777216: plug in the disk that was there/,
    );
    return true;
  });
  assert.equal((await control.status()).state, 'suspended');
  truncateSync(join(folder, 'main.img'), 16 * mib);
  assert.deepEqual(await control.resume(), { state: 'serving' });
  await nbd.read(new Uint8Array(512), 0);
});

test('R35, I22 a process that finds a bug in itself leaves that as its last event', async () => {
  const { eventLog } = await control.status();
  const closed = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGUSR2');
  assert.equal(await closed, 70);
  const lines = readFileSync(eventLog.path, 'utf8').trimEnd().split('\n').map(parseEventLine);
  assert.deepEqual(
    lines.map((event) => event?.kind),
    ['serving', 'client-connected', 'fail-stop'],
  );
  assert.match(String(lines.at(-1)?.fields['error']), /broken as asked/);
  assert.match(
    readFileSync(join(folder, 'disk', 'daemon.log'), 'utf8'),
    /"kind":"fail-stop".*broken as asked/,
  );
});
