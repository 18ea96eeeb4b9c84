import assert from 'node:assert/strict';
import { crc32c } from '@node-rs/crc32';

/** What `fio --verify=crc32c` puts at the start of each block (verify.h, struct verify_header and vhdr_crc32c). */
const magic = 0xacca;
const headerCrcAt = 36;
const dataCrcAt = 40;
const dataAt = 44;

/**
 * Fails the test unless each block is one that fio has written there, whole: header and data have their checksums, and the
 * offset is its own. Which of several writes it was does not matter, for which fio itself has no option before 3.36.
 */
export function assertFioBlocks(bytes: Buffer, firstOffset: number, blockBytes: number): void {
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const block = bytes.subarray(at, at + blockBytes);
    const offset = firstOffset + at;
    assert.equal(block.readUInt16LE(0), magic, `the block at ${offset} is none of fio`);
    assert.equal(block.readUInt32LE(4), blockBytes, `its length at ${offset}`);
    assert.equal(Number(block.readBigUInt64LE(16)), offset, `the block at ${offset} is of another place`);
    assert.equal(
      block.readUInt32LE(headerCrcAt),
      fioCrc(block.subarray(0, headerCrcAt)),
      `header at ${offset}`,
    );
    assert.equal(block.readUInt32LE(dataCrcAt), fioCrc(block.subarray(dataAt)), `data at ${offset}`);
  }
}

/** fio leaves out the last inversion. */
function fioCrc(bytes: Buffer): number {
  return ~crc32c(bytes) >>> 0;
}
