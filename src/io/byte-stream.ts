import { Errno, errnoName } from '../block/errno.ts';

/**
 * A connected stream of bytes: one client of the export. Both engines implement it; tests have one in memory.
 * Buffers inside the arena go to the kernel without a copy; others are staged.
 */
export interface ByteStream {
  /** For messages: `unix`, or the peer's address and port. */
  readonly peer: string;
  /**
   * Receives at least one byte into `target` and resolves to their number; 0 means that the peer has closed.
   * At most one receive is outstanding. Rejects with `StreamError` when the connection broke or `close` was called.
   */
  receive(target: Uint8Array): Promise<number>;
  /**
   * Sends every byte of `parts`, in order. At most one send is outstanding: two would interleave on the wire.
   * The parts are lent until it settles. Rejects with `StreamError`.
   */
  send(parts: readonly Uint8Array[]): Promise<void>;
  /**
   * True when the peer has ended its side or is gone, also while bytes that it sent before wait to be received. Costs a system
   * call.
   */
  peerHasLeft(): boolean;
  /** Ends both directions; outstanding calls reject. Resolves when the kernel holds none of our memory. Idempotent. */
  close(): Promise<void>;
}

export interface StreamListener {
  /** For messages and `status`: the socket's path, or `127.0.0.1:10809`. */
  readonly address: string;
  /** The next connection; undefined once the listener is closed. At most one accept is outstanding. */
  accept(): Promise<ByteStream | undefined>;
  /** Stops listening and removes a Unix socket's path if it is still ours. Idempotent. */
  close(): Promise<void>;
}

/** The peer's or the network's fault; ends the connection, never the process. */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  /** `STREAM_RESET`, `STREAM_CLOSED` (by ourselves) or `STREAM_FAILED`. */
  readonly code: 'STREAM_RESET' | 'STREAM_CLOSED' | 'STREAM_FAILED';

  /** The kernel's, positive; undefined when it is not the kernel's. */
  readonly errno: number | undefined;

  constructor(code: 'STREAM_RESET' | 'STREAM_CLOSED' | 'STREAM_FAILED', message: string, errno?: number) {
    super(message);
    this.code = code;
    this.errno = errno;
  }
}

const resets: ReadonlySet<number> = new Set([
  Errno.ECONNRESET,
  Errno.EPIPE,
  Errno.ENOTCONN,
  Errno.ESHUTDOWN,
  Errno.ECONNABORTED,
]);

/** What the kernel's positive errno on a connection means. */
export function streamErrorOf(peer: string, errno: number): StreamError {
  const code = resets.has(errno) ? 'STREAM_RESET' : 'STREAM_FAILED';
  return new StreamError(code, `${peer}: ${errnoName(errno)}`, errno);
}
