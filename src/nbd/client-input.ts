import { assert } from '../block/assert.ts';
import type { ByteStream } from '../io/byte-stream.ts';
import { RequestDecoder } from './codec.ts';
import { requestBytes } from './constants.ts';
import type { NbdLimits } from './limits.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import type { ClientWait } from './stall-watch.ts';

export interface ClientInputOptions {
  readonly stream: ByteStream;
  readonly limits: NbdLimits;
  /** `receiveBufferBytes` of memory, in the arena, so that nothing is staged. */
  readonly memory: Uint8Array;
  /** Bytes of the transmission phase that were received with the handshake. */
  readonly received: Uint8Array;
}

/** What comes from one client: headers of requests, and the payloads behind them. One call at a time. */
export class ClientInput {
  /** The request whose header was taken last. */
  readonly header: RequestDecoder = new RequestDecoder();
  readonly #stream: ByteStream;
  readonly #received: ReceiveBuffer;
  readonly #directPayloadBytesMin: number;
  /** Somebody waits for bytes of the client. */
  #receiving = false;
  /** Payload bytes of the request that is being received. */
  #payloadBytes = 0;
  /** Requests that came so far, in whole or in part. */
  requestsSeen = 0;

  constructor(options: ClientInputOptions) {
    const { limits, stream, memory, received } = options;
    assert(
      limits.directPayloadBytesMin + requestBytes <= limits.receiveBufferBytes,
      'ClientInput: a payload that is copied must fit the receive buffer with its header',
    );
    this.#stream = stream;
    this.#directPayloadBytesMin = limits.directPayloadBytesMin;
    this.#received = new ReceiveBuffer(stream, memory);
    this.#received.preload(received);
  }

  /** For the client to send the rest of a request that it has begun. */
  get requestWait(): ClientWait {
    const begun = this.#received.waiting > 0 || this.#payloadBytes > 0;
    return { waiting: this.#receiving && begun, progress: this.requestsSeen, bytes: this.#payloadBytes };
  }

  /** Takes the next header, where all of it is here. Throws `NbdProtocolError`. */
  takeHeader(): boolean {
    const received = this.#received;
    if (!this.header.decode(received.bytes, received.start, received.end)) return false;
    received.start += requestBytes;
    this.requestsSeen += 1;
    return true;
  }

  /** Receives at least one byte; false when the client has closed. */
  async receive(): Promise<boolean> {
    this.#receiving = true;
    const more = await this.#received.receive();
    this.#receiving = false;
    return more;
  }

  /** True when the payload needs no more waiting before memory is taken: a long one is received straight into its piece. */
  get isPayloadReady(): boolean {
    const { length } = this.header;
    return length >= this.#directPayloadBytesMin || this.#received.waiting >= length;
  }

  /** Receives the rest of a short payload into the receive buffer; false when the client left. */
  async receivePayload(): Promise<boolean> {
    this.#payloadBytes = this.header.length;
    while (!this.isPayloadReady) {
      if (!(await this.receive())) return false;
    }
    this.#payloadBytes = 0;
    return true;
  }

  /** Moves what is here of the payload into `piece`; the bytes. */
  takePayload(piece: Uint8Array): number {
    return this.#received.moveTo(piece);
  }

  /** Receives the payload from its byte `from` on straight into `piece`; false when the client left. */
  async fillPiece(piece: Uint8Array, from: number): Promise<boolean> {
    this.#payloadBytes = piece.length;
    this.#receiving = true;
    try {
      let at = from;
      while (at < piece.length) {
        const count = await this.#stream.receive(piece.subarray(at));
        if (count === 0) return false;
        at += count;
      }
      return true;
    } finally {
      this.#receiving = false;
      this.#payloadBytes = 0;
    }
  }

  /** Consumes the payload without looking at it, else the stream would be out of step; false when the client left. */
  async skipPayload(): Promise<boolean> {
    this.#payloadBytes = this.header.length;
    this.#receiving = true;
    const complete = await this.#received.skip(this.header.length);
    this.#receiving = false;
    this.#payloadBytes = 0;
    return complete;
  }
}
