import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransmissionFlag } from '../../src/nbd/constants.ts';
import type { ExportDescription } from '../../src/nbd/export-description.ts';
import { requestRules, validateRequest } from '../../src/nbd/request-validator.ts';

const mebibyte = 1024 * 1024;
const everything = Object.values(TransmissionFlag).reduce((flags, flag) => flags | flag, 0);
const all = everything & ~TransmissionFlag.readOnly & ~TransmissionFlag.sendResize;
const exported: ExportDescription = {
  name: 'disk',
  description: '',
  sizeBytes: 2 ** 33,
  transmissionFlags: all,
  minimumBlockBytes: 512,
  preferredBlockBytes: 4096,
  maximumPayloadBytes: 32 * mebibyte,
};
const [read, write, flush, trim, cache, zero, status] = [0, 1, 3, 4, 5, 6, 7];
const [fua, noHole, df, reqOne, fastZero] = [1, 2, 4, 8, 16];
const [ok, EPERM, EINVAL, ENOSPC, EOVERFLOW] = [0, 1, 22, 28, 75];
const longest = 2 ** 32 - 512;

type Change = Partial<ExportDescription> & { readonly without?: number; readonly noContexts?: boolean };
type Row = readonly [
  what: string,
  command: number,
  flags: number,
  offset: number,
  length: number,
  errno: number,
  change?: Change,
];
const readOnly = { transmissionFlags: all | TransmissionFlag.readOnly };
const noFua = { without: TransmissionFlag.sendFua };

