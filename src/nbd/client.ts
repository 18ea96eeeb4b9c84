import { assert } from '../block/assert.ts';
import { errnoName } from '../block/errno.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { type RemoteExport, shakeHands } from './client-handshake.ts';
import { encodeRequest, NbdProtocolError, ReplyDecoder } from './codec.ts';
import { Command, CommandFlag, requestBytes, simpleReplyBytes } from './constants.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import { StreamReader } from './stream-reader.ts';

/** The server answered a request with an error. */
export class NbdRequestError extends Error {
  override readonly name = 'NbdRequestError';
  /** The number from the wire: EPERM, EIO, EINVAL, ENOSPC, ESHUTDOWN, … */
  readonly errno: number;

  constructor(what: string, errno: number) {
    super(`${what}: ${errnoName(errno)}`);
    this.errno = errno;
  }
}

interface PendingRequest {
  readonly command: number;
  readonly offset: number;
  /** Of a read. */
  readonly target: Uint8Array | undefined;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const receiveBufferBytes = 64 * 1024;
const handshakeReplyBytesMax = 64 * 1024;
const commandNames = ['read', 'write', 'disconnect', 'flush'];

/**
 * Connects to an export ("" is the default one). The stream belongs to the client from here on, and is closed when
 * this rejects: with `NbdProtocolError` when the server refuses or makes no sense, with `StreamError` when it is gone.
 */
export async function connectNbd(stream: ByteStream, exportName: string): Promise<NbdClient> {
  const reader = new StreamReader(stream, handshakeReplyBytesMax);
  try {
    const exported = await shakeHands(stream, reader, exportName);
    return new NbdClient(stream, exported, reader.rest);
  } catch (error) {
    await stream.close();
    throw error;
  }
}

/**
 * A client with simple replies. Requests may be issued at any time, all at once: they are told apart by their cookies.
 * A request rejects with `NbdRequestError` when the server says so, and with `StreamError` or `NbdProtocolError` when the
 * connection ended before its reply.
 */
export class NbdClient {
  readonly exported: RemoteExport;
  readonly #stream: ByteStream;
  readonly #received: ReceiveBuffer;
  readonly #decoder = new ReplyDecoder();
  readonly #pending = new Map<number, PendingRequest>();
  readonly #replyLoop: Promise<void>;
  #unsent: Uint8Array[] = [];
  #sendLoop: Promise<void> | undefined;
  #nextCookie = 1;
  #failure: Error | undefined;

  /** Use `connectNbd`. `received` are bytes that came with the handshake. */
  constructor(stream: ByteStream, exported: RemoteExport, received: Uint8Array) {
    this.exported = exported;
    this.#stream = stream;
    this.#received = new ReceiveBuffer(stream, new Uint8Array(receiveBufferBytes));
    this.#received.preload(received);
    this.#replyLoop = this.#receiveReplies();
  }

  /** Fills `target` from `offset`. */
  read(target: Uint8Array, offset: number): Promise<void> {
    return this.#request(Command.read, 0, offset, target.length, target, undefined);
  }

  /** Stores `source` at `offset`; with `fua` it is durable when this resolves. `source` is lent until then. */
  write(source: Uint8Array, offset: number, options: { readonly fua?: boolean } = {}): Promise<void> {
    const flags = options.fua === true ? CommandFlag.fua : 0;
    return this.#request(Command.write, flags, offset, source.length, undefined, source);
  }

  /** All writes that were answered before the call are durable when this resolves. */
  flush(): Promise<void> {
    return this.#request(Command.flush, 0, 0, 0, undefined, undefined);
  }

  /** Says goodbye and waits until the server has answered everything and closed. Does not reject. */
  async disconnect(): Promise<void> {
    if (this.#failure === undefined) this.#enqueue(this.#header(Command.disconnect, 0, 0, 0, 0));
    await this.#replyLoop;
    await this.close();
  }

  /** Closes the connection at once; pending requests reject. Does not reject. */
  async close(): Promise<void> {
    await this.#stream.close();
    await this.#replyLoop;
    await this.#sendLoop;
  }

  #request(
    command: number,
    flags: number,
    offset: number,
    length: number,
    target: Uint8Array | undefined,
    payload: Uint8Array | undefined,
  ): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const cookie = this.#nextCookie;
    this.#nextCookie = (this.#nextCookie + 1) & 0x7fff_ffff;
    assert(!this.#pending.has(cookie), 'NbdClient: a cookie is in use twice');
    return new Promise((resolve, reject) => {
      this.#pending.set(cookie, { command, offset, target, resolve, reject });
      this.#enqueue(this.#header(command, flags, cookie, offset, length));
      if (payload !== undefined) this.#enqueue(payload);
    });
  }

  #header(command: number, flags: number, cookie: number, offset: number, length: number): Uint8Array {
    const header = new Uint8Array(requestBytes);
    encodeRequest(header, 0, flags, command, 0, cookie, offset, length);
    return header;
  }

  #enqueue(part: Uint8Array): void {
    this.#unsent.push(part);
    this.#sendLoop ??= this.#sendAll();
  }

  /** One send at a time; what is queued meanwhile goes with the next. */
  async #sendAll(): Promise<void> {
    // Requests that are issued in a row leave together.
    await Promise.resolve();
    try {
      while (this.#unsent.length > 0) {
        // One sendmsg takes 1024 parts.
        const parts = this.#unsent.splice(0, 1024);
        await this.#stream.send(parts);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#sendLoop = undefined;
  }

  async #receiveReplies(): Promise<void> {
    const received = this.#received;
    try {
      for (;;) {
        if (this.#decoder.decode(received.bytes, received.start, received.end)) {
          received.start += simpleReplyBytes;
          await this.#takeReply();
        } else if (!(await received.receive())) {
          throw new StreamError('STREAM_CLOSED', 'the NBD server has closed the connection');
        }
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  async #takeReply(): Promise<void> {
    const { errno, cookieLow } = this.#decoder;
    const request = this.#pending.get(cookieLow);
    if (request === undefined) throw new NbdProtocolError(`a reply with the unknown cookie ${cookieLow}`);
    if (errno === 0 && request.target !== undefined) await this.#fill(request.target);
    this.#pending.delete(cookieLow);
    if (errno === 0) request.resolve();
    else
      request.reject(new NbdRequestError(`nbd ${commandNames[request.command]} at ${request.offset}`, errno));
  }

  async #fill(target: Uint8Array): Promise<void> {
    let at = this.#received.moveTo(target);
    while (at < target.length) {
      const count = await this.#stream.receive(target.subarray(at));
      if (count === 0)
        throw new StreamError('STREAM_CLOSED', 'the NBD server closed in the middle of a reply');
      at += count;
    }
  }

  /** The connection is over: nobody will answer what is pending. */
  #fail(error: unknown): void {
    if (!(error instanceof StreamError) && !(error instanceof NbdProtocolError)) throw error;
    this.#failure ??= error;
    for (const request of this.#pending.values()) request.reject(this.#failure);
    this.#pending.clear();
    this.#unsent = [];
    void this.#stream.close();
  }
}
