import assert from 'node:assert/strict';
import type { FuseChannel } from '../../src/io/fuse-channel.ts';

const headerBytes = 40;
const outHeaderBytes = 16;

/** One reply as the kernel reads it. */
export interface KernelReply {
  readonly unique: bigint;
  /** Positive errno; 0: done. */
  readonly errno: number;
  readonly body: Uint8Array;
}

/** The kernel's end of /dev/fuse, written from linux/include/uapi/linux/fuse.h and not with our codec. */
export class ScriptedKernel implements FuseChannel {
  readonly peer = 'scripted kernel';
  readonly incoming: Uint8Array = new Uint8Array(80 + 1024 * 1024);
  readonly replies: KernelReply[] = [];
  openedCount = 0;
  closedCount = 0;
  /** Requests that were taken. */
  taken = 0;
  #unique = 1n;
  #gone = false;
  #onReadable: (() => void) | undefined;
  readonly #requests: Uint8Array[] = [];

  /** Sends a request; its number. */
  ask(opcode: number, body: Uint8Array = new Uint8Array(0), unique: bigint = this.#unique): bigint {
    this.#unique += 2n;
    const bytes = new Uint8Array(headerBytes + body.length);
    const fields = new DataView(bytes.buffer);
    fields.setUint32(0, bytes.length, true);
    fields.setUint32(4, opcode, true);
    fields.setBigUint64(8, unique, true);
    fields.setBigUint64(16, 1n, true);
    bytes.set(body, headerBytes);
    this.send(bytes);
    return unique;
  }

  /** Whatever bytes. */
  send(bytes: Uint8Array): void {
    this.#requests.push(bytes);
    this.#signal();
  }

  /** struct fuse_init_in */
  init(major = 7, minor = 45): bigint {
    return this.ask(26, words(major, minor, 0x20000, 0x73ff_fffb));
  }

  open(flags = 2): bigint {
    return this.ask(14, words(flags, 0));
  }

  read(offset: number, length: number): bigint {
    return this.ask(15, concat(quads(0, offset), words(length, 0), quads(0), words(0, 0)));
  }

  write(offset: number, payload: Uint8Array): bigint {
    return this.ask(16, concat(quads(0, offset), words(payload.length, 0), quads(0), words(0, 0), payload));
  }

  fsync(): bigint {
    return this.ask(20, concat(quads(0), words(1, 0)));
  }

  fallocate(mode: number, offset: number, length: number): bigint {
    return this.ask(43, concat(quads(0, offset, length), words(mode, 0)));
  }

  /** The last user has closed the file. */
  letGo(): void {
    this.#gone = true;
    this.#signal();
  }

  /** The reply to a request; fails when there is none, or more than one. */
  replyTo(unique: bigint): KernelReply {
    const found = this.replies.filter((reply) => reply.unique === unique);
    assert.equal(found.length, 1, `replies to request ${unique}`);
    return found[0]!;
  }

  receive(): number {
    const request = this.#requests.shift();
    if (request === undefined) return this.#gone || this.closedCount > 0 ? -1 : 0;
    this.taken += 1;
    // What an earlier request left there must not matter.
    this.incoming.fill(0xee);
    this.incoming.set(request);
    return request.length;
  }

  reply(head: Uint8Array, data: Uint8Array = new Uint8Array(0)): void {
    assert.equal(this.closedCount, 0, 'no reply after closing');
    const fields = new DataView(head.buffer, head.byteOffset, head.byteLength);
    assert.equal(fields.getUint32(0, true), head.length + data.length, 'the length that the header says');
    const errno = Math.abs(fields.getInt32(4, true));
    if (errno !== 0) assert.equal(head.length + data.length, outHeaderBytes, 'an error has no body');
    const body = concat(head.subarray(outHeaderBytes), data);
    this.replies.push({ unique: fields.getBigUint64(8, true), errno, body });
  }

  watchOnce(onReadable: () => void): void {
    assert.equal(this.closedCount, 0, 'no watch after closing');
    this.#onReadable = onReadable;
    if (this.#requests.length > 0 || this.#gone) this.#signal();
  }

  opened(): void {
    this.openedCount += 1;
  }

  close(): void {
    this.closedCount += 1;
  }

  #signal(): void {
    const tell = this.#onReadable;
    this.#onReadable = undefined;
    if (tell !== undefined) setImmediate(tell);
  }
}

export function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(new Uint32Array(values).buffer);
}

export function quads(...values: readonly number[]): Uint8Array {
  return new Uint8Array(new BigUint64Array(values.map(BigInt)).buffer);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
