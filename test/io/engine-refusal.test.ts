import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno } from '../../src/block/errno.ts';
import { engineRefusal } from '../../src/io/engine-refusal.ts';
import { SystemCallError } from '../../src/linux/system-call.ts';

describe('a machine without io_uring', () => {
  const cases = [
    { errno: Errno.ENOSYS, disabled: undefined, code: 'ENGINE_MISSING', says: /not in this kernel/ },
    { errno: Errno.EPERM, disabled: '2', code: 'ENGINE_FORBIDDEN', says: /io_uring_disabled is 2.*sysctl/ },
    { errno: Errno.EPERM, disabled: '1', code: 'ENGINE_FORBIDDEN', says: /io_uring_disabled is 1/ },
    { errno: Errno.EPERM, disabled: '0', code: 'ENGINE_FORBIDDEN', says: /seccomp/ },
    { errno: Errno.EACCES, disabled: undefined, code: 'ENGINE_FORBIDDEN', says: /seccomp/ },
    { errno: Errno.EINVAL, disabled: '0', code: 'ENGINE_TOO_OLD', says: /Linux 6\.1/ },
    { errno: Errno.ENOMEM, disabled: '0', code: 'ENGINE_NO_MEMORY', says: /ulimit -l/ },
    { errno: Errno.EMFILE, disabled: '0', code: 'ENGINE_FAILED', says: /EMFILE/ },
  ] as const;

  for (const { errno, disabled, code, says } of cases) {
    it(`says ${code} in one line for errno ${errno}, io_uring_disabled ${disabled ?? 'absent'}`, () => {
      const refusal = engineRefusal(new SystemCallError('io_uring_setup', errno), disabled);
      assert.equal(refusal.code, code);
      assert.match(refusal.message, says);
      assert.doesNotMatch(refusal.message, /\n/);
    });
  }
});
