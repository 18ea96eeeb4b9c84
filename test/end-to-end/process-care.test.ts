import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import type { DeviceStatus } from '../../src/device/messages.ts';
import { isIoFlusher } from '../../src/device/process/io-flusher.ts';
import { DeviceLab } from './device-lab.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(async () => {
  await lab.close();
});

async function statusOf(name: string): Promise<DeviceStatus> {
  return JSON.parse(await lab.mustRun('status', name, '--json'));
}

/** Kilobytes of a line of /proc/PID/status. */
function kilobytes(pid: number, field: string): number {
  const line = new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(
    readFileSync(`/proc/${pid}/status`, 'latin1'),
  );
  assert.ok(line !== null, field);
  return Number(line[1]);
}

test('what status says of the process is what the kernel says, and what is not in place is a note', async () => {
  const main = lab.image('main.img', 32 * mib);
  const spare = lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main', main, '--spare', spare, '--memory', '16M');
  const { pid, process: care, notes } = await statusOf('disk');
  const score = Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1'));
  assert.equal(care.oomScoreAdjust, score);
  const threads = readdirSync(`/proc/${pid}/task`);
  const flushers = threads.filter((one) =>
    isIoFlusher(readFileSync(`/proc/${pid}/task/${one}/stat`, 'latin1')),
  );
  // Of all threads, those that Node made before any of our code ran, too; or of none.
  assert.equal(flushers.length, care.ioFlusher ? threads.length : 0);
  // 16 MiB for requests, 4 for connections, 16 for moves and metadata, and the queues.
  if (care.memoryLocked) assert.ok(kilobytes(pid, 'VmLck') >= 36 * 1024, 'locked');
  else assert.ok(kilobytes(pid, 'VmLck') < 36 * 1024, 'not locked');
  assert.equal(care.requestMemoryBytes, 16 * mib);
  const note = notes.find((one) => one.includes('for want of rights'));
  assert.equal(note?.includes('PR_SET_IO_FLUSHER') ?? false, !care.ioFlusher);
  assert.equal(note?.includes('OOM score') ?? false, score > -900);
  assert.equal(note?.includes('memory locked') ?? false, !care.memoryLocked);
  assert.match(await lab.mustRun('status', 'disk'), /^ +memory +16 MiB for requests, /m);
  await lab.mustRun('remove', 'disk');
});

test('a device with less memory says so to its clients, and serves them', async () => {
  const main = lab.image('main.img', 32 * mib);
  const spare = lab.image('spare.img', 24 * mib);
  await lab.mustRun('create', 'disk', '--main', main, '--spare', spare, '--memory', '4M');
  const client = await lab.connect('disk');
  assert.equal(client.exported.maximumPayloadBytes, 2 * mib, 'half of it');
  const bytes = new Uint8Array(2 * mib).fill(5);
  await client.write(bytes, mib);
  await client.read(bytes.fill(0), mib);
  assert.ok(bytes.every((byte) => byte === 5));
  await client.disconnect();
  await lab.mustRun('remove', 'disk');
  await lab.mustRun('assemble', '--spare', spare);
  assert.equal((await statusOf('disk')).process.requestMemoryBytes, 64 * mib, 'not remembered');
  await lab.mustRun('remove', 'disk');
});

test('a size of memory that means nothing is refused in one line, before anything is touched', async () => {
  const main = lab.image('main.img', 32 * mib);
  const spare = lab.image('spare.img', 24 * mib);
  for (const size of ['3M', '2G', '5000000']) {
    const words = ['create', 'disk', '--main', main, '--spare', spare, '--memory', size];
    await lab.mustFail(2, /--memory .*: expected a multiple of 4 KiB from 4M to 1G/, ...words);
  }
  assert.ok(readFileSync(spare).every((byte) => byte === 0));
});
