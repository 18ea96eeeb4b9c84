import { Errno } from '../block/errno.ts';
import { closeDescriptor, shutdownSocket } from '../linux/socket-calls.ts';
import { SystemCallError } from '../linux/system-call.ts';
import type { ByteStream, StreamListener } from './byte-stream.ts';
import { acceptRetryMs, type ListeningSocket } from './listening-socket.ts';
import { RequestLane } from './request-lane.ts';
import { acceptedStream } from './ring-stream.ts';
import type { UringEngine } from './uring-engine.ts';

/** Listens on the ring. */
export class RingListener implements StreamListener {
  readonly address: string;
  readonly #engine: UringEngine;
  readonly #lane: RequestLane;
  readonly #socket: ListeningSocket;
  #closing: Promise<void> | undefined;

  /** Takes over the socket. */
  constructor(engine: UringEngine, socket: ListeningSocket) {
    this.#engine = engine;
    this.address = socket.address;
    this.#socket = socket;
    this.#lane = new RequestLane({
      fd: socket.fd,
      inFlightMax: 1,
      alignmentBytes: 1,
      errorOf: (failure) => new SystemCallError('accept', failure.errno),
    });
  }

  async accept(): Promise<ByteStream | undefined> {
    while (!this.#lane.closed) {
      const fd = await this.#acceptDescriptor();
      if (fd === undefined) continue;
      // Accepted while we closed: nobody will serve it.
      if (!this.#lane.closed) return acceptedStream(this.#engine, fd);
      closeDescriptor(fd);
    }
    return undefined;
  }

  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  async #acceptDescriptor(): Promise<number | undefined> {
    try {
      return await this.#engine.accept(this.#lane);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      if (!this.#lane.closed && error.errno !== Errno.ECONNABORTED) {
        await new Promise((resolve) => setTimeout(resolve, acceptRetryMs));
      }
      return undefined;
    }
  }

  async #shutDown(): Promise<void> {
    const drained = this.#lane.close();
    this.#socket.removePath();
    this.#engine.cancelAll(this.#lane);
    shutdownSocket(this.#lane.fd);
    await drained;
    closeDescriptor(this.#lane.fd);
  }
}
