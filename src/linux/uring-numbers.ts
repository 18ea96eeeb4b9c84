/** Numbers of io_uring: linux/include/uapi/linux/io_uring.h. System calls have the same numbers on every architecture. */

/** linux/include/uapi/asm-generic/unistd.h */
export const systemCallNumber = {
  ioUringSetup: 425,
  ioUringEnter: 426,
  ioUringRegister: 427,
} as const;

export const setupFlag = {
  cqSize: 0x8,
  /** One refused entry must not leave the rest of a batch unsubmitted. Linux 5.18. */
  submitAll: 0x80,
  /** SQ flags say when the kernel has work that only an enter will run. Linux 5.19. */
  taskrunFlag: 0x200,
  /** Ring used by the thread that made it, only. Linux 6.0. */
  singleIssuer: 0x1000,
  /** Completions run when we enter, not in the middle of something else. Linux 6.1. */
  deferTaskrun: 0x2000,
} as const;

export const feature = {
  singleMmap: 0x1,
  /** A full completion queue keeps completions in the kernel instead of dropping them. */
  noDrop: 0x2,
  /** What an entry points to is read when the entry is submitted. */
  submitStable: 0x4,
} as const;

export const enterFlag = { getEvents: 0x1 } as const;

export const sqFlag = { cqOverflow: 0x2, taskrun: 0x4 } as const;

export const cqFlag = { eventfdDisabled: 0x1 } as const;

export const registerOperation = { eventfd: 4 } as const;

export const mapOffset = { rings: 0, entries: 0x10000000 } as const;

export const Operation = {
  nop: 0,
  fsync: 3,
  sendMessage: 9,
  accept: 13,
  asyncCancel: 14,
  connect: 16,
  fallocate: 17,
  read: 22,
  write: 23,
  receive: 27,
} as const;

export type Operation = (typeof Operation)[keyof typeof Operation];

export const fsyncFlag = { dataSync: 0x1 } as const;

/** struct io_uring_params: 120 bytes, fields by offset. */
export const paramsLayout = {
  bytes: 120,
  cqEntries: 4,
  flags: 8,
  sqEntriesOut: 0,
  features: 20,
  sqHead: 40,
  sqTail: 44,
  sqRingMask: 48,
  sqFlags: 56,
  sqArray: 64,
  cqHead: 80,
  cqTail: 84,
  cqRingMask: 88,
  cqes: 100,
  cqFlags: 104,
} as const;

export const submissionEntryBytes = 64;
export const completionEntryBytes = 16;
