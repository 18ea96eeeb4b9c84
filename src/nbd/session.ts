import { assert } from '../block/assert.ts';
import type { BlockDevice } from '../block/block-device.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { blockStatusBytesMax } from './block-status.ts';
import { ClientInput } from './client-input.ts';
import { NbdProtocolError, type RequestDecoder } from './codec.ts';
import { Command, dataChunkBytes, WireError } from './constants.ts';
import type { ExportDescription } from './export-description.ts';
import { discardedPayloadBytesMax, type NbdLimits } from './limits.ts';
import { MemoryShare } from './memory-share.ts';
import type { MetaContext } from './meta-contexts.ts';
import { notUnderWay, type RequestAges, type ServerPhase, type ShowRequest } from './request-ages.ts';
import type { RequestMemory } from './request-memory.ts';
import { hasPayload, type RequestRules, requestRules, validateRequest } from './request-validator.ts';
import { RequestsInFlight } from './requests-in-flight.ts';
import type { ClientWait } from './stall-watch.ts';
import type { UnfinishedWrites } from './unfinished-writes.ts';

export interface NbdSessionOptions {
  readonly stream: ByteStream;
  readonly device: BlockDevice;
  /** Of all connections. */
  readonly memory: RequestMemory;
  /** Of all connections to the export. */
  readonly unfinishedWrites: UnfinishedWrites;
  readonly exported: ExportDescription;
  readonly structuredReplies: boolean;
  /** Chosen for BLOCK_STATUS. */
  readonly contexts: readonly MetaContext[];
  /** Of all connections. */
  readonly ages: RequestAges;
  readonly limits: NbdLimits;
  readonly counters: Float64Array;
  /** `connectionBufferBytes(limits)` of memory, lent until `run` resolves; in the arena, so that nothing is staged. */
  readonly buffer: Uint8Array;
  /** Bytes of the transmission phase that were received with the handshake. */
  readonly received: Uint8Array;
}

/** Memory of one connection besides its requests: incoming bytes, and the headers of one send. */
export function connectionBufferBytes(limits: NbdLimits): number {
  return limits.receiveBufferBytes + limits.requestsInFlightMax * dataChunkBytes;
}

/**
 * The transmission phase of one client.
 *
 * One loop receives, and parses as many whole requests as there are; each starts its device call at once; replies leave
 * in the order of completion. The loop stops parsing while the connection's share of requests, bytes or memory (R36) is
 * used up: the socket fills, the client waits.
 *
 * R22: a FLUSH must cover every write, on any connection, whose reply was queued before the FLUSH was parsed. A reply is
 * queued only after the device's `write` settled; `device.flush()` is called after parsing; and the device promises that
 * `flush` covers all writes that settled before the call. Nothing here delays a write's call past its reply or joins
 * flushes, so the order of the device's promise is the order of the wire, on all connections at once.
 *
 * A read is answered when all of it is in memory, whatever its size: its header never claims success for bytes that may
 * still fail, so a failed read never costs the connection. The memory is bounded by the largest payload, which the server
 * advertises as the largest piece that the arena could give.
 */
export class NbdSession {
  readonly #stream: ByteStream;
  readonly #share: MemoryShare;
  readonly #ages: RequestAges;
  readonly #rules: RequestRules;
  readonly #input: ClientInput;
  readonly #requests: RequestsInFlight;
  #draining = false;
  #refusing = false;
  #suspended = false;
  /** When the request began that is parsed and may not start yet; one at a time. */
  #waitingSinceTick: number = notUnderWay;
  #waitsForMemory = false;
  #clientLeft = false;

  constructor(options: NbdSessionOptions) {
    const { stream, exported, limits, buffer } = options;
    this.#stream = stream;
    this.#share = new MemoryShare(options.memory);
    this.#ages = options.ages;
    this.#rules = requestRules(exported, options.contexts.length > 0);
    assert(buffer.length >= connectionBufferBytes(limits), 'NbdSession: the connection buffer is too small');
    const memory = buffer.subarray(0, limits.receiveBufferBytes);
    this.#input = new ClientInput({ stream, limits, memory, received: options.received });
    const headers = buffer.subarray(limits.receiveBufferBytes, connectionBufferBytes(limits));
    this.#requests = new RequestsInFlight({ ...options, share: this.#share, headers });
  }

  get requestsInFlight(): number {
    return this.#requests.count;
  }

