import type { ByteStream } from '../../src/io/byte-stream.ts';
import { StreamError } from '../../src/io/byte-stream.ts';

interface Waiter {
  readonly target: Uint8Array;
  readonly resolve: (count: number) => void;
  readonly reject: (error: Error) => void;
}

export interface MemoryStreamOptions {
  /** Bytes that one receive gives at most: 1 is a byte at a time. */
  readonly receiveBytesMax?: number;
  /** Bytes that are on their way at most; a send waits for room beyond it, as with a real socket. */
  readonly capacityBytes?: number;
}

/** One direction: bytes sent and not yet received. */
class Pipe {
  readonly #receiveBytesMax: number;
  readonly #capacityBytes: number;
  #chunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #ended = false;
  #broken: StreamError | undefined;
  #receiver: Waiter | undefined;
  #onRoom: (() => void) | undefined;

  constructor(options: MemoryStreamOptions) {
    this.#receiveBytesMax = options.receiveBytesMax ?? Number.POSITIVE_INFINITY;
    this.#capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
  }

  receive(target: Uint8Array): Promise<number> {
    if (this.#receiver !== undefined) throw new Error('two receives on one stream');
    if (target.length === 0) throw new Error('a receive of no bytes');
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      this.#receiver = { target, resolve, reject };
      this.#move();
    });
  }

  async send(parts: readonly Uint8Array[]): Promise<void> {
    for (const part of parts) {
      for (let at = 0; at < part.length; ) {
        while (this.#waitingBytes >= this.#capacityBytes && this.#broken === undefined && !this.#ended) {
          await new Promise<void>((resolve) => {
            this.#onRoom = resolve;
          });
        }
        if (this.#broken !== undefined) throw this.#broken;
        if (this.#ended) throw new StreamError('STREAM_RESET', 'the peer has gone');
        const count = Math.min(part.length - at, this.#capacityBytes - this.#waitingBytes);
        this.#chunks.push(part.slice(at, at + count));
        this.#waitingBytes += count;
        at += count;
        this.#move();
      }
    }
  }

  get ended(): boolean {
    return this.#ended || this.#broken !== undefined;
  }

  /** The sender is done: what is on its way still arrives. */
  end(): void {
    this.#ended = true;
    this.#move();
    this.#onRoom?.();
  }

  /** The receiver is gone: nothing arrives any more. */
  break(error: StreamError): void {
    this.#broken ??= error;
    this.#chunks = [];
    this.#waitingBytes = 0;
    this.#receiver?.reject(error);
    this.#receiver = undefined;
    this.#onRoom?.();
  }

  #move(): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    const limit = Math.min(receiver.target.length, this.#receiveBytesMax);
    let at = 0;
    while (at < limit && this.#chunks.length > 0) {
      const chunk = this.#chunks[0]!;
      const count = Math.min(chunk.length, limit - at);
      receiver.target.set(chunk.subarray(0, count), at);
      at += count;
      if (count === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(count);
    }
    if (at === 0 && !this.#ended) return;
    this.#waitingBytes -= at;
    this.#receiver = undefined;
    receiver.resolve(at);
    this.#onRoom?.();
  }
}

class MemoryStream implements ByteStream {
  readonly peer: string;
  readonly #incoming: Pipe;
  readonly #outgoing: Pipe;
  #sending = false;
  #closed = false;
  /** Calls of `send`, and the parts of the longest. */
  sendCount = 0;

  constructor(peer: string, incoming: Pipe, outgoing: Pipe) {
    this.peer = peer;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  receive(target: Uint8Array): Promise<number> {
    return this.#incoming.receive(target);
  }

  async send(parts: readonly Uint8Array[]): Promise<void> {
    if (this.#sending) throw new Error('two sends on one stream');
    if (this.#closed) throw new StreamError('STREAM_CLOSED', 'closed by ourselves');
    this.#sending = true;
    this.sendCount += 1;
    try {
      await this.#outgoing.send(parts);
    } finally {
      this.#sending = false;
    }
  }

  peerHasLeft(): boolean {
    return this.#incoming.ended;
  }

  /** Half a close: the peer receives what is on its way, then the end, and may still send. */
  finish(): void {
    this.#outgoing.end();
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#outgoing.end();
      this.#incoming.break(new StreamError('STREAM_CLOSED', 'closed by ourselves'));
    }
    return Promise.resolve();
  }
}

export interface MemoryStreamPair {
  readonly client: MemoryStream;
  readonly server: MemoryStream;
}

/** Two ends of a connection in memory; `options` hold for both directions. */
export function memoryStreamPair(options: MemoryStreamOptions = {}): MemoryStreamPair {
  const toServer = new Pipe(options);
  const toClient = new Pipe(options);
  return {
    client: new MemoryStream('server', toClient, toServer),
    server: new MemoryStream('memory', toServer, toClient),
  };
}
