import { asDeviceError } from '../block/device-error.ts';
import { WireError } from './constants.ts';
import { wireErrorOf } from './wire-error.ts';

/** Of a request that is no write, or has no call to the device. */
export const noTicket = -1;

/** Whom a request tells that it has its result. */
export interface RequestOwner {
  settled(request: ClientRequest): void;
}

/**
 * One request of a client from parsing to the end of its reply. Pooled by its session, and its two reactions are bound
 * once: a request costs no object and no closure beyond its piece and the device's promise.
 */
export class ClientRequest {
  readonly #owner: RequestOwner;
  command = 0;
  /** `IoFlags` for the device. */
  ioFlags = 0;
  cookieHigh = 0;
  cookieLow = 0;
  offset = 0;
  length = 0;
  errno: WireError = WireError.none;
  /** Arena memory of `length` bytes while the request needs it: a write's payload, a read's answer. */
  piece: Uint8Array | undefined = undefined;
  /** Of `UnfinishedWrites`, while the device has the write. */
  writeTicket: number = noTicket;
  /** When the piece was taken, for its share. */
  takenAt = 0;
  #partsPending = 0;
  readonly #onResolved: () => void;
  readonly #onRejected: (error: unknown) => void;

  constructor(owner: RequestOwner) {
    this.#owner = owner;
    this.#onResolved = () => this.#partSettled();
    this.#onRejected = (error) => {
      // Throws on anything but a failure of the device: our bugs end the process, they are no I/O errors.
      const errno = wireErrorOf(asDeviceError(error));
      if (this.errno === WireError.none) this.errno = errno;
      this.#partSettled();
    };
  }

  /** Announces that `count` device calls will be handed to `follow`. */
  expectParts(count: number): void {
    this.#partsPending = count;
  }

  /** The request settles when all its parts have; one failed part fails it. */
  follow(part: Promise<void>): void {
    part.then(this.#onResolved, this.#onRejected);
  }

  #partSettled(): void {
    this.#partsPending -= 1;
    if (this.#partsPending === 0) this.#owner.settled(this);
  }
}
