import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RequestRules, validateRequest } from '../../src/nbd/request-validator.ts';

const mebibyte = 1024 * 1024;
const rules: RequestRules = {
  sizeBytes: 2 ** 33,
  minimumBlockBytes: 512,
  payloadBytesMax: 32 * mebibyte,
  readOnly: false,
  flush: true,
  fua: true,
};
const [read, write, flush] = [0, 1, 3];
const [ok, EPERM, EINVAL, ENOSPC] = [0, 1, 22, 28];

type Row = readonly [
  what: string,
  command: number,
  flags: number,
  offset: number,
  length: number,
  errno: number,
  rules?: Partial<RequestRules>,
];

const table: readonly Row[] = [
  ['a read', read, 0, 0, 512, ok],
  ['a read with FUA, which is ignored', read, 1, 0, 512, ok],
  ['a read with FUA that was not advertised', read, 1, 0, 512, EINVAL, { fua: false }],
  ['a read of the last block', read, 0, 2 ** 33 - 512, 512, ok],
  ['a read that ends one block behind', read, 0, 2 ** 33 - 512, 1024, EINVAL],
  ['a read behind the end', read, 0, 2 ** 33, 512, EINVAL],
  ['a read far behind the end', read, 0, 2 ** 64, 512, EINVAL],
  ['a read longer than the device', read, 0, 0, 1024, EINVAL, { sizeBytes: 512 }],
  ['a read at an odd offset', read, 0, 511, 512, EINVAL],
  ['a read at an odd offset above 2^32', read, 0, 2 ** 32 + 1, 512, EINVAL],
  ['a read at an aligned offset above 2^32', read, 0, 2 ** 32 + 512, 512, ok],
  ['a read of an odd length', read, 0, 0, 513, EINVAL],
  ['a read of half a large block', read, 0, 2048, 2048, EINVAL, { minimumBlockBytes: 4096 }],
  ['a read of nothing', read, 0, 0, 0, EINVAL],
  ['a read of 32 MiB', read, 0, 0, 32 * mebibyte, ok],
  ['a read above 32 MiB', read, 0, 0, 32 * mebibyte + 512, EINVAL],
  ['a read above what is served', read, 0, 0, mebibyte + 512, EINVAL, { payloadBytesMax: mebibyte }],
  ['a read with NO_HOLE', read, 2, 0, 512, EINVAL],
  ['a read with DF, which was not advertised', read, 4, 0, 512, EINVAL],
  ['a read of a read-only export', read, 0, 0, 512, ok, { readOnly: true }],
  ['a write', write, 0, 0, 512, ok],
  ['a write with FUA', write, 1, 0, 512, ok],
  ['a write with FUA that was not advertised', write, 1, 0, 512, EINVAL, { fua: false }],
  ['a write with an unknown flag', write, 0x8000, 0, 512, EINVAL],
  ['a write that ends behind the end', write, 0, 2 ** 33 - 512, 1024, ENOSPC],
  ['a write behind the end', write, 0, 2 ** 33, 512, ENOSPC],
  ['a write at an odd offset', write, 0, 1, 512, EINVAL],
  ['a write of an odd length', write, 0, 0, 1, EINVAL],
  ['a write of nothing', write, 0, 0, 0, EINVAL],
  ['a write of 32 MiB', write, 0, 0, 32 * mebibyte, ok],
  ['a write above 32 MiB', write, 0, 0, 32 * mebibyte + 512, EINVAL],
  ['a write to a read-only export', write, 0, 0, 512, EPERM, { readOnly: true }],
  ['a write behind the end of a read-only export', write, 0, 2 ** 33, 512, EPERM, { readOnly: true }],
  ['a flush', flush, 0, 0, 0, ok],
  ['a flush with FUA', flush, 1, 0, 0, ok],
  ['a flush of a range', flush, 0, 0, 512, EINVAL],
  ['a flush at an offset', flush, 0, 512, 0, EINVAL],
  ['a flush that was not advertised', flush, 0, 0, 0, EINVAL, { flush: false }],
  ['TRIM, which was not advertised', 4, 0, 0, 512, EINVAL],
  ['CACHE, which was not advertised', 5, 0, 0, 512, EINVAL],
  ['WRITE_ZEROES, which was not advertised', 6, 0, 0, 512, EINVAL],
  ['BLOCK_STATUS, which was not negotiated', 7, 0, 0, 512, EINVAL],
  ['an unknown command', 0xffff, 0, 0, 512, EINVAL],
];

for (const [what, command, flags, offset, length, errno, change] of table) {
  test(`${what} is answered ${errno}`, () => {
    assert.equal(validateRequest({ ...rules, ...change }, { command, flags, offset, length }), errno);
  });
}
