import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NbdProtocolError } from '../../src/nbd/codec.ts';
import {
  decodeInfoBlockSize,
  decodeInfoExport,
  decodeInfoRequest,
  decodeOptionHeader,
  decodeOptionReplyHeader,
  decodeServerHello,
  encodeClientFlags,
  encodeExportNameAnswer,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoRequest,
  encodeInfoText,
  encodeOption,
  encodeOptionReply,
  encodeServerHello,
  encodeServerName,
} from '../../src/nbd/handshake-codec.ts';
import { bytesOf, hexOf } from './wire-client.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

test('messages of the handshake have their golden bytes', () => {
  const golden: readonly (readonly [Uint8Array, string])[] = [
    [encodeServerHello(3), '4e42444d41474943 49484156454f5054 0003'],
    [encodeClientFlags(3), '00000003'],
    [encodeOption(3, new Uint8Array()), '49484156454f5054 00000003 00000000'],
    [encodeOption(7, bytesOf('0102')), '49484156454f5054 00000007 00000002 0102'],
    [encodeOptionReply(7, 1), '0003e889045565a9 00000007 00000001 00000000'],
    [encodeOptionReply(3, 0x80000003, text('no')), '0003e889045565a9 00000003 80000003 00000002 6e6f'],
    [encodeInfoRequest({ exportName: text('ab'), infoTypes: [3, 1] }), '00000002 6162 0002 0003 0001'],
    [encodeInfoExport({ sizeBytes: 2 ** 40 + 512, transmissionFlags: 0x10d }), '0000 0000010000000200 010d'],
    [
      encodeInfoBlockSize({ minimumBytes: 512, preferredBytes: 4096, maximumBytes: 2 ** 25 }),
      '0003 00000200 00001000 02000000',
    ],
    [encodeInfoText(1, text('disk')), '0001 6469736b'],
    [encodeServerName(text('disk'), text('old')), '00000004 6469736b 6f6c64'],
    [encodeExportNameAnswer({ sizeBytes: 1024, transmissionFlags: 1 }, true), '0000000000000400 0001'],
    [
      encodeExportNameAnswer({ sizeBytes: 1024, transmissionFlags: 1 }, false),
      `0000000000000400 0001 ${'00'.repeat(124)}`,
    ],
  ];
  for (const [actual, expected] of golden) assert.equal(hexOf(actual), expected.replaceAll(' ', ''));
});

test('headers with another magic are refused', () => {
  assert.throws(
    () => decodeServerHello(bytesOf('4e42444d41474944 49484156454f5054 0003')),
    /expected the hello of an NBD server 0x4e42444d41474943, found 0x4e42444d41474944/,
  );
  assert.throws(() => decodeServerHello(bytesOf('4e42444d41474943 0000420281861253 0003')), NbdProtocolError);
  assert.throws(() => decodeOptionHeader(bytesOf('49484156454f5055 00000003 00000000')), NbdProtocolError);
  assert.throws(
    () => decodeOptionReplyHeader(bytesOf('0003e889045565a8 00000003 00000001 00000000')),
    NbdProtocolError,
  );
});

test('information of another length is refused', () => {
  assert.throws(() => decodeInfoExport(bytesOf('0000 0000010000000200 010d 00')), NbdProtocolError);
  assert.throws(() => decodeInfoBlockSize(bytesOf('0003 00000200 00001000 020000')), NbdProtocolError);
});

test('an export of 2^53 - 1 bytes is exact, a larger one is refused', () => {
  assert.equal(decodeInfoExport(bytesOf('0000 001fffffffffffff 0001')).sizeBytes, Number.MAX_SAFE_INTEGER);
  assert.throws(() => decodeInfoExport(bytesOf('0000 0020000000000000 0001')), /at most 9007199254740991/);
});

test('an information request is read only when its lengths add up', () => {
  const good = '00000002 6162 0002 0003 0001';
  const request = decodeInfoRequest(bytesOf(good));
  assert.deepEqual(
    { name: hexOf(request!.exportName), types: request!.infoTypes },
    { name: '6162', types: [3, 1] },
  );
  for (const bad of [
    '',
    '00000000 00',
    '00000003 6162 0002 0003 0001',
    '00000001 6162 0002 0003 0001',
    'ffffffff 6162 0002 0003 0001',
    '00000002 6162 0001 0003 0001',
    '00000002 6162 0003 0003 0001',
    `${good} 00`,
    good.slice(0, -2),
  ]) {
    assert.equal(decodeInfoRequest(bytesOf(bad)), undefined, bad);
  }
});

test('an information request of any bytes is read or refused, never an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (data) => {
      const request = decodeInfoRequest(data);
      if (request !== undefined) assert.deepEqual(encodeInfoRequest(request), data);
    }),
  );
});
