import { openSync } from 'node:fs';
import { bindLibc, checkedResult } from './system-call.ts';

/** linux/include/uapi/asm-generic/unistd.h; one number for all machines. Linux 5.2. */
const SYS_fsopen = 430;
const SYS_fsconfig = 431;
const SYS_fsmount = 432;

/** linux/include/uapi/linux/mount.h */
const FSOPEN_CLOEXEC = 1;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const FSMOUNT_CLOEXEC = 1;
const MOUNT_ATTR_RDONLY = 0x1;
const MOUNT_ATTR_NOSUID = 0x2;
const MOUNT_ATTR_NODEV = 0x4;
const MOUNT_ATTR_NOEXEC = 0x8;

const fsopen = bindLibc<(number: number, name: string, flags: number) => number>('syscall', 'long', [
  'long',
  'str',
  'uint',
]);
const fsconfig = bindLibc<
  (
    number: number,
    fd: number,
    command: number,
    key: string | null,
    value: string | null,
    auxiliary: number,
  ) => number
>('syscall', 'long', ['long', 'int', 'uint', 'str', 'str', 'int']);
const fsmount = bindLibc<(number: number, fd: number, flags: number, attributes: number) => number>(
  'syscall',
  'long',
  ['long', 'int', 'uint', 'uint'],
);
const close = bindLibc<(fd: number) => number>('close', 'int', ['int']);

export interface FuseMount {
  /** /dev/fuse, not blocking. */
  readonly deviceFd: number;
  /**
   * The file system, which stands nowhere in the tree of files: whoever opens `/proc/PID/fd/` of it has the file, and nobody
   * else finds it. It lives while this is open, or the file.
   */
  readonly mountFd: number;
}

export interface FuseMountOptions {
  /** S_IFREG and permissions: the root is a regular file. */
  readonly mode: number;
  readonly readBytesMax: number;
  readonly readOnly: boolean;
}

/** A FUSE file system that is one regular file. Throws `SystemCallError`, or the system's error for /dev/fuse. */
export function mountFuseFile(options: FuseMountOptions): FuseMount {
  const deviceFd = openSync('/dev/fuse', 'r+');
  const opened = [deviceFd];
  try {
    const context = checkedResult('fsopen', fsopen(SYS_fsopen, 'fuse', FSOPEN_CLOEXEC));
    opened.push(context);
    for (const [key, value] of [
      ['source', 'dm-remap'],
      ['fd', String(deviceFd)],
      ['rootmode', options.mode.toString(8)],
      ['user_id', '0'],
      ['group_id', '0'],
      ['max_read', String(options.readBytesMax)],
    ] as const) {
      const result = fsconfig(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0);
      checkedResult(`fsconfig(${key})`, result);
    }
    checkedResult('fsconfig', fsconfig(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0));
    const attributes =
      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | (options.readOnly ? MOUNT_ATTR_RDONLY : 0);
    const mountFd = checkedResult('fsmount', fsmount(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes));
    close(context);
    return { deviceFd, mountFd };
  } catch (error) {
    for (const fd of opened) close(fd);
    throw error;
  }
}
