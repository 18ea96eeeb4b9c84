import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { outOfMemoryScore } from '../../../src/device/process/memory-pressure.ts';
import { missingCare } from '../../../src/device/process/process-care.ts';

const inPlace = {
  ioFlusher: true,
  memoryLocked: true,
  oomScoreAdjust: outOfMemoryScore,
  requestMemoryBytes: 1,
} as const;

test('operators are told in one sentence what is not in place, and nothing when all of it is', () => {
  assert.equal(missingCare(inPlace), undefined);
  assert.equal(missingCare({ ...inPlace, oomScoreAdjust: -1000 }), undefined, 'more than asked for');
  assert.match(
    missingCare({ ...inPlace, ioFlusher: false }) ?? '',
    /: PR_SET_IO_FLUSHER \(CAP_SYS_RESOURCE\);/,
  );
  assert.match(
    missingCare({ ...inPlace, oomScoreAdjust: 0 }) ?? '',
    /: OOM score -900 \(CAP_SYS_RESOURCE\);/,
  );
  assert.match(missingCare({ ...inPlace, memoryLocked: false }) ?? '', /: I\/O memory locked \(CAP_IPC_LOCK/);
});

test('the OOM score is what the kernel says after it was asked for', () => {
  const moduleUrl = new URL('../../../src/device/process/memory-pressure.js', import.meta.url).href;
  const script = `
    import { readFileSync } from 'node:fs';
    import { avoidOutOfMemoryKiller } from ${JSON.stringify(moduleUrl)};
    console.log(avoidOutOfMemoryKiller(), Number(readFileSync('/proc/self/oom_score_adj')));`;
  // In a process of its own: raising a score back is allowed to nobody without the right.
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  const [answered, inForce] = child.stdout.trim().split(' ').map(Number);
  const now = Number(readFileSync('/proc/self/oom_score_adj', 'latin1'));
  assert.equal(answered, inForce, child.stderr);
  assert.ok(inForce === outOfMemoryScore || inForce === now);
});
