import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { blockStatusBytesMax, extentCallsMax } from '../../src/nbd/block-status.ts';
import { WireError } from '../../src/nbd/constants.ts';
import { defaultNbdLimits, optionBytesMax } from '../../src/nbd/limits.ts';
import { metaContexts, RemapStateFlag } from '../../src/nbd/meta-contexts.ts';
import { failedRangesToldMax } from '../../src/nbd/read-reply.ts';
import { discardPiecesMax } from '../../src/remap/request/discard-request.ts';
import { extentPiecesMax } from '../../src/remap/request/remapped-extents.ts';

const page = readFileSync(fileURLToPath(new URL('../../../docs/nbd.md', import.meta.url)), 'utf8');
const mebibyte = 1024 * 1024;

test('docs/nbd.md has the limits of the code', () => {
  const { connectionsMax, requestsInFlightMax, bytesInFlightMax, deviceRequestBytesMax } = defaultNbdLimits;
  const limits = {
    connectionsMax,
    requestsInFlightMax,
    bytesInFlightMax,
    deviceRequestBytesMax,
    optionBytesMax,
    failedRangesToldMax,
    blockStatusBytesMax,
    extentCallsMax,
    extentPiecesMax,
    discardPiecesMax,
  };
  for (const [name, value] of Object.entries(limits)) {
    const shown = value >= mebibyte ? `${value / mebibyte} MiB` : `${value}`;
    assert.match(page, new RegExp(`^\\| \`${name}\` \\| ${shown}\\b`, 'm'));
  }
});

test('docs/nbd.md has every error and every context of the code', () => {
  for (const [name, errno] of Object.entries(WireError)) {
    // "SHOULD NOT return ENOMEM if at all possible": it is possible.
    if (errno === WireError.none || errno === WireError.ENOMEM) continue;
    assert.match(page, new RegExp(`^\\| ${name} ${errno} \\|`, 'm'));
  }
  for (const { id, name } of metaContexts)
    assert.match(page, new RegExp(`^\\| \`${name}\` \\| ${id} \\|`, 'm'));
  assert.deepEqual(RemapStateFlag, { remapped: 1, unreadable: 2, gone: 4 });
});
