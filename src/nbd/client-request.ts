import { IoFlags } from '../block/block-device.ts';
import { asDeviceError, type FailedRange, failedWithin } from '../block/device-error.ts';
import { Command, WireError } from './constants.ts';
import { notUnderWay, type ServerPhase, type UnansweredRequest } from './request-ages.ts';
import { wireErrorOf } from './wire-error.ts';

/** Of a request that changes nothing, or has its result. */
export const noTicket = -1;

/** Whom a request tells that it has its result. */
export interface RequestOwner {
  settled(request: ClientRequest): void;
}

/**
 * One request of a client from parsing to the end of its reply. Pooled by its session, and its two reactions are bound
 * once: a request costs no object and no closure beyond its piece and the device's promise.
 */
export class ClientRequest implements UnansweredRequest {
  readonly #owner: RequestOwner;
  command = 0;
  /** `CommandFlag`s, as they came. */
  flags = 0;
  /** `IoFlags` for the device. */
  ioFlags = 0;
  cookieHigh = 0;
  cookieLow = 0;
  offset = 0;
  length = 0;
  errno: WireError = WireError.none;
  /** Arena memory while the request needs it: a write's payload, a read's answer, the reply to BLOCK_STATUS. */
  piece: Uint8Array | undefined = undefined;
  /** Bytes of the piece, for the limits, until the reply is out. */
  pieceBytes = 0;
  /** When the piece was taken, for its share. */
  takenAt = 0;
  /** Of `UnfinishedWrites`, until the write has its result. */
  writeTicket: number = noTicket;
  /** What of a read has failed. */
  readonly failed: FailedRange[] = [];
  /** The whole reply, where it is more than a header and the piece. */
  reply: readonly Uint8Array[] | undefined = undefined;
  /** When the bytes came that began it. */
  receivedMs = 0;
  /** Of `RequestAges`; `notUnderWay` in the pool. */
  startedTick: number = notUnderWay;
  /** A write that another connection's must not overtake. */
  isBehindOthers = false;
  #partsPending = 0;
  readonly #onResolved: () => void;
  readonly #onRejected: (error: unknown) => void;

  constructor(owner: RequestOwner) {
    this.#owner = owner;
    this.#onResolved = () => this.#partSettled();
    this.#onRejected = (error) => this.#partFailed(error, this.offset, this.length);
  }

  /** Asked only when somebody looks: no request notes on its way where it is. */
  get phase(): ServerPhase {
    if (this.isBehindOthers) return 'earlier-write';
    return this.#partsPending > 0 ? 'device' : 'reply';
  }

  /** Announces that `count` device calls will be handed to `follow` or `followPart`. */
  expectParts(count: number): void {
    this.#partsPending = count;
  }

  /** The request settles when all its parts have; one failed part fails it. */
  follow(part: Promise<void>): void {
    part.then(this.#onResolved, this.#onRejected);
  }

  /** As `follow`, for a part that is about these bytes only. */
  followPart(part: Promise<void>, offset: number, length: number): void {
    part.then(this.#onResolved, (error: unknown) => this.#partFailed(error, offset, length));
  }

  /** Throws on anything but a failure of the device: our bugs end the process, they are no I/O errors. */
  #partFailed(error: unknown, offset: number, length: number): void {
    const failure = asDeviceError(error);
    const isFastZero = (this.ioFlags & IoFlags.onlyIfFast) !== 0;
    if (this.errno === WireError.none) this.errno = wireErrorOf(failure, isFastZero);
    if (this.command === Command.read) this.failed.push(...failedWithin(failure, offset, length));
    this.#partSettled();
  }

  #partSettled(): void {
    this.#partsPending -= 1;
    if (this.#partsPending === 0) this.#owner.settled(this);
  }
}
