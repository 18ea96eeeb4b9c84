import { assert } from '../block/assert.ts';
import { describeAddress } from '../linux/socket-address.ts';
import {
  closeDescriptor,
  hasPeerLeft,
  openStreamSocket,
  peerAddress,
  prepareTcpSocket,
  shutdownSocket,
} from '../linux/socket-calls.ts';
import { SystemCallError } from '../linux/system-call.ts';
import { type ByteStream, StreamError, streamErrorOf } from './byte-stream.ts';
import { type RequestFailure, RequestLane } from './request-lane.ts';
import type { UringEngine } from './uring-engine.ts';

/** One receive and one send at most: `ByteStream` allows no more. */
const requestsPerStream = 2;

/** A connected socket on the ring. */
export class RingStream implements ByteStream {
  readonly peer: string;
  readonly #engine: UringEngine;
  readonly #lane: RequestLane;
  #closing: Promise<void> | undefined;

  /** Takes over the descriptor of a stream socket. */
  constructor(engine: UringEngine, fd: number, peer: string) {
    this.#engine = engine;
    this.peer = peer;
    this.#lane = new RequestLane({
      fd,
      inFlightMax: requestsPerStream,
      alignmentBytes: 1,
      errorOf: (failure) => this.#errorOf(failure),
    });
  }

  receive(target: Uint8Array): Promise<number> {
    assert(target.length > 0, 'ByteStream: a receive needs room for a byte');
    return this.#lane.closed ? this.#rejectClosed() : this.#engine.receive(this.#lane, target);
  }

  send(parts: readonly Uint8Array[]): Promise<void> {
    return this.#lane.closed ? this.#rejectClosed() : this.#engine.send(this.#lane, parts);
  }

  peerHasLeft(): boolean {
    return this.#lane.closed || hasPeerLeft(this.#lane.fd);
  }

  /** Connects; the stream must be closed when this fails. */
  connect(address: Uint8Array): Promise<void> {
    return this.#engine.connect(this.#lane, address);
  }

  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async #shutDown(): Promise<void> {
    const drained = this.#lane.close();
    // Marked as given up first: the shutdown then makes the kernel answer, as an end of the stream that it is not.
    this.#engine.cancelAll(this.#lane);
    shutdownSocket(this.#lane.fd);
    await drained;
    closeDescriptor(this.#lane.fd);
  }

  #rejectClosed(): Promise<never> {
    return Promise.reject(new StreamError('STREAM_CLOSED', `${this.peer}: the connection is closed`));
  }

  #errorOf(failure: RequestFailure): StreamError {
    if (this.#lane.closed) return new StreamError('STREAM_CLOSED', `${this.peer}: the connection was closed`);
    return streamErrorOf(this.peer, failure.errno);
  }
}

/** The stream of an accepted descriptor. */
export function acceptedStream(engine: UringEngine, fd: number): ByteStream {
  const address = peerAddress(fd);
  const peer = address === undefined ? 'a peer that has gone' : describeAddress(address);
  if (peer !== 'unix' && address !== undefined) prepareTcpSocket(fd);
  return new RingStream(engine, fd, peer);
}

/** Rejects with `StreamError` when nobody listens there; `where` is for messages. */
export async function connectRing(
  engine: UringEngine,
  address: Uint8Array,
  where: string,
): Promise<ByteStream> {
  const stream = new RingStream(engine, openSocket(address, where), where);
  try {
    await stream.connect(address);
    return stream;
  } catch (error) {
    await stream.close();
    throw error;
  }
}

function openSocket(address: Uint8Array, where: string): number {
  try {
    const fd = openStreamSocket(address);
    if (describeAddress(address) !== 'unix') prepareTcpSocket(fd);
    return fd;
  } catch (error) {
    if (error instanceof SystemCallError)
      throw new StreamError('STREAM_FAILED', `${where}: ${error.message}`);
    throw error;
  }
}
