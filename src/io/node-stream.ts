import { connect, type NetConnectOpts, Socket } from 'node:net';
import { assert } from '../block/assert.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { describeAddress } from '../linux/socket-address.ts';
import { hasPeerLeft, keepAliveIdleSeconds, peerAddress, prepareTcpSocket } from '../linux/socket-calls.ts';
import { type ByteStream, StreamError, streamErrorOf } from './byte-stream.ts';

/** All that is received before somebody asks for it; then the socket is not read, its peer waits. */
const receiveBufferBytes = 64 * 1024;

/** As `prepareTcpSocket` does for connections that we accept; a Unix socket ignores them. */
const tcpOptions = {
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 1000 * keepAliveIdleSeconds,
} as const;

interface WaitingReceive {
  readonly target: Uint8Array;
  readonly resolve: (count: number) => void;
  readonly reject: (error: StreamError) => void;
}

/** How a socket of Node's hands out what it received: into one buffer, until `callback` says false. */
interface ReceivingOptions {
  readonly allowHalfOpen: true;
  readonly onread: { readonly buffer: Uint8Array; readonly callback: (count: number) => boolean };
}

/** A connected socket of node:net. */
export class NodeStream implements ByteStream {
  readonly peer: string;
  readonly #arena: BufferArena;
  readonly #socket: Socket;
  /** Known for accepted connections. */
  readonly #fd: number | undefined;
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(receiveBufferBytes);
  /** Bytes of the buffer that nobody has asked for yet: from `#taken` to `#received`. */
  #taken = 0;
  #received = 0;
  #ended = false;
  #failure: StreamError | undefined;
  #receiving: WaitingReceive | undefined;
  #sending = false;
  #closing: Promise<void> | undefined;

  private constructor(
    arena: BufferArena,
    peer: string,
    open: (options: ReceivingOptions) => Socket,
    fd?: number,
  ) {
    this.#arena = arena;
    this.#fd = fd;
    this.peer = peer;
    // The peer's end is not ours: what it still wants to receive is sent.
    this.#socket = open({
      allowHalfOpen: true,
      onread: { buffer: this.#buffer, callback: (count) => this.#deliver(count) },
    });
    this.#socket.on('end', () => this.#end());
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(this.#errorOf(error)));
    this.#socket.on('close', () => this.#fail(this.#closedError()));
  }

  /** Takes over the descriptor of an accepted connection. */
  static ofDescriptor(arena: BufferArena, fd: number): NodeStream {
    const address = peerAddress(fd);
    const peer = address === undefined ? 'a peer that has gone' : describeAddress(address);
    if (peer !== 'unix' && address !== undefined) prepareTcpSocket(fd);
    return new NodeStream(
      arena,
      peer,
      (options) => new Socket({ ...options, fd, readable: true, writable: true }),
      fd,
    );
  }

  /** Rejects with `StreamError` when nobody listens there; `where` is for messages. */
  static async connected(arena: BufferArena, place: NetConnectOpts, where: string): Promise<NodeStream> {
    const stream = new NodeStream(arena, where, (options) =>
      connect({ ...place, ...options, ...tcpOptions }),
    );
    await new Promise<void>((resolve, reject) => {
      stream.#socket.once('connect', resolve);
      stream.#socket.once('close', () => reject(stream.#failure ?? stream.#closedError()));
    });
    return stream;
  }

  receive(target: Uint8Array): Promise<number> {
    assert(target.length > 0, 'ByteStream: a receive needs room for a byte');
    assert(this.#receiving === undefined, 'NodeStream: a second receive at once');
    if (this.#closing !== undefined) return Promise.reject(this.#closedError());
    if (this.#taken < this.#received) return Promise.resolve(this.#take(target));
    if (this.#ended) return Promise.resolve(0);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#receiving = { target, resolve, reject };
    });
  }

  send(parts: readonly Uint8Array[]): Promise<void> {
    assert(!this.#sending, 'NodeStream: two sends at once would interleave on the wire');
    if (this.#closing !== undefined) return Promise.reject(this.#closedError());
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const present = parts.filter((part) => part.length > 0);
    if (present.length === 0) return Promise.resolve();
    const held = present.filter((part) => this.#arena.contains(part));
    for (const part of held) this.#arena.hold(part);
    this.#sending = true;
    return new Promise((resolve, reject) => {
      this.#write(present, (error) => {
        // libuv reads the parts until it has written them all, or until its handle is closed: both are past here (I27).
        for (const part of held) this.#arena.release(part);
        this.#sending = false;
        if (this.#closing !== undefined) reject(this.#closedError());
        else if (error !== null && error !== undefined) reject(this.#errorOf(error));
        // Node calls a write that its `destroy` cut off a success.
        else if (this.#socket.destroyed) reject(this.#errorOf(this.#socket.errored ?? new Error('cut off')));
        else resolve();
      });
    });
  }

  peerHasLeft(): boolean {
    // Where its descriptor is not known, the peer's end is only heard of in its turn.
    return this.#ended || this.#socket.destroyed || (this.#fd !== undefined && hasPeerLeft(this.#fd));
  }

  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  #write(parts: readonly Uint8Array[], done: (error: Error | null | undefined) => void): void {
    const last = parts.length - 1;
    // Together: one vector for the kernel, and one answer.
    this.#socket.cork();
    for (const [index, part] of parts.entries()) {
      if (index === last) this.#socket.write(part, done);
      else this.#socket.write(part);
    }
    this.#socket.uncork();
  }

  /** Bytes have come into the buffer, which was empty. False: no more for now. */
  #deliver(count: number): boolean {
    this.#taken = 0;
    this.#received = count;
    const waiting = this.#receiving;
    if (waiting === undefined) return false;
    this.#receiving = undefined;
    waiting.resolve(this.#copy(waiting.target));
    return this.#taken === this.#received;
  }

  /** For a socket that was told not to read on. */
  #take(target: Uint8Array): number {
    const count = this.#copy(target);
    if (this.#taken === this.#received) this.#socket.resume();
    return count;
  }

  #copy(target: Uint8Array): number {
    const count = Math.min(target.length, this.#received - this.#taken);
    target.set(this.#buffer.subarray(this.#taken, this.#taken + count));
    this.#taken += count;
    return count;
  }

  #end(): void {
    this.#ended = true;
    this.#receiving?.resolve(0);
    this.#receiving = undefined;
  }

  /** The first reason stays. */
  #fail(error: StreamError): void {
    this.#failure ??= error;
    this.#receiving?.reject(this.#failure);
    this.#receiving = undefined;
  }

  #errorOf(error: NodeJS.ErrnoException): StreamError {
    if (this.#failure !== undefined) return this.#failure;
    if (error.errno !== undefined) return streamErrorOf(this.peer, -error.errno);
    return new StreamError('STREAM_RESET', `${this.peer}: ${error.message}`);
  }

  #closedError(): StreamError {
    return new StreamError('STREAM_CLOSED', `${this.peer}: the connection is closed`);
  }

  #shutDown(): Promise<void> {
    this.#fail(this.#closedError());
    if (this.#socket.closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#socket.once('close', () => resolve());
      this.#socket.destroy();
    });
  }
}