const table: readonly Row[] = [
  ['a read', read, 0, 0, 512, ok],
  ['a read with FUA, which is ignored', read, fua, 0, 512, ok],
  ['a read with FUA that was not advertised', read, fua, 0, 512, EINVAL, noFua],
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
  ['a read above what is served', read, 0, 0, mebibyte + 512, EINVAL, { maximumPayloadBytes: mebibyte }],
  ['a read with NO_HOLE', read, noHole, 0, 512, EINVAL],
  ['a read with REQ_ONE', read, reqOne, 0, 512, EINVAL],
  ['a read with DF', read, df, 0, 32 * mebibyte, ok],
  ['a read with DF, above 32 MiB', read, df, 0, 32 * mebibyte + 512, EOVERFLOW],
  ['a read with DF, not advertised', read, df, 0, 512, EINVAL, { without: TransmissionFlag.sendDf }],
  ['a read of a read-only export', read, 0, 0, 512, ok, readOnly],
  ['a write', write, 0, 0, 512, ok],
  ['a write with FUA', write, fua, 0, 512, ok],
  ['a write with FUA that was not advertised', write, fua, 0, 512, EINVAL, noFua],
  ['a write with DF', write, df, 0, 512, EINVAL],
  ['a write with an unknown flag', write, 0x8000, 0, 512, EINVAL],
  ['a write that ends behind the end', write, 0, 2 ** 33 - 512, 1024, ENOSPC],
  ['a write behind the end', write, 0, 2 ** 33, 512, ENOSPC],
  ['a write at an odd offset', write, 0, 1, 512, EINVAL],
  ['a write of an odd length', write, 0, 0, 1, EINVAL],
  ['a write of nothing', write, 0, 0, 0, EINVAL],
  ['a write of 32 MiB', write, 0, 0, 32 * mebibyte, ok],
  ['a write above 32 MiB', write, 0, 0, 32 * mebibyte + 512, EINVAL],
  ['a write to a read-only export', write, 0, 0, 512, EPERM, readOnly],
  ['a write behind the end of a read-only export', write, 0, 2 ** 33, 512, EPERM, readOnly],
  ['a flush', flush, 0, 0, 0, ok],
  ['a flush with FUA', flush, fua, 0, 0, ok],
  ['a flush of a range', flush, 0, 0, 512, EINVAL],
  ['a flush at an offset', flush, 0, 512, 0, EINVAL],
  ['a flush that was not advertised', flush, 0, 0, 0, EINVAL, { without: TransmissionFlag.sendFlush }],
  ['a trim', trim, 0, 0, 512, ok],
  ['a trim with FUA', trim, fua, 0, 512, ok],
  ['a trim of 4 GiB', trim, 0, 512, longest, ok],
  ['a trim of an odd length', trim, 0, 0, 2 ** 32 - 1, EINVAL],
  ['a trim at an odd offset', trim, 0, 1, 512, EINVAL],
  ['a trim that ends behind the end', trim, 0, 2 ** 33 - 512, 1024, EINVAL],
  ['a trim of nothing', trim, 0, 0, 0, EINVAL],
  ['a trim with NO_HOLE', trim, noHole, 0, 512, EINVAL],
  ['a trim of a read-only export', trim, 0, 0, 512, EPERM, readOnly],
  ['a trim that was not advertised', trim, 0, 0, 512, EINVAL, { without: TransmissionFlag.sendTrim }],
  [
    'a trim of a read-only export, not advertised',
    trim,
    0,
    0,
    512,
    EPERM,
    { ...readOnly, without: TransmissionFlag.sendTrim },
  ],
  ['write-zeroes', zero, 0, 0, 512, ok],
  ['write-zeroes with all its flags', zero, fua | noHole | fastZero, 0, 512, ok],
  ['write-zeroes of 4 GiB', zero, 0, 512, longest, ok],
  ['write-zeroes that ends behind the end', zero, 0, 2 ** 33 - 512, 1024, ENOSPC],
  ['write-zeroes at an odd offset', zero, 0, 1, 512, EINVAL],
  ['write-zeroes of an odd length', zero, 0, 0, 1, EINVAL],
  ['write-zeroes of nothing', zero, 0, 0, 0, EINVAL],
  ['write-zeroes with DF', zero, df, 0, 512, EINVAL],
  ['write-zeroes to a read-only export', zero, 0, 0, 512, EPERM, readOnly],
  ['write-zeroes, not advertised', zero, 0, 0, 512, EINVAL, { without: TransmissionFlag.sendWriteZeroes }],
  ['FAST_ZERO, not advertised', zero, fastZero, 0, 512, EINVAL, { without: TransmissionFlag.sendFastZero }],
  ['CACHE', cache, 0, 0, longest, ok],
  ['CACHE with FUA, which is ignored', cache, fua, 0, 512, ok],
  ['CACHE behind the end', cache, 0, 2 ** 33, 512, EINVAL],
  ['CACHE at an odd offset', cache, 0, 1, 512, EINVAL],
  ['CACHE of a read-only export', cache, 0, 0, 512, ok, readOnly],
  ['CACHE, not advertised', cache, 0, 0, 512, EINVAL, { without: TransmissionFlag.sendCache }],
  ['BLOCK_STATUS', status, 0, 0, longest, ok],
  ['BLOCK_STATUS with REQ_ONE and FUA', status, reqOne | fua, 0, 512, ok],
  ['BLOCK_STATUS with NO_HOLE', status, noHole, 0, 512, EINVAL],
  ['BLOCK_STATUS behind the end', status, 0, 2 ** 33, 512, EINVAL],
  ['BLOCK_STATUS at an odd offset', status, 0, 1, 512, EINVAL],
  ['BLOCK_STATUS of nothing', status, 0, 0, 0, EINVAL],
  ['BLOCK_STATUS of a read-only export', status, 0, 0, 512, ok, readOnly],
  ['BLOCK_STATUS without contexts', status, 0, 0, 512, EINVAL, { noContexts: true }],
  ['RESIZE', 8, 0, 0, 512, EINVAL],
  ['an unknown command', 0xffff, 0, 0, 512, EINVAL],
];

for (const [what, command, flags, offset, length, errno, change = {}] of table) {
  test(`${what} is answered ${errno}`, () => {
    const { without = 0, noContexts = false, ...described } = change;
    const changed = { ...exported, ...described };
    const transmissionFlags = changed.transmissionFlags & ~without;
    const rules = requestRules({ ...changed, transmissionFlags }, !noContexts);
    assert.equal(validateRequest(rules, { command, flags, offset, length }), errno);
  });
}
