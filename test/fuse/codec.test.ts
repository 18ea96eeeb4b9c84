import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FuseReplyEncoder, FuseRequestDecoder } from '../../src/fuse/codec.ts';

/** What Linux 6.18 sent first, taken from /dev/fuse. */
const initOfLinux618 =
  '680000001a0000000200000000000000000000000000000000000000000000000000000000000000' +
  '070000002d00000000000200fbffff73fd0500000000000000000000000000000000000000000000000000000000000000';

function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const to = { uniqueLow: 0x0403_0201, uniqueHigh: 0x0807_0605 };
const unique = '0102030405060708';

test('the first request of a real kernel is understood', () => {
  const decoder = new FuseRequestDecoder();
  // 104 bytes: the kernel pads fuse_init_in with zeroes.
  assert.equal(decoder.decode(bytesOf(initOfLinux618.padEnd(208, '0').slice(0, 208))), true);
  const { opcode, uniqueLow, uniqueHigh, major, minor } = decoder;
  assert.deepEqual(
    { opcode, uniqueLow, uniqueHigh, major, minor },
    { opcode: 26, uniqueLow: 2, uniqueHigh: 0, major: 7, minor: 45 },
  );
});

test('offsets and lengths of 64 bits are read exactly, and each request forgets the one before', () => {
  const decoder = new FuseRequestDecoder();
  const header = `48000000${'2b000000'}${unique}${'00'.repeat(24)}`;
  const body = `${'00'.repeat(8)}${'0010000001000000'}${'0000000002000000'}${'03000000'}00000000`;
  assert.equal(decoder.decode(bytesOf(header + body)), true);
  assert.deepEqual(
    [decoder.offset, decoder.length, decoder.flags, decoder.uniqueLow, decoder.uniqueHigh],
    [0x1_0000_1000, 0x2_0000_0000, 3, to.uniqueLow, to.uniqueHigh],
  );
  assert.equal(decoder.decode(bytesOf(`28000000${'11000000'}${unique}${'00'.repeat(24)}`)), true);
  assert.deepEqual([decoder.offset, decoder.length, decoder.flags], [0, 0, 0]);
});

test('requests that are cut, too long or lie about their length are no requests', () => {
  const decoder = new FuseRequestDecoder();
  const read = bytesOf(`50000000${'0f000000'}${unique}${'00'.repeat(24)}${'00'.repeat(40)}`);
  assert.equal(decoder.decode(read), true);
  for (let length = 0; length < read.length; length += 1) {
    const cut = read.slice(0, length);
    assert.equal(decoder.decode(cut), false, `${length} bytes`);
    if (length < 40) continue;
    // With a header that owns up to being cut.
    new DataView(cut.buffer).setUint32(0, length, true);
    assert.equal(decoder.decode(cut), false, `${length} bytes, said so`);
  }
  const write = bytesOf(
    `54000000${'10000000'}${unique}${'00'.repeat(24)}${'00'.repeat(16)}04000000${'00'.repeat(20)}aabbccdd`,
  );
  assert.equal(decoder.decode(write), true);
  new DataView(write.buffer).setUint32(56, 5, true);
  assert.equal(decoder.decode(write), false, 'a payload that is not all there');
});

test('no bytes make the decoder throw', () => {
  const decoder = new FuseRequestDecoder();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, honest) => {
      if (honest && bytes.length >= 4) new DataView(bytes.buffer).setUint32(0, bytes.length, true);
      assert.equal(typeof decoder.decode(bytes), 'boolean');
    }),
  );
});

test('replies are the bytes of linux/fuse.h', () => {
  const encoder = new FuseReplyEncoder();
  assert.equal(hexOf(encoder.plain(to, 5)), `10000000fbffffff${unique}`, 'EIO');
  assert.equal(hexOf(encoder.plain(to, 0)), `1000000000000000${unique}`);
  assert.equal(hexOf(encoder.data(to, 512)), `1002000000000000${unique}`);
  assert.equal(hexOf(encoder.written(to, 4096)), `1800000000000000${unique}0010000000000000`);
  assert.equal(
    hexOf(encoder.opened(to)),
    `2000000000000000${unique}${'00'.repeat(8)}4100000000000000`,
    'FOPEN_DIRECT_IO and FOPEN_PARALLEL_DIRECT_WRITES',
  );
  assert.equal(
    hexOf(encoder.init(to, 128)),
    `5000000000000000${unique}07000000${'1f000000'}0000000001804000${'8000'}${'6000'}00001000010000000001${'0000'}${'00'.repeat(32)}`,
    'version 7.31, ASYNC_READ, ASYNC_DIO, MAX_PAGES, 128 requests, 1 MiB in 256 pages',
  );
});

test('the attributes say how long the file is, beyond 4 GiB too', () => {
  const reply = new FuseReplyEncoder().attributes(to, 5 * 2 ** 40 + 512, 4096);
  assert.equal(reply.length, 16 + 104);
  const fields = new DataView(reply.buffer, reply.byteOffset);
  assert.equal(fields.getBigUint64(16 + 16, true), 1n, 'inode');
  assert.equal(fields.getBigUint64(16 + 24, true), 5n * 2n ** 40n + 512n, 'size');
  assert.equal(fields.getBigUint64(16 + 32, true), 5n * 2n ** 31n + 1n, 'blocks of 512');
  assert.equal(fields.getUint32(16 + 76, true), 0o100600, 'mode');
  assert.equal(fields.getUint32(16 + 80, true), 1, 'links');
  assert.equal(fields.getUint32(16 + 96, true), 4096, 'block size');
});

test('no reply has bytes of the one before it', () => {
  const encoder = new FuseReplyEncoder();
  const clean = hexOf(new FuseReplyEncoder().opened(to));
  encoder.attributes({ uniqueLow: 0xffff_ffff, uniqueHigh: 0xffff_ffff }, Number.MAX_SAFE_INTEGER, 4096);
  assert.equal(hexOf(encoder.opened(to)), clean);
});
