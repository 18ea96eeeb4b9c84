import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import {
  isIoFlusher,
  startingAsIoFlusher,
  thisThreadIsIoFlusher,
} from '../../../src/device/process/io-flusher.ts';

const moduleUrl = new URL('../../../src/device/process/io-flusher.js', import.meta.url).href;

/** Bit 24 of the effective capabilities. */
function hasCapSysResource(): boolean {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  return ((BigInt(`0x${text}`) >> 24n) & 1n) === 1n;
}

const granted = hasCapSysResource();
const skip = granted ? false : 'needs CAP_SYS_RESOURCE, which this machine does not give';

/** Whether every thread of a process is one. */
function allThreadsFlush(pid: number): boolean {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).every((thread) =>
    isIoFlusher(readFileSync(`${folder}/${thread}/stat`, 'latin1')),
  );
}

test('the kernel tells by two flags of a thread, behind a name that may hold anything', () => {
  const stat = (flags: number): string => `7 (a) S 1 2 (b) S 1 7 7 0 -1 ${flags} 0 0`;
  assert.equal(isIoFlusher(stat(0x0018_0000 | 0x0040_0000)), true);
  assert.equal(isIoFlusher(stat(0x0008_0000)), false);
  assert.equal(isIoFlusher(stat(0x0040_0000)), false);
  assert.equal(isIoFlusher(''), false);
});

test('a process is started in any case, and the starter is afterwards what it was', () => {
  const before = thisThreadIsIoFlusher();
  assert.equal(
    startingAsIoFlusher(() => 'started'),
    'started',
  );
  assert.throws(() =>
    startingAsIoFlusher(() => {
      throw new Error('no such program');
    }),
  );
  assert.equal(thisThreadIsIoFlusher(), before);
});

test('every thread of what was started is one', { skip }, async () => {
  const child = startingAsIoFlusher(() =>
    spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1000)'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  try {
    await new Promise((resolve) => child.stdout.once('data', resolve));
    assert.ok(allThreadsFlush(child.pid!));
  } finally {
    child.kill();
  }
});

test('a program that begins again is the same process, does so once at most, and goes on where it may not', () => {
  const script = `
    import { readdirSync, readFileSync } from 'node:fs';
    import { isIoFlusher, restartAsIoFlusher } from ${JSON.stringify(moduleUrl)};
    console.log(process.pid);
    restartAsIoFlusher();
    const threads = readdirSync('/proc/self/task');
    const all = threads.every((one) => isIoFlusher(readFileSync('/proc/self/task/' + one + '/stat', 'latin1')));
    console.log(JSON.stringify([process.pid, all, process.argv.slice(2), process.env.DM_REMAP_IO_FLUSHER_TRIED ?? null]));`;
  const child = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', script, '--', 'word', 'two words'],
    {
      encoding: 'utf8',
      timeout: 20_000,
    },
  );
  assert.equal(child.status, 0, child.stderr);
  const lines = child.stdout.trim().split('\n');
  const pid = Number(lines[0]);
  assert.equal(lines.length, granted ? 3 : 2, child.stdout);
  assert.deepEqual(JSON.parse(lines.at(-1)!).slice(0, 2), [pid, granted]);
  assert.equal(JSON.parse(lines.at(-1)!)[3], null);
});
