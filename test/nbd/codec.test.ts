import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  encodeRequest,
  encodeSimpleReply,
  NbdProtocolError,
  ReplyDecoder,
  RequestDecoder,
} from '../../src/nbd/codec.ts';
import { bytesOf, hexOf, replyHex, requestHex } from './wire-client.ts';

test('a request has its golden bytes', () => {
  const bytes = new Uint8Array(30);
  encodeRequest(bytes, 1, 1, 1, 0x01234567, 0x89abcdef | 0, 0x12_3456_789a_bc00, 0x1000);
  assert.equal(
    hexOf(bytes),
    '00 25609513 0001 0001 0123456789abcdef 00123456789abc00 00001000 00'.replaceAll(' ', ''),
  );
});

test('a simple reply has its golden bytes', () => {
  const bytes = new Uint8Array(18);
  encodeSimpleReply(bytes, 1, 28, 0x01234567, 0x89abcdef | 0);
  assert.equal(hexOf(bytes), '00 67446698 0000001c 0123456789abcdef 00'.replaceAll(' ', ''));
});

test('a request is decoded at any place of a buffer', () => {
  const decoder = new RequestDecoder();
  const bytes = bytesOf(`ffff 25609513 0010 0006 fedcba9876543210 0000000100000200 ffffffff`);
  assert.equal(decoder.decode(bytes, 2, bytes.length), true);
  assert.equal(decoder.flags, 16);
  assert.equal(decoder.command, 6);
  assert.equal(decoder.cookieHigh >>> 0, 0xfedcba98);
  assert.equal(decoder.cookieLow >>> 0, 0x76543210);
  assert.equal(decoder.offset, 2 ** 32 + 512);
  assert.equal(decoder.length, 2 ** 32 - 1);
});

test('a request that is not complete is not decoded, at every length', () => {
  const decoder = new RequestDecoder();
  const bytes = bytesOf(requestHex(0, 1, 0, 512));
  for (let end = 0; end < bytes.length; end += 1) assert.equal(decoder.decode(bytes, 0, end), false);
  assert.equal(decoder.decode(bytes, 0, bytes.length), true);
});

test('an offset of 2^53 - 1 is exact, one above stays above', () => {
  const decoder = new RequestDecoder();
  assert.equal(decoder.decode(bytesOf(requestHex(0, 1, 2n ** 53n - 1n, 1)), 0, 28), true);
  assert.equal(decoder.offset, Number.MAX_SAFE_INTEGER);
  assert.equal(decoder.decode(bytesOf(requestHex(0, 1, 2n ** 53n, 1)), 0, 28), true);
  assert.ok(decoder.offset > Number.MAX_SAFE_INTEGER);
  assert.equal(decoder.decode(bytesOf(requestHex(0, 1, 2n ** 64n - 1n, 1)), 0, 28), true);
  assert.ok(decoder.offset > Number.MAX_SAFE_INTEGER);
});

test('a decoder cannot be used after a wrong magic', () => {
  const decoder = new RequestDecoder();
  const good = bytesOf(requestHex(0, 1, 0, 512));
  const bad = bytesOf(`35609513${requestHex(0, 1, 0, 512).slice(8)}`);
  assert.throws(() => decoder.decode(bad, 0, 28), /expected the request magic 0x25609513, found 0x35609513/);
  assert.throws(() => decoder.decode(good, 0, 28), NbdProtocolError);
  const replies = new ReplyDecoder();
  assert.throws(() => replies.decode(good, 0, 28), /expected the reply magic/);
  assert.throws(() => replies.decode(bytesOf(replyHex(1)), 0, 16), NbdProtocolError);
});

test('what is encoded is decoded, for all fields', () => {
  const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
  const u16 = fc.integer({ min: 0, max: 0xffff });
  const decoder = new RequestDecoder();
  fc.assert(
    fc.property(u16, u16, u32, u32, fc.maxSafeNat(), u32, (flags, command, high, low, offset, length) => {
      const bytes = new Uint8Array(28);
      encodeRequest(bytes, 0, flags, command, high, low, offset, length);
      const cookie = (BigInt(high) << 32n) | BigInt(low);
      assert.equal(hexOf(bytes), requestHex(command, cookie, offset, length, { flags }));
      assert.equal(decoder.decode(bytes, 0, 28), true);
      assert.deepEqual(
        [
          decoder.flags,
          decoder.command,
          decoder.cookieHigh,
          decoder.cookieLow,
          decoder.offset,
          decoder.length,
        ],
        [flags, command, high | 0, low | 0, offset, length],
      );
    }),
  );
  const replies = new ReplyDecoder();
  fc.assert(
    fc.property(u32, u32, u32, (errno, high, low) => {
      const bytes = new Uint8Array(16);
      encodeSimpleReply(bytes, 0, errno, high, low);
      assert.equal(hexOf(bytes), replyHex((BigInt(high) << 32n) | BigInt(low), errno));
      assert.equal(replies.decode(bytes, 0, 16), true);
      assert.deepEqual([replies.errno, replies.cookieHigh, replies.cookieLow], [errno, high | 0, low | 0]);
    }),
  );
});
