import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  encodeChunkHeader,
  encodeDataChunk,
  encodeErrorChunk,
  encodeErrorOffsetChunk,
  encodeStatusChunk,
  errorChunkBytes,
  errorOffsetChunkBytes,
  statusChunkBytes,
} from '../../src/nbd/chunk-codec.ts';
import { chunk, chunkHex, errorOffsetHex, field, hexOf } from './wire-client.ts';

const cookie = { cookieHigh: 0x01234567, cookieLow: 0x89abcdef | 0 };

test('chunks have their golden bytes', () => {
  const bytes = new Uint8Array(64);
  encodeDataChunk(bytes, 1, 1, cookie, 0x1_0000_0200, 4096);
  assert.equal(
    hexOf(bytes.subarray(1, 29)),
    '668e33ef 0001 0001 0123456789abcdef 00001008 0000000100000200'.replaceAll(' ', ''),
  );
  encodeErrorChunk(bytes, 0, 1, cookie, 22);
  assert.equal(
    hexOf(bytes.subarray(0, errorChunkBytes)),
    '668e33ef 0001 8001 0123456789abcdef 00000006 00000016 0000'.replaceAll(' ', ''),
  );
  const message = new TextEncoder().encode('lost');
  encodeErrorOffsetChunk(bytes, 0, 0, cookie, { errno: 5, offset: 512, message });
  assert.equal(
    hexOf(bytes.subarray(0, errorOffsetChunkBytes(message))),
    '668e33ef 0000 8002 0123456789abcdef 00000012 00000005 0004 6c6f7374 0000000000000200'.replaceAll(
      ' ',
      '',
    ),
  );
  encodeStatusChunk(bytes, 0, 1, cookie, 7, 2);
  assert.equal(
    hexOf(bytes.subarray(0, statusChunkBytes)),
    '668e33ef 0001 0005 0123456789abcdef 00000014 00000007'.replaceAll(' ', ''),
  );
});

test('all fields of a chunk are where they belong, at any place of a buffer', () => {
  const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
  const u16 = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(u16, u16, u32, u32, u32, fc.nat(9), (flags, type, high, low, length, at) => {
      const bytes = new Uint8Array(40).fill(0xee);
      encodeChunkHeader(bytes, at, flags, type, { cookieHigh: high, cookieLow: low }, length);
      const expected = `668e33ef${field(flags, 2)}${field(type, 2)}${field(high, 4)}${field(low, 4)}${field(length, 4)}`;
      assert.equal(hexOf(bytes), 'ee'.repeat(at) + expected + 'ee'.repeat(20 - at));
    }),
  );
  fc.assert(
    fc.property(
      u32,
      fc.maxSafeNat(),
      fc.string({ maxLength: 40, unit: 'binary-ascii' }),
      (errno, offset, text) => {
        const message = new TextEncoder().encode(text);
        const bytes = new Uint8Array(errorOffsetChunkBytes(message));
        encodeErrorOffsetChunk(bytes, 0, 1, { cookieHigh: 0, cookieLow: 9 }, { errno, offset, message });
        assert.equal(hexOf(bytes), errorOffsetHex(9, errno, offset, text));
      },
    ),
  );
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.integer({ min: 1, max: 2 ** 25 }), (offset, length) => {
      const bytes = new Uint8Array(28);
      encodeDataChunk(bytes, 0, 0, { cookieHigh: 0, cookieLow: 9 }, offset, length);
      const whole = chunkHex(9, chunk.data, field(offset, 8), false);
      assert.equal(hexOf(bytes), whole.slice(0, 32) + field(length + 8, 4) + whole.slice(40));
    }),
  );
});