  /** True when nothing more can come from the client; the device may still have requests of it. */
  get clientLeft(): boolean {
    return this.#clientLeft;
  }

  /** As `OtherClient.owesFlushFailure`. */
  get owesFlushFailure(): boolean {
    return this.#requests.owesFlushFailure;
  }

  /** True while anything that was parsed has no answer. */
  get isBusy(): boolean {
    return this.#requests.count > 0 || this.#waitingSinceTick !== notUnderWay;
  }

  /** Shows every request that was parsed and has no answer. */
  showUnanswered(show: ShowRequest): void {
    this.#requests.showAll(show);
    if (this.#waitingSinceTick === notUnderWay) return;
    const { command, offset, length } = this.#input.header;
    show({ command, offset, length, startedTick: this.#waitingSinceTick, phase: this.#waitPhase() });
  }

  /** For the client to take a batch of replies. */
  get replyWait(): ClientWait {
    const { sendInFlight, sendCount, bytes } = this.#requests;
    return { waiting: sendInFlight, progress: sendCount, bytes };
  }

  /** For the client to send the rest of a request that it has begun. */
  get requestWait(): ClientWait {
    return this.#input.requestWait;
  }

  /** Requests that came so far, in whole or in part. */
  get requestsSeen(): number {
    return this.#input.requestsSeen;
  }

  /**
   * Serves until the client disconnects or the session is drained or dropped; resolves when every request is answered or
   * dropped, the stream is closed and all memory is given back. Rejects with `NbdProtocolError` when the client broke the
   * protocol, after the same cleaning up; with anything else for a bug of ours.
   */
  async run(): Promise<void> {
    let protocolError: NbdProtocolError | undefined;
    try {
      await this.#serveRequests();
    } catch (error) {
      // The connection is of no more use: what is in flight finishes, its replies are dropped.
      this.drop();
      if (error instanceof NbdProtocolError) protocolError = error;
      else if (!(error instanceof StreamError)) throw error;
    }
    this.#clientLeft = true;
    while (this.#requests.count > 0) await this.#requests.change();
    this.#requests.close();
    this.#share.close();
    await this.#stream.close();
    if (protocolError !== undefined) throw protocolError;
  }

  /** R30: no request is parsed and no memory is taken for one until `resume`: the socket fills, the client waits. */
  suspend(): void {
    this.#suspended = true;
  }

  resume(): void {
    this.#suspended = false;
    this.#requests.wakeUp();
  }

  /** Requests that are not started yet, and all that come, are answered ESHUTDOWN, held ones too; those in flight go on. */
  refuse(): void {
    this.#refusing = true;
    this.#share.stopWaiting();
    this.resume();
  }

  /** No new request is parsed; those in flight are answered, then the stream is closed and `run` resolves. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#requests.wakeUp();
    this.#share.stopWaiting();
    // The loop may sit in a receive that only closing the stream ends, and the replies need the stream.
    if (this.#requests.count === 0) void this.#stream.close();
    else this.#requests.onIdle = () => void this.#stream.close();
  }

  /** Closes the stream at once; requests in flight finish at the device, their replies are dropped. */
  drop(): void {
    this.#draining = true;
    this.#requests.abandonReplies();
    this.#requests.wakeUp();
    this.#share.stopWaiting();
    void this.#stream.close();
  }

  /** Parses and starts requests until the client says DISC or closes, or the session is draining. */
  async #serveRequests(): Promise<void> {
    const input = this.#input;
    const { header } = input;
    while (!this.#draining) {
      if (!input.takeHeader()) {
        if (!(await input.receive())) return;
        this.#requests.receivedMs = this.#ages.latencies.nowMs();
        continue;
      }
      // "The server MUST handle all outstanding requests, ... and close the TCP session." There is no reply.
      if (header.command === Command.disconnect) return;
      const pieceBytes = pieceBytesOf(header);
      if (!this.#mayStart(pieceBytes)) await this.#waitToStart(pieceBytes);
      if (this.#draining) return;
      const errno = this.#refusing ? WireError.ESHUTDOWN : validateRequest(this.#rules, header);
      if (errno !== WireError.none) {
        if (!(await this.#refuse(errno))) return;
      } else if (pieceBytes === 0) {
        this.#requests.start(header);
      } else {
        if (header.command === Command.write && !input.isPayloadReady) {
          if (!(await input.receivePayload()) || this.#draining) return;
          this.#requests.receivedMs = this.#ages.latencies.nowMs();
        }
        const piece = this.#pieceNow(pieceBytes) ?? (await this.#waitForPiece(pieceBytes));
        if (piece === undefined) {
          if (this.#draining || !(await this.#refuse(WireError.ESHUTDOWN))) return;
          continue;
        }
        if (header.command === Command.write) {
          const here = input.takePayload(piece);
          if (here < piece.length && !(await this.#fillPiece(piece, here))) return;
        }
        if (this.#refusing) this.#refuseReceived(piece);
        else this.#requests.start(header, piece);
      }
    }
  }

  /** Answers a write whose payload came while the server began to shut down. */
  #refuseReceived(piece: Uint8Array): void {
    this.#share.release(piece, this.#share.takenAt);
    this.#requests.refuse(this.#input.header, WireError.ESHUTDOWN);
  }

  /** Answers a request that is not served. Its payload is consumed, else the stream would be out of step. */
  async #refuse(errno: WireError): Promise<boolean> {
    const { command, length } = this.#input.header;
    if (command === Command.write) {
      // "either the server or the client MAY initiate a hard disconnect if a payload length of either a request or a
      // reply would be large enough to be deemed a denial of service attack"
      if (length > discardedPayloadBytesMax) {
        throw new NbdProtocolError(
          `sent a write of ${length} bytes, at most ${this.#rules.payloadBytesMax} are served`,
        );
      }
      if (!(await this.#input.skipPayload())) return false;
    }
    this.#requests.refuse(this.#input.header, errno);
    return true;
  }

  /** Receives the rest of a long payload into its piece; false when the client left, and the piece is given back. */
  async #fillPiece(piece: Uint8Array, from: number): Promise<boolean> {
    let filled = false;
    try {
      filled = (await this.#input.fillPiece(piece, from)) && !this.#draining;
      return filled;
    } finally {
      if (!filled) this.#share.release(piece, this.#share.takenAt);
    }
  }

  #mayStart(length: number): boolean {
    return !this.#suspended && this.#requests.hasRoom(this.#refusing ? 0 : length);
  }

  async #waitToStart(length: number, sinceTick: number = this.#ages.start()): Promise<void> {
    this.#waitingSinceTick = sinceTick;
    while (!this.#draining && !this.#mayStart(length)) await this.#requests.change();
    this.#waitingSinceTick = notUnderWay;
    this.#stopIfClientLeft();
  }

  /**
   * After a wait: a client that has left may have sent everything again on another connection, had its answers, and written other
   * bytes to the same place. What nobody has begun by then would land over them (R3).
   */
  #stopIfClientLeft(): void {
    if (!this.#draining && this.#stream.peerHasLeft()) this.drain();
  }

  #waitPhase(): ServerPhase {
    if (this.#suspended) return 'suspended';
    return this.#waitsForMemory ? 'memory' : 'connection-limit';
  }

  /** Undefined when there is no memory now, or the session was suspended or began to refuse while the payload came. */
  #pieceNow(length: number): Uint8Array | undefined {
    return this.#suspended || this.#refusing ? undefined : this.#share.take(length);
  }

  /** Undefined when the session was drained or dropped meanwhile, or refuses. */
  async #waitForPiece(length: number): Promise<Uint8Array | undefined> {
    const sinceTick = this.#ages.start();
    for (;;) {
      await this.#waitToStart(length, sinceTick);
      if (this.#draining || this.#refusing) return undefined;
      const piece = await this.#whenFree(length, sinceTick);
      if (!this.#draining && !this.#refusing && !this.#suspended) return piece;
      if (piece !== undefined) this.#share.release(piece, this.#share.takenAt);
    }
  }

  async #whenFree(length: number, sinceTick: number): Promise<Uint8Array | undefined> {
    this.#waitingSinceTick = sinceTick;
    this.#waitsForMemory = true;
    const piece = await this.#share.whenFree(length);
    this.#waitsForMemory = false;
    this.#waitingSinceTick = notUnderWay;
    this.#stopIfClientLeft();
    return piece;
  }
}

/** Bytes of the pool that a request needs (R36): for its payload, or for its reply. */
function pieceBytesOf({ command, length }: RequestDecoder): number {
  if (hasPayload(command)) return length;
  return command === Command.blockStatus ? blockStatusBytesMax : 0;
}
