import { asDeviceError, type DeviceError } from '../block/device-error.ts';
import { Command } from '../nbd/constants.ts';
import { notUnderWay, type ServerPhase, type UnansweredRequest } from '../nbd/request-ages.ts';

/** Of a request that changes nothing, or has its result. */
export const noTicket = -1;

/** Whom a request tells that it has its result. */
export interface FuseRequestOwner {
  settled(request: FuseRequest): void;
}

/**
 * One request of the kernel between its bytes and its reply. Pooled by its session, its two reactions are bound once. What it is
 * goes by the NBD server's numbers: status, counters and watches know those.
 */
export class FuseRequest implements UnansweredRequest {
  readonly #owner: FuseRequestOwner;
  command: number = Command.read;
  uniqueLow = 0;
  uniqueHigh = 0;
  offset = 0;
  length = 0;
  /** A write's payload, or a read's answer. */
  piece: Uint8Array | undefined = undefined;
  /** When the piece was taken, for its share. */
  takenAt = 0;
  /** Of `UnfinishedWrites`, until the write has its result. */
  writeTicket: number = noTicket;
  /** When it was taken from the kernel. */
  receivedMs = 0;
  /** Of `RequestAges`; `notUnderWay` in the pool. */
  startedTick: number = notUnderWay;
  /** A write that another client's must not overtake. */
  isBehindOthers = false;
  failure: DeviceError | undefined = undefined;
  readonly #onResolved: () => void;
  readonly #onRejected: (error: unknown) => void;

  constructor(owner: FuseRequestOwner) {
    this.#owner = owner;
    this.#onResolved = () => this.#owner.settled(this);
    this.#onRejected = (error) => {
      // Throws on anything else: our bugs end the process, they are no I/O errors.
      this.failure = asDeviceError(error);
      this.#owner.settled(this);
    };
  }

  get phase(): ServerPhase {
    return this.isBehindOthers ? 'earlier-write' : 'device';
  }

  follow(work: Promise<void>): void {
    work.then(this.#onResolved, this.#onRejected);
  }
}
