import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serveArguments } from '../../src/cli/launch.ts';
import type { ServeOptions } from '../../src/device/serve-options.ts';

const least: ServeOptions = {
  sparePath: '/s',
  cache: 'none',
  force: false,
  acceptMain: false,
  acceptChanges: false,
};

test('the process of a device is told no more than what was chosen', () => {
  assert.deepEqual(serveArguments(least), ['--spare', '/s', '--cache', 'none', '--report-descriptor', '3']);
});

test('every choice reaches the process; the table itself goes another way', () => {
  const words = serveArguments({
    ...least,
    name: 'disk',
    main: { kind: 'table', text: '0 8 error', label: '/lab.table' },
    socketPath: '/x.sock',
    port: 10_809,
    requestMemoryBytes: 16_777_216,
    force: true,
    acceptMain: true,
    takeover: true,
    policies: { 'on-lost': 'zero', 'export-main': 'off' },
    acceptChanges: true,
  }).join(' ');
  assert.equal(
    words,
    'disk --spare /s --main-table - --main-label /lab.table --socket /x.sock --port 10809 --cache none ' +
      '--memory 16777216 ' +
      '--force --force-takeover --accept-main --accept-changes --on-lost zero --export-main off --report-descriptor 3',
  );
});
