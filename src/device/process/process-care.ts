import type { ProcessStatus } from '../messages.ts';
import { outOfMemoryScore } from './memory-pressure.ts';

/**
 * What a process in the kernel's write-out path should have and this one has not, as one sentence for operators;
 * undefined when all of it is.
 */
export function missingCare(care: ProcessStatus): string | undefined {
  const missing = [
    ...(care.ioFlusher ? [] : ['PR_SET_IO_FLUSHER (CAP_SYS_RESOURCE)']),
    ...(care.oomScoreAdjust <= outOfMemoryScore ? [] : [`OOM score ${outOfMemoryScore} (CAP_SYS_RESOURCE)`]),
    ...(care.memoryLocked ? [] : ['I/O memory locked (CAP_IPC_LOCK, or RLIMIT_MEMLOCK above it)']),
  ];
  if (missing.length === 0) return undefined;
  return `not in place for want of rights: ${missing.join(', ')}; when memory is short, a file system of this machine on the export may wait for itself`;
}
