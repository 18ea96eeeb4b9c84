import { assert } from '../block/assert.ts';
import { Errno } from '../block/errno.ts';
import { MemoryMapping } from './memory-mapping.ts';
import { bindLibc, checkedResult, lastErrno, SystemCallError } from './system-call.ts';
import {
  completionEntryBytes,
  cqFlag,
  enterFlag,
  feature,
  mapOffset,
  type Operation,
  paramsLayout,
  registerOperation,
  setupFlag,
  sqFlag,
  submissionEntryBytes,
  systemCallNumber,
} from './uring-numbers.ts';

type SystemCall = (
  number: number,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
) => number;

const systemCall = bindLibc<SystemCall>('syscall', 'long', [
  'long',
  'size_t',
  'size_t',
  'size_t',
  'size_t',
  'size_t',
  'size_t',
]);
const closeDescriptor = bindLibc<(fd: number) => number>('close', 'int', ['int']);

export interface RingOptions {
  /** Entries of the submission queue, a power of two. */
  readonly submissionEntries: number;
  /** Entries of the completion queue, a power of two; requests in flight must never be more. */
  readonly completionEntries: number;
}

/** One request as the kernel reads it; fields not named here are zero. */
export interface SubmissionEntry {
  operation: Operation;
  /** Reads and writes: class and level as in linux/ioprio.h; 0 is the thread's own. */
  ioPriority: number;
  fd: number;
  /** File offset, or the second address of operations that have one. */
  offset: number;
  address: number;
  length: number;
  /** RWF_, MSG_, SOCK_, IORING_FSYNC_ … bits, by operation. */
  operationFlags: number;
  /** The two halves of `user_data`, given back in the completion. */
  userLow: number;
  userHigh: number;
}

export type CompletionHandler = (userLow: number, userHigh: number, result: number) => void;

const twoTo32 = 0x1_0000_0000;

/** A field of the ring shared with the kernel, as an index of a Uint32Array. */
type WordIndex = number;

/**
 * One io_uring: the two queues as typed arrays over the kernel's memory, and the system call that moves them.
 *
 *     we write   SQ tail ──► entries ──► SQ head   the kernel moves
 *     we move    CQ head ◄── entries ◄── CQ tail   the kernel writes
 *
 * Positions run over 2^32 and wrap; an index is `position & mask`. What is submitted is counted by the kernel's SQ head,
 * never by what we asked for: a partial submit is a normal answer.
 */
export class Ring {
  readonly fd: number;
  readonly #rings: MemoryMapping;
  readonly #entries: MemoryMapping;
  readonly #words: Uint32Array;
  readonly #results: Int32Array;
  readonly #submissions: Uint32Array;
  readonly #submissionSigned: Int32Array;
  readonly #submissionEntries: number;
  readonly #sqHead: WordIndex;
  readonly #sqTail: WordIndex;
  readonly #sqFlags: WordIndex;
  readonly #sqMask: number;
  readonly #cqHead: WordIndex;
  readonly #cqTail: WordIndex;
  readonly #cqFlags: WordIndex;
  readonly #cqMask: number;
  readonly #cqes: WordIndex;
  /** Our SQ tail; published to the kernel by `enter`. */
  #tail: number;
  #open = true;

  /** @throws SystemCallError when the kernel lacks or forbids what we need. */
  constructor(options: RingOptions) {
    const params = new Uint32Array(paramsLayout.bytes / 4);
    const word = (offset: number): number => params[offset / 4]!;
    params[paramsLayout.flags / 4] =
      setupFlag.cqSize |
      setupFlag.submitAll |
      setupFlag.singleIssuer |
      setupFlag.deferTaskrun |
      setupFlag.taskrunFlag;
    params[paramsLayout.cqEntries / 4] = options.completionEntries;
    this.fd = setUp(options.submissionEntries, params);
    const needed = feature.singleMmap | feature.noDrop | feature.submitStable;
    if ((word(paramsLayout.features) & needed) !== needed) {
      closeDescriptor(this.fd);
      throw new SystemCallError('io_uring_setup', Errno.EINVAL);
    }
    this.#submissionEntries = word(paramsLayout.sqEntriesOut);
    const completionEntries = word(paramsLayout.cqEntries);
    const ringBytes = Math.max(
      word(paramsLayout.sqArray) + this.#submissionEntries * 4,
      word(paramsLayout.cqes) + completionEntries * completionEntryBytes,
    );
    this.#rings = MemoryMapping.ofDescriptor(this.fd, ringBytes, mapOffset.rings);
    this.#entries = MemoryMapping.ofDescriptor(
      this.fd,
      this.#submissionEntries * submissionEntryBytes,
      mapOffset.entries,
    );
    this.#words = new Uint32Array(this.#rings.buffer, 0, Math.floor(ringBytes / 4));
    this.#results = new Int32Array(this.#rings.buffer, 0, Math.floor(ringBytes / 4));
    this.#submissions = new Uint32Array(this.#entries.buffer);
    this.#submissionSigned = new Int32Array(this.#entries.buffer);
    this.#sqHead = word(paramsLayout.sqHead) / 4;
    this.#sqTail = word(paramsLayout.sqTail) / 4;
    this.#sqFlags = word(paramsLayout.sqFlags) / 4;
    this.#sqMask = this.#words[word(paramsLayout.sqRingMask) / 4]!;
    this.#cqHead = word(paramsLayout.cqHead) / 4;
    this.#cqTail = word(paramsLayout.cqTail) / 4;
    this.#cqFlags = word(paramsLayout.cqFlags) / 4;
    this.#cqMask = this.#words[word(paramsLayout.cqRingMask) / 4]!;
    this.#cqes = word(paramsLayout.cqes) / 4;
    // The kernel's indirection from queue position to entry: never needed, so each position is its own entry.
    const array = word(paramsLayout.sqArray) / 4;
    for (let index = 0; index < this.#submissionEntries; index += 1) this.#words[array + index] = index;
    this.#tail = this.#words[this.#sqTail]!;
  }

