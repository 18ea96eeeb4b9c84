import { readFileSync } from 'node:fs';
import { Errno, errnoName } from '../block/errno.ts';
import type { SystemCallError } from '../linux/system-call.ts';

/** The engine that was asked for is not to be had; the message is one line that says why and what helps. */
export class EngineRefusal extends Error {
  override readonly name = 'EngineRefusal';
  /** `ENGINE_MISSING` no io_uring, `ENGINE_TOO_OLD`, `ENGINE_FORBIDDEN` by an administrator, `ENGINE_NO_MEMORY`, else `ENGINE_FAILED`; `ENGINE_UNKNOWN` none that we know was asked for. */
  readonly code: EngineRefusalCode;

  constructor(code: EngineRefusalCode, message: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export type EngineRefusalCode =
  | 'ENGINE_MISSING'
  | 'ENGINE_TOO_OLD'
  | 'ENGINE_FORBIDDEN'
  | 'ENGINE_NO_MEMORY'
  | 'ENGINE_FAILED'
  | 'ENGINE_UNKNOWN';

/** Linux 6.6: 1 allows a group only, 2 nobody. Undefined where the kernel has no such switch. */
export function readDisabledSwitch(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/io_uring_disabled', 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** What a refused io_uring_setup means. `disabledSwitch` is kernel.io_uring_disabled. */
export function engineRefusal(error: SystemCallError, disabledSwitch: string | undefined): EngineRefusal {
  switch (error.errno) {
    case Errno.ENOSYS:
      return new EngineRefusal(
        'ENGINE_MISSING',
        'io_uring is not in this kernel; Linux 6.1 or newer built with CONFIG_IO_URING is needed',
        error,
      );
    case Errno.EPERM:
    case Errno.EACCES:
      return new EngineRefusal('ENGINE_FORBIDDEN', forbiddenMessage(disabledSwitch), error);
    case Errno.EINVAL:
      return new EngineRefusal(
        'ENGINE_TOO_OLD',
        'io_uring of this kernel is too old; Linux 6.1 or newer is needed',
        error,
      );
    case Errno.ENOMEM:
      return new EngineRefusal(
        'ENGINE_NO_MEMORY',
        'io_uring got no memory for its queues; raise the locked-memory limit (ulimit -l) or free memory',
        error,
      );
    default:
      return new EngineRefusal(
        'ENGINE_FAILED',
        `io_uring could not be set up: ${errnoName(error.errno)}`,
        error,
      );
  }
}

function forbiddenMessage(disabledSwitch: string | undefined): string {
  if (disabledSwitch === '1' || disabledSwitch === '2') {
    return `io_uring is switched off here (kernel.io_uring_disabled is ${disabledSwitch}); an administrator can run: sysctl kernel.io_uring_disabled=0`;
  }
  return 'io_uring is forbidden to this process, as container runtimes do with seccomp; allow io_uring_setup, io_uring_enter and io_uring_register';
}
