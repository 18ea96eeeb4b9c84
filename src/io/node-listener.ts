import type { BufferArena } from '../block/buffer-arena.ts';
import { Errno } from '../block/errno.ts';
import { ReadableWatch } from '../linux/readable-watch.ts';
import { acceptNow, closeDescriptor } from '../linux/socket-calls.ts';
import type { ByteStream, StreamListener } from './byte-stream.ts';
import { acceptRetryMs, type ListeningSocket } from './listening-socket.ts';
import { NodeStream } from './node-stream.ts';

/**
 * Accepts on the event loop. Not a `net.Server`: that takes connections that nobody asked for yet, and its sockets cannot be
 * told where to put what they receive.
 */
export class NodeListener implements StreamListener {
  readonly address: string;
  readonly #arena: BufferArena;
  readonly #socket: ListeningSocket;
  readonly #watch: ReadableWatch;
  #closed = false;
  /** Ends the wait of the accept that is outstanding. */
  #wake: () => void = () => {};

  /** Takes over the socket. */
  constructor(arena: BufferArena, socket: ListeningSocket) {
    this.address = socket.address;
    this.#arena = arena;
    this.#socket = socket;
    this.#watch = new ReadableWatch(socket.fd, () => setImmediate(() => this.#wake()));
  }

  async accept(): Promise<ByteStream | undefined> {
    while (!this.#closed) {
      const result = acceptNow(this.#socket.fd);
      if (result >= 0) return NodeStream.ofDescriptor(this.#arena, result);
      if (result !== -Errno.ECONNABORTED) await this.#nextChance(-result);
    }
    return undefined;
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#watch.close();
    this.#socket.removePath();
    closeDescriptor(this.#socket.fd);
    this.#wake();
    return Promise.resolve();
  }

  #nextChance(errno: number): Promise<void> {
    return new Promise((resolve) => {
      if (errno === Errno.EAGAIN) {
        this.#wake = resolve;
        this.#watch.watchOnce();
        return;
      }
      const timer = setTimeout(resolve, acceptRetryMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
