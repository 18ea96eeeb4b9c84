import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Alert, alertOf } from '../../../src/cli/watching/alert.ts';
import type { DeviceEvent } from '../../../src/device/event-kinds.ts';
import { encodeEvent, parseEventLine, type StoredEvent } from '../../../src/device/log/event-record.ts';

function stored(event: DeviceEvent): StoredEvent {
  const line = encodeEvent(event, { device: 'disk', uuid: 'u', pid: 7 }, 3, 1_795_202_764_000);
  return parseEventLine(line) ?? assert.fail(line);
}

const told = (event: DeviceEvent): Alert | undefined => alertOf('/log', stored(event));

const span = { sectors: 8, firstSector: 0, lastSector: 7 };

test('what is bad for data is told, by its kind and in its words', () => {
  assert.deepEqual(told({ kind: 'gone', ...span }), {
    source: '/log',
    sequence: 3,
    orderMs: 1_795_202_764_000,
    unixMs: 1_795_202_764_000,
    device: 'disk',
    uuid: 'u',
    kind: 'gone',
    level: 'error',
    text: '8 sectors lost for good, within sectors 0-7',
  });
  assert.equal(told({ kind: 'remapped', ...span, granules: 1, causes: { writeError: 1 } })?.level, 'warn');
  assert.equal(told({ kind: 'fail-stop', origin: 'x', error: 'y', stack: '' })?.kind, 'fail-stop');
});

test('how a trouble ended is told, what is as it should be is not', () => {
  assert.equal(told({ kind: 'state-changed', from: 'main-failed', to: 'ok' })?.level, 'info');
  assert.equal(told({ kind: 'stuck-ended', longestAgeMs: 20_000 })?.kind, 'stuck-ended');
  assert.equal(told({ kind: 'resumed' }), undefined);
  assert.equal(told({ kind: 'taken-home', ...span, granules: 1 }), undefined);
});

test('what clients do is not told, however often; what was too much for the log about disks is', () => {
  assert.equal(told({ kind: 'protocol-error', detail: 'x' }), undefined);
  assert.equal(told({ kind: 'control-denied', uid: 1, pid: 2, count: 3 }), undefined);
  assert.equal(told({ kind: 'suppressed', of: 'protocol-error', count: 9 }), undefined);
  assert.equal(told({ kind: 'suppressed', of: 'client-connected', count: 9 }), undefined);
  assert.equal(told({ kind: 'suppressed', of: 'gone', count: 9 })?.text, '9 more events "gone", not listed');
});

test('what a later program stored goes by its level, and nothing in it is a second line', () => {
  const later = { ...stored({ kind: 'resumed' }), kind: 'disk-melted', fields: { where: 'a\nb\u001b[2J' } };
  assert.equal(alertOf('/log', { ...later, level: 'info' }), undefined);
  const alert = alertOf('/log', { ...later, level: 'error' });
  assert.equal(alert?.text, 'disk-melted {"where":"a\\nb\\u001b[2J"}');
  const cut = stored({ kind: 'start-failed', reason: 'a\nb\u001b[2J' });
  assert.equal(alertOf('/log', cut)?.text, 'could not start: a b [2J');
});
