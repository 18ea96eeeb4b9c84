import process from 'node:process';
import { assert } from '../block/assert.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import type { Clock, ScheduledAction } from '../block/clock.ts';
import { Errno, errnoName } from '../block/errno.ts';
import { mountFuseFile } from '../linux/fuse-mount.ts';
import { MemoryMapping } from '../linux/memory-mapping.ts';
import { ReadableWatch } from '../linux/readable-watch.ts';
import { closeDescriptor } from '../linux/socket-calls.ts';
import { PairWriter, readNow } from '../linux/vector-calls.ts';
import type { FuseChannel } from './fuse-channel.ts';

export interface FuseFileOptions {
  /** The memory that replies lie in, and the kernel's name for its first byte. */
  readonly arena: BufferArena;
  readonly arenaAddress: number;
  readonly clock: Clock;
  /** Bytes of the largest request. */
  readonly requestBytesMax: number;
  /** Bytes of the largest read. */
  readonly readBytesMax: number;
  /** Of the file, as stat(2) has it. */
  readonly mode: number;
  readonly readOnly: boolean;
}

/** A file that nobody has opened by then goes again: whoever asked for it has died. */
export const unopenedFileMs = 30_000;

/** Of small replies; larger ones would be data. */
const replyBytesMax = 4096;

/**
 * A FUSE file system of ours that is one regular file, as `/proc/PID/fd/N` and under no other name. Reads and writes of /dev/fuse
 * copy memory and wait for nobody: they are done on the data thread, by either engine's process.
 */
export class FuseFile implements FuseChannel {
  readonly peer = 'kernel (FUSE)';
  readonly incoming: Uint8Array;
  /** By which another process opens it. */
  readonly path: string;
  readonly #options: FuseFileOptions;
  readonly #deviceFd: number;
  #mountFd: number;
  /** A request, and behind it a reply: locked, for a thread that the kernel waits for must not wait for memory. */
  readonly #mapping: MemoryMapping;
  readonly #outgoing: Uint8Array;
  readonly #writer: PairWriter = new PairWriter();
  readonly #watch: ReadableWatch;
  readonly #unopened: ScheduledAction;
  #onReadable: (() => void) | undefined;
  #closed = false;

  /** Throws the system's error or `SystemCallError`: no /dev/fuse, no right to mount. */
  constructor(options: FuseFileOptions) {
    this.#options = options;
    const { mode, readBytesMax, readOnly, requestBytesMax, clock } = options;
    const { deviceFd, mountFd } = mountFuseFile({ mode, readBytesMax, readOnly });
    this.#deviceFd = deviceFd;
    this.#mountFd = mountFd;
    this.path = `/proc/${process.pid}/fd/${mountFd}`;
    this.#mapping = MemoryMapping.anonymous(wholePages(requestBytesMax) + replyBytesMax);
    this.#mapping.lock();
    this.incoming = new Uint8Array(this.#mapping.buffer, 0, requestBytesMax);
    this.#outgoing = new Uint8Array(this.#mapping.buffer, wholePages(requestBytesMax), replyBytesMax);
    this.#watch = new ReadableWatch(deviceFd, () => setImmediate(() => this.#signal()));
    this.#unopened = clock.schedule(unopenedFileMs, () => this.opened());
  }

  receive(): number {
    if (this.#closed) return -1;
    for (;;) {
      const answer = receivedBytes(readNow(this.#deviceFd, this.#mapping.address, this.incoming.length));
      if (answer !== undefined) return answer;
    }
  }

  reply(head: Uint8Array, data?: Uint8Array): void {
    if (this.#closed) return;
    this.#outgoing.set(head);
    const address = this.#mapping.address + this.#outgoing.byteOffset;
    const length = data?.length ?? 0;
    const dataAddress = length === 0 ? 0 : this.#addressOf(data!);
    const result = this.#writer.write(this.#deviceFd, address, head.length, dataAddress, length);
    // ENOENT: nobody waits for it any more. ENODEV: nobody waits for anything. EIO, EFAULT and the like would be our bug.
    assert(
      result === head.length + length || result === -Errno.ENOENT || result === -Errno.ENODEV,
      `/dev/fuse: write answers ${result < 0 ? errnoName(-result) : result}`,
    );
  }

  watchOnce(onReadable: () => void): void {
    this.#onReadable = onReadable;
    this.#watch.watchOnce();
  }

  opened(): void {
    this.#unopened.cancel();
    if (this.#mountFd < 0) return;
    closeDescriptor(this.#mountFd);
    this.#mountFd = -1;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.opened();
    this.#watch.close();
    closeDescriptor(this.#deviceFd);
    this.#writer.close();
    this.#mapping.unmap();
  }

  #signal(): void {
    const tell = this.#onReadable;
    this.#onReadable = undefined;
    tell?.();
  }

  #addressOf(data: Uint8Array): number {
    const { arena, arenaAddress } = this.#options;
    assert(arena.contains(data), 'FuseFile: the data of a reply is not in the arena');
    return arenaAddress + data.byteOffset;
  }
}

/**
 * What a read of /dev/fuse means for `receive`; undefined: it is to be asked again (linux/fs/fuse/dev.c, fuse_dev_do_read).
 *
 * - ENOENT        the request was given up between being there and being read
 * - ECONNABORTED  the kernel let go of the file in that moment, as it does when its last user closes it or root aborts the
 *                 connection; the next read says ENODEV
 */
export function receivedBytes(result: number): number | undefined {
  if (result >= 0) return result;
  if (result === -Errno.EAGAIN) return 0;
  if (result === -Errno.ENODEV) return -1;
  const again = result === -Errno.ENOENT || result === -Errno.EINTR || result === -Errno.ECONNABORTED;
  assert(again, `/dev/fuse: read answers ${errnoName(-result)}`);
  return undefined;
}

function wholePages(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}
