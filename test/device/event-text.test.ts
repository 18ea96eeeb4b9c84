import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { DeviceEvent } from '../../src/device/event-kinds.ts';
import { eventKinds, eventLevel, eventText, isEventKind } from '../../src/device/event-text.ts';

test('docs/events.md lists every kind of event, and no other', () => {
  const page = readFileSync(fileURLToPath(new URL('../../../docs/events.md', import.meta.url)), 'utf8');
  const table = /<!-- kinds -->\n(.*)<!-- \/kinds -->/s.exec(page)?.[1] ?? '';
  const listed = [...table.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, kind]) => kind);
  assert.deepEqual(listed, eventKinds);
});

test('what people read is one clause with the numbers in it', () => {
  const span = { sectors: 16, firstSector: 80, lastSector: 103 };
  const lines: [DeviceEvent, string, string][] = [
    [
      { kind: 'remapped', granules: 2, ...span, causes: { writeError: 1, operator: 1 } },
      'warn',
      '2 granules (16 sectors) moved to the spare (1 write error, 1 operator), within sectors 80-103',
    ],
    [
      { kind: 'gone', sectors: 1, firstSector: 7, lastSector: 7 },
      'error',
      '1 sector lost for good, sector 7',
    ],
    [{ kind: 'state-changed', from: 'ok', to: 'spare-full' }, 'error', 'state spare-full, was ok'],
    [
      { kind: 'health-changed', score: 90, before: 100, reasons: ['a', 'b'], advice: ['do c'] },
      'warn',
      'health 90 of 100, was 100 (100 is healthy): a; b; do c',
    ],
    [
      { kind: 'health-changed', score: 90, before: null, reasons: [], advice: [] },
      'info',
      'health 90 of 100 (100 is healthy)',
    ],
    [
      { kind: 'health-changed', score: 9, before: null, reasons: ['fails'], advice: [] },
      'error',
      'health 9 of 100 (100 is healthy): fails',
    ],
    [
      { kind: 'health-changed', score: 30, before: 20, reasons: [], advice: [] },
      'info',
      'health 30 of 100, was 20 (100 is healthy)',
    ],
    [
      {
        kind: 'smart-increased',
        disk: 'main',
        device: '/dev/sda',
        counter: 'pendingSectors',
        from: 1,
        to: 9,
      },
      'warn',
      'main, /dev/sda: sectors that the disk cannot read (197): 9, was 1',
    ],
    [{ kind: 'state-changed', from: 'spare-full', to: 'ok' }, 'info', 'state ok, was spare-full'],
    [
      { kind: 'path-back', disk: 'main', direction: 'write', awayMs: 1_234 },
      'info',
      'main takes writes again, after 1.2 s',
    ],
    [
      {
        kind: 'removed',
        clean: false,
        leftBehind: [],
        steps: [
          { step: 'flush', result: 'done', durationMs: 1, detail: '' },
          { step: 'main', result: 'timed-out', durationMs: 10_000, detail: 'after 10 s' },
        ],
      },
      'error',
      'removed, not cleanly: main timed-out (after 10 s)',
    ],
    [
      { kind: 'message', sector: 0, words: ['remap', '8'], failure: 'suspended' },
      'info',
      'asked: message 0 remap 8: refused: suspended',
    ],
    [
      {
        kind: 'scrub-finished',
        ...{ positionBytes: 1 << 30, seconds: 9, mainBytes: (1 << 30) - 512, spareBytes: 0 },
        ...{ foundGranules: 2, savedGranules: 1, movedGranules: 1, lostSectors: 1, undecidedSectors: 0 },
        ...{ slowGranules: 0, slowMovedGranules: 0, badReplicas: 1, repairedReplicas: 1 },
      },
      'error',
      'scrub finished in 9 s; 1024.0 MiB of main and 0 bytes of slots read, ' +
        '2 granules bad, 1 of them saved, 1 moved, 1 sector lost, 1 replica of the metadata bad, 1 of them repaired',
    ],
    [
      { kind: 'suppressed', of: 'protocol-error', count: 99_980 },
      'warn',
      '99980 more events "protocol-error", not listed',
    ],
  ];
  for (const [event, level, text] of lines) {
    assert.equal(eventText(event), text);
    assert.equal(eventLevel(event), level);
  }
});

test('a word is a kind only when it is one of ours', () => {
  assert.equal(isEventKind('remapped'), true);
  for (const word of ['toString', 'Remapped', '']) assert.equal(isEventKind(word), false);
});
