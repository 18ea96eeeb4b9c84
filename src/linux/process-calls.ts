import { bindLibc, lastErrno } from './system-call.ts';

/** linux/include/uapi/linux/prctl.h; Linux 5.6. */
const PR_SET_IO_FLUSHER = 57;

const prctl = bindLibc<
  (option: number, argument: number, third: number, fourth: number, fifth: number) => number
>('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);

/**
 * Tells the kernel that this thread helps it to write dirty pages out: its own allocations then never wait for such writing.
 * Of this thread, and of the threads and processes it makes from then on, over exec too. Returns the errno of the refusal,
 * 0 when done; needs CAP_SYS_RESOURCE.
 */
export function setIoFlusher(enabled: boolean): number {
  return prctl(PR_SET_IO_FLUSHER, enabled ? 1 : 0, 0, 0, 0) === 0 ? 0 : lastErrno();
}