  /** Entries pushed that the kernel has not taken yet. */
  get unsubmitted(): number {
    return (this.#tail - Atomics.load(this.#words, this.#sqHead)) >>> 0;
  }

  /** No room for another `push` until the kernel has taken some: `enter`. */
  get full(): boolean {
    return this.unsubmitted >= this.#submissionEntries;
  }

  /** Queues one request; false when the submission queue is full: `enter` first. */
  push(entry: SubmissionEntry): boolean {
    if (this.full) return false;
    const at = (this.#tail & this.#sqMask) * (submissionEntryBytes / 4);
    const words = this.#submissions;
    // u8 opcode, u8 flags, u16 ioprio.
    words[at] = entry.operation + entry.ioPriority * 0x1_0000;
    this.#submissionSigned[at + 1] = entry.fd;
    words[at + 2] = entry.offset % twoTo32;
    words[at + 3] = Math.floor(entry.offset / twoTo32);
    words[at + 4] = entry.address % twoTo32;
    words[at + 5] = Math.floor(entry.address / twoTo32);
    words[at + 6] = entry.length;
    words[at + 7] = entry.operationFlags;
    words[at + 8] = entry.userLow;
    words[at + 9] = entry.userHigh;
    this.#tail = (this.#tail + 1) >>> 0;
    return true;
  }

  /**
   * Hands the kernel what was pushed and runs what it deferred; never waits.
   * Returns 0 or the errno; EINTR, EAGAIN, EBUSY and ENOMEM are normal, and part may have been submitted in any case.
   */
  enter(): number {
    assert(this.#open, 'Ring: used after close');
    Atomics.store(this.#words, this.#sqTail, this.#tail);
    const result = systemCall(
      systemCallNumber.ioUringEnter,
      this.fd,
      this.unsubmitted,
      0,
      enterFlag.getEvents,
      0,
      0,
    );
    return result < 0 ? lastErrno() : 0;
  }

  /** True when an `enter` or a `reap` would find something. No system call: cheap enough to spin on. */
  hasWork(): boolean {
    return (
      this.#words[this.#cqHead] !== Atomics.load(this.#words, this.#cqTail) ||
      (Atomics.load(this.#words, this.#sqFlags) & (sqFlag.taskrun | sqFlag.cqOverflow)) !== 0
    );
  }

  /** Hands over every completion that is in the queue; returns their number. */
  reap(handler: CompletionHandler): number {
    const words = this.#words;
    const tail = Atomics.load(words, this.#cqTail);
    const first = words[this.#cqHead]!;
    let head = first;
    while (head !== tail) {
      const at = this.#cqes + (head & this.#cqMask) * (completionEntryBytes / 4);
      head = (head + 1) >>> 0;
      handler(words[at]!, words[at + 1]!, this.#results[at + 2]!);
    }
    if (head !== first) Atomics.store(words, this.#cqHead, head);
    return (head - first) >>> 0;
  }

  /** Names the eventfd that the kernel signals when there is work. */
  registerEventfd(eventfd: number): void {
    const argument = new Int32Array([eventfd]);
    checkedResult('io_uring_register', register(this.fd, registerOperation.eventfd, argument, 1));
  }

  /** While we turn the ring anyway the eventfd stays quiet. After switching on, look at `hasWork` once more. */
  notify(enabled: boolean): void {
    Atomics.store(this.#words, this.#cqFlags, enabled ? 0 : cqFlag.eventfdDisabled);
  }

  /** Errno of the refusal to lock the queues in memory, 0 when locked. */
  lock(): number {
    return this.#rings.lock() || this.#entries.lock();
  }

  /** The caller has seen every completion. Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeDescriptor(this.fd);
    this.#rings.unmap();
    this.#entries.unmap();
  }
}

const setUpCall = bindLibc<(number: number, entries: number, params: Uint32Array) => number>(
  'syscall',
  'long',
  ['long', 'uint', 'void *'],
);
const registerCall = bindLibc<
  (number: number, fd: number, operation: number, argument: Int32Array, count: number) => number
>('syscall', 'long', ['long', 'int', 'uint', 'void *', 'uint']);

function setUp(entries: number, params: Uint32Array): number {
  return checkedResult('io_uring_setup', setUpCall(systemCallNumber.ioUringSetup, entries, params));
}

function register(fd: number, operation: number, argument: Int32Array, count: number): number {
  return registerCall(systemCallNumber.ioUringRegister, fd, operation, argument, count);
}
