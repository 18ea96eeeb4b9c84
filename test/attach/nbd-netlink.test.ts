import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeReplies,
  encodeConnect,
  encodeDisconnect,
  encodeFamilyRequest,
  encodeReconnect,
  familyOf,
  indexOf,
} from '../../src/attach/nbd-netlink.ts';

/** Written by hand from linux/netlink.h, genetlink.h and nbd-netlink.h. */
function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function bytesOf(...hex: readonly string[]): Uint8Array {
  return new Uint8Array(Buffer.from(hex.join(''), 'hex'));
}

test('the family is asked for by its name', () => {
  assert.equal(
    hexOf(encodeFamilyRequest(7)),
    ['1c000000', '1000', '0500', '07000000', '00000000', '03', '01', '0000', '0800', '0200', '6e626400'].join(
      '',
    ),
    'length, nlctrl, REQUEST and ACK, sequence, port 0; GETFAMILY, version 1; FAMILY_NAME "nbd"',
  );
});

test('a device is connected with its size, blocks, flags, patience, name and socket', () => {
  const message = encodeConnect(0x21, 2, {
    sizeBytes: 0x1_0000_0200,
    blockBytes: 4096,
    serverFlags: 0x6d,
    socketFd: 19,
    queueSeconds: 30,
    backend: 'dm-remap:x',
  });
  assert.equal(
    hexOf(message),
    [
      ...['64000000', '2100', '0500', '02000000', '00000000', '01', '01', '0000'],
      ...['0c00', '0200', '0002000001000000'],
      ...['0c00', '0300', '0010000000000000'],
      ...['0c00', '0500', '6d00000000000000'],
      ...['0c00', '0800', '1e00000000000000'],
      ...['0f00', '0a00', '646d2d72656d61703a7800', '00'],
      ...['1000', '0780', '0c00', '0180', '0800', '0100', '13000000'],
    ].join(''),
  );
  assert.equal(message.length, 0x64);
});

test('a device is given another socket, and let go, by its number', () => {
  assert.equal(
    hexOf(encodeReconnect(0x21, 3, 5, 20, 'b')),
    [
      ...['34000000', '2100', '0500', '03000000', '00000000', '03', '01', '0000'],
      ...['0800', '0100', '05000000', '0600', '0a00', '6200', '0000'],
      ...['1000', '0780', '0c00', '0180', '0800', '0100', '14000000'],
    ].join(''),
  );
  assert.equal(
    hexOf(encodeDisconnect(0x21, 4, 258)),
    ['1c000000', '2100', '0500', '04000000', '00000000', '02', '01', '0000', '0800', '0100', '02010000'].join(
      '',
    ),
  );
});

const family = bytesOf(
  '1c000000',
  '1000',
  '0000',
  '07000000',
  '00000000',
  '01',
  '02',
  '0000',
  '0600',
  '0100',
  '2100',
  '0000',
);
const acknowledged = bytesOf('24000000', '0200', '0000', '07000000', '00000000', '00000000', '00'.repeat(16));
const refused = bytesOf('24000000', '0200', '0000', '07000000', '00000000', 'f0ffffff', '00'.repeat(16));

test('answers and acknowledgements are told apart, several in one datagram too', () => {
  const [answer, done] = decodeReplies(new Uint8Array([...family, ...acknowledged]), 7);
  assert.ok(answer?.kind === 'answer');
  assert.equal(familyOf(answer.attributes), 0x21);
  assert.deepEqual(done, { kind: 'acknowledged', errno: 0 });
  assert.deepEqual(decodeReplies(refused, 7), [{ kind: 'acknowledged', errno: 16 }]);
  const connected = bytesOf(
    '1c000000',
    '2100',
    '0000',
    '07000000',
    '00000000',
    '01',
    '00',
    '0000',
    '0800',
    '0100',
    '03000000',
  );
  const [reply] = decodeReplies(connected, 7);
  assert.ok(reply?.kind === 'answer');
  assert.equal(indexOf(reply.attributes), 3);
});

test("what is for another request is nobody's, and no bytes make the decoder throw", () => {
  assert.deepEqual(decodeReplies(acknowledged, 8), []);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
      assert.ok(Array.isArray(decodeReplies(bytes, 7)));
    }),
  );
  for (let length = 0; length < family.length; length += 1) {
    assert.deepEqual(decodeReplies(family.subarray(0, length), 7), []);
  }
});
