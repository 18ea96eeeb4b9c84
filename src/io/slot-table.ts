import { assert } from '../block/assert.ts';
import type { IoRequest } from './request-lane.ts';

/** Uses of a slot are counted modulo 2^21, so that `user_data` is exact in a number. */
const generationsMax = 2 ** 21;
const twoTo32 = 0x1_0000_0000;

/**
 * The requests that may be in the kernel, each in a slot of its own. `user_data` of a submission is the slot and the count of
 * its uses: a completion of an earlier use is a bug that must not pass for this one's (I8).
 *
 *     63        53 52        32 31         0
 *     │    0      │ generation │    slot    │
 */
export class SlotTable {
  readonly #requests: (IoRequest | undefined)[];
  readonly #generations: Uint32Array;
  /** The last freed slot is used first: its memory is warm. */
  readonly #free: number[];

  constructor(size: number) {
    this.#requests = Array.from({ length: size }, () => undefined);
    this.#generations = new Uint32Array(size);
    this.#free = Array.from({ length: size }, (_, index) => size - 1 - index);
  }

  /** Every slot in order, empty ones too. */
  get requests(): readonly (IoRequest | undefined)[] {
    return this.#requests;
  }

  /** Gives the request a slot if it has none; false when all are taken. */
  assign(request: IoRequest): boolean {
    if (request.slot >= 0) return true;
    const slot = this.#free.pop();
    if (slot === undefined) return false;
    request.slot = slot;
    this.#requests[slot] = request;
    return true;
  }

  /** Starts another use of a slot; returns its generation. */
  nextGeneration(slot: number): number {
    const generation = (this.#generations[slot]! + 1) % generationsMax;
    this.#generations[slot] = generation;
    return generation;
  }

  /** `user_data` of the latest use of a slot, as one number. */
  userData(slot: number): number {
    return slot + this.#generations[slot]! * twoTo32;
  }

  /** The request that a completion belongs to. */
  find(slot: number, generation: number): IoRequest {
    const request = this.#requests[slot];
    assert(
      request !== undefined && this.#generations[slot] === generation,
      'SlotTable: a completion that belongs to no request',
    );
    return request;
  }

  release(request: IoRequest): void {
    if (request.slot < 0) return;
    this.#requests[request.slot] = undefined;
    this.#free.push(request.slot);
  }
}
