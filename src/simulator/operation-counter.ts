/** Numbers the operations of several devices in one order, from 1. */
export class OperationCounter {
  #count = 0;

  /** The number of the operation that happens now. */
  next(): number {
    this.#count += 1;
    return this.#count;
  }

  /** Operations so far. */
  get count(): number {
    return this.#count;
  }
}

export type OperationKind = 'read' | 'write' | 'flush' | 'discard' | 'write-zeroes';

/** A request reaches a device (`submit`) or its answer leaves it (`settle`). */
export type OperationPhase = 'submit' | 'settle';
