import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasRestartJob } from '../../src/cli/service-restart.ts';

const unit = 'dm-remap@old-disk.service';

test('a restart is known by the job of that very unit, and by nothing else', () => {
  const jobs = (type: string): string =>
    ` 7 other.service start waiting\n12 ${unit}        ${type} running\n`;
  assert.equal(hasRestartJob(jobs('restart'), unit), true);
  for (const type of ['stop', 'start', 'reload', ''])
    assert.equal(hasRestartJob(jobs(type), unit), false, type);
  for (const none of ['', 'No jobs running.\n', jobs('restart').replace('old-disk', 'old-disk2')]) {
    assert.equal(hasRestartJob(none, unit), false);
  }
});
