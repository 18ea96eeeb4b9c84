import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import {
  decodeKnownSession,
  encodeKnownSession,
  type KnownSession,
  rollbackOf,
} from '../../../src/device/host/known-session.ts';

const known: KnownSession = {
  uuid: '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11',
  sequence: 40,
  sessionNonce: 'aaaaaaaaaaaaaaaa',
  generation: 9,
  closedRevision: 0,
  writtenUnixSeconds: 1_790_000_000,
};
const sameSession = { lastSequence: 40, sessionNonce: known.sessionNonce, generation: 9, revision: 100 };

test('M12 a spare with fewer acknowledged records than the host knows is an older one', () => {
  const found = { ...sameSession, lastSequence: 39, generation: 12, sessionNonce: 'bbbbbbbbbbbbbbbb' };
  assert.match(rollbackOf(known, found) ?? '', /host knows sequence 40, the spare has 39/);
});

test('M12 a spare of an older session is an older one, even when no record came since', () => {
  const found = { ...sameSession, sessionNonce: 'bbbbbbbbbbbbbbbb', generation: 7 };
  assert.match(
    rollbackOf(known, found) ?? '',
    /sequence 40, the spare has 40, and its session is an older one/,
  );
});

test('M12 a spare from before its clean end is an older one', () => {
  const closed = { ...known, closedRevision: 101 };
  assert.match(rollbackOf(closed, sameSession) ?? '', /before the device was closed/);
  assert.equal(rollbackOf(closed, { ...sameSession, revision: 101 }), undefined);
});

test('M12 a spare that went on, here or on another host, is not an older one', () => {
  fc.assert(
    fc.property(fc.nat(5), fc.nat(5), fc.boolean(), (records, checkpoints, elsewhere) => {
      const found = {
        lastSequence: 40 + records,
        sessionNonce: elsewhere ? 'cccccccccccccccc' : known.sessionNonce,
        generation: 9 + checkpoints,
        revision: 1,
      };
      assert.equal(rollbackOf(known, found), undefined);
    }),
  );
});

test('M12 what the host noted is read back as it was, and not at all when a byte of it changed', () => {
  const text = encodeKnownSession(known);
  assert.deepEqual(decodeKnownSession(text), known);
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.integer({ min: 33, max: 126 }), (at, code) => {
      const changed = text.slice(0, at) + String.fromCharCode(code) + text.slice(at + 1);
      if (changed !== text) assert.equal(decodeKnownSession(changed), undefined);
      assert.equal(decodeKnownSession(text.slice(0, at)), undefined);
    }),
  );
});

test('what has a right checksum and is no session is as nothing, whoever wrote it', () => {
  const lines = [
    'null',
    '[]',
    '7',
    '{',
    '{"format":1}',
    JSON.stringify({ ...known, format: 1, sequence: '40' }),
  ];
  for (const line of [...lines, JSON.stringify({ ...known, format: 1, generation: -1 })]) {
    assert.equal(decodeKnownSession(`${line}\n${crc32c(line)}\n`), undefined, line);
  }
  const line = JSON.stringify({ ...known, format: 1, later: 'field' });
  assert.deepEqual(decodeKnownSession(`${line}\n${crc32c(line)}\n`), known);
});
