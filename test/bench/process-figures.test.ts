import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { processFigures } from '../../bench/process-figures.ts';

test('counts what a process does: it sleeps so often, works so long, and is so large', async () => {
  const before = processFigures(process.pid);
  for (let nap = 0; nap < 20; nap += 1) await new Promise((resolve) => setTimeout(resolve, 2));
  const bytes = Buffer.alloc(32 * 1024 * 1024, 1);
  const untilMs = performance.now() + 30;
  while (performance.now() < untilMs) bytes[0] = 2;
  const after = processFigures(process.pid);
  assert.ok(after.wakeUps - before.wakeUps >= 20, 'a nap is a wake-up');
  assert.ok(after.processorMs > before.processorMs);
  // Not the growth: a kernel that reclaims memory proactively may have taken as much from elsewhere meanwhile.
  assert.ok(Math.abs(after.residentBytes - process.memoryUsage.rss()) < 16 * 1024 * 1024);
  assert.ok(after.threads > 1);
});

test('another process is as good', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  try {
    assert.ok(processFigures(child.pid!).residentBytes > 0);
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await ended;
  }
  assert.throws(() => processFigures(child.pid!), /ENOENT/);
});
