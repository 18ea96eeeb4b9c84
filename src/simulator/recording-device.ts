import type { BlockDevice } from '../block/block-device.ts';
import { IoFlags } from '../block/block-device.ts';
import { FilterDevice } from '../block/filter-device.ts';
import type { OperationCounter, OperationKind, OperationPhase } from './operation-counter.ts';

/** One moment of one operation: its submission or its settlement. */
export interface RecordedOperation {
  /** From the counter that several recording devices share: their order among each other. */
  readonly sequence: number;
  readonly device: string;
  readonly kind: OperationKind;
  readonly phase: OperationPhase;
  /** Bytes. A flush covers the whole device. */
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
  /** Sequence of the submission: joins the two records of one operation. */
  readonly submitSequence: number;
  /** False for a rejection. True for every submission. */
  readonly ok: boolean;
}

/** Records every operation in order, and changes nothing. */
export class RecordingDevice extends FilterDevice {
  readonly operations: RecordedOperation[] = [];
  readonly #counter: OperationCounter;

  constructor(below: BlockDevice, counter: OperationCounter) {
    super(below);
    this.#counter = counter;
  }

  override read(target: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    return this.#record('read', offset, target.length, flags, () => this.below.read(target, offset, flags));
  }

  override write(source: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    return this.#record('write', offset, source.length, flags, () => this.below.write(source, offset, flags));
  }

  override flush(): Promise<void> {
    return this.#record('flush', 0, this.geometry.sizeBytes, IoFlags.none, () => this.below.flush());
  }

  override discard(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    return this.#record('discard', offset, length, flags, () => this.below.discard(offset, length, flags));
  }

  override writeZeroes(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    return this.#record('write-zeroes', offset, length, flags, () =>
      this.below.writeZeroes(offset, length, flags),
    );
  }

  /** Notes a moment that is no device operation, such as an acknowledgement, in the same order. */
  mark(): number {
    return this.#counter.next();
  }

  #record(
    kind: OperationKind,
    offset: number,
    length: number,
    flags: number,
    start: () => Promise<void>,
  ): Promise<void> {
    const submitSequence = this.#counter.next();
    const note = (phase: OperationPhase, sequence: number, ok: boolean) => {
      const device = this.name;
      this.operations.push({ sequence, device, kind, phase, offset, length, flags, submitSequence, ok });
    };
    note('submit', submitSequence, true);
    return start().then(
      () => note('settle', this.#counter.next(), true),
      (error: unknown) => {
        note('settle', this.#counter.next(), false);
        throw error;
      },
    );
  }
}
