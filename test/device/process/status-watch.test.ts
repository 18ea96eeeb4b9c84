import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RemapSummary } from '../../../src/device/messages.ts';
import type { DaemonLog } from '../../../src/device/process/daemon-log.ts';
import { StatusWatch, watchIntervalMs } from '../../../src/device/process/status-watch.ts';
import { exampleStatus } from '../../control/example-status.ts';
import { HandClock } from '../hand-clock.ts';

function watching(): {
  clock: HandClock;
  watch: StatusWatch;
  lines: [string, string, unknown][];
  change: (part: Partial<RemapSummary>) => void;
} {
  const clock = new HandClock();
  const lines: [string, string, unknown][] = [];
  let summary = exampleStatus.remap;
  const log: DaemonLog = {
    info: (event, details) => lines.push(['info', event, details]),
    warn: (event, details) => lines.push(['warn', event, details]),
    error: (event, details) => lines.push(['error', event, details]),
    close: () => undefined,
  };
  const watch = new StatusWatch(clock, () => summary, log);
  const change = (part: Partial<RemapSummary>): void => {
    summary = { ...summary, ...part };
  };
  return { clock, watch, lines, change };
}

test('I11 a disk that does not change is never written about', () => {
  const { clock, watch, lines, change } = watching();
  for (let look = 0; look < 5; look += 1) {
    change({ counters: { reads: look } });
    clock.advance(watchIntervalMs);
  }
  watch.close();
  assert.deepEqual(lines, []);
  assert.equal(clock.waitingCount, 0, 'I24: no timer is left');
});

test('many changes between two looks are one line with the new counts', () => {
  const { clock, lines, change } = watching();
  change({ remappedGranules: 4 });
  change({ remappedGranules: 9, unreadableSectors: 5 });
  assert.deepEqual(lines, []);
  clock.advance(watchIntervalMs);
  assert.deepEqual(lines, [['warn', 'the disk changed', { remappedGranules: 9, unreadableSectors: 5 }]]);
  clock.advance(watchIntervalMs);
  assert.equal(lines.length, 1);
});

test('a worse state is an error, a good one news', () => {
  const { clock, lines, change } = watching();
  change({ state: 'spare-full' });
  clock.advance(watchIntervalMs);
  change({ state: 'ok' });
  clock.advance(watchIntervalMs);
  assert.deepEqual(lines, [
    ['error', 'state changed', { from: 'ok', to: 'spare-full' }],
    ['info', 'state changed', { from: 'spare-full', to: 'ok' }],
  ]);
});

test('what changed last is told at the end', () => {
  const { watch, lines, change } = watching();
  change({ goneSectors: 8 });
  watch.close();
  assert.equal(lines.length, 1);
});
