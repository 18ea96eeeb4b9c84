import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, it } from 'node:test';
import { Errno, errnoName, failureKindOfErrno } from '../../src/block/errno.ts';

/** R15 as it stands in the rules, by name. */
const table: Readonly<Record<string, readonly string[]>> = {
  medium: ['ENODATA'],
  suspect: ['EIO', 'EREMOTEIO', 'EILSEQ', 'ETIMEDOUT'],
  path: ['ENODEV', 'ENXIO', 'ENOLINK', 'ESHUTDOWN', 'ENOTCONN', 'ECONNRESET', 'EPIPE', 'EBADE', 'ETIME'],
  'no-space': ['ENOSPC', 'EDQUOT', 'EFBIG'],
  refused: ['EROFS', 'EPERM', 'EACCES'],
  transient: ['EAGAIN', 'EINTR', 'ENOMEM', 'EBUSY', 'ECANCELED'],
  unsupported: ['EOPNOTSUPP', 'ENOSYS'],
  bug: ['EINVAL', 'EFAULT'],
};

const numbers: Readonly<Record<string, number>> = Errno;

describe('R15 the errno table', () => {
  for (const [kind, names] of Object.entries(table)) {
    it(`${names.join(' ')} ${names.length === 1 ? 'is' : 'are'} ${kind}`, () => {
      for (const name of names) {
        const errno = numbers[name];
        assert.ok(errno !== undefined, name);
        assert.equal(failureKindOfErrno(errno), kind, name);
      }
    });
  }

  it('everything else is about the path, never a reason to remap', () => {
    const listed = new Set(
      Object.values(table)
        .flat()
        .map((name) => numbers[name]),
    );
    for (let errno = 1; errno < 4096; errno += 1) {
      if (!listed.has(errno)) assert.equal(failureKindOfErrno(errno), 'path', errnoName(errno));
    }
  });

  it('has the numbers of this kernel', () => {
    const ofNode: Readonly<Record<string, number>> = constants.errno;
    let compared = 0;
    for (const [name, errno] of Object.entries(Errno)) {
      if (ofNode[name] === undefined) continue;
      assert.equal(errno, ofNode[name], name);
      compared += 1;
    }
    assert.ok(compared > 25);
  });

  it('names a number', () => {
    assert.equal(errnoName(5), 'EIO');
    assert.equal(errnoName(999), 'errno 999');
  });
});
