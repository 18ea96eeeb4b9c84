import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionFailure } from '../../src/block/assert.ts';
import { Errno } from '../../src/block/errno.ts';
import { receivedBytes } from '../../src/io/fuse-file.ts';

test('R35 what a file that is let go of answers ends nothing but its session', () => {
  assert.equal(receivedBytes(80), 80);
  assert.equal(receivedBytes(-Errno.EAGAIN), 0);
  assert.equal(receivedBytes(-Errno.ENODEV), -1);
  for (const errno of [Errno.ENOENT, Errno.EINTR, Errno.ECONNABORTED]) {
    assert.equal(receivedBytes(-errno), undefined, 'asked again, for the next request or its end');
  }
  for (const errno of [Errno.EINVAL, Errno.EFAULT, Errno.EIO]) {
    assert.throws(() => receivedBytes(-errno), AssertionFailure);
  }
});
