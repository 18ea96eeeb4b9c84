import { IoFlags, sectorBytes } from '../block/block-device.ts';
import { FilterDevice } from '../block/filter-device.ts';
import type { OperationCounter } from './operation-counter.ts';

/** A write or flush of the spare, with what was written. */
interface SpareOperation {
  readonly kind: 'write' | 'flush';
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly submitted: number;
  /** Undefined until it has succeeded; failed ones never count. */
  settled: number | undefined;
}

/** One move, as the world saw it. Moments are numbers of the shared counter. */
export interface ObservedMove {
  /** Byte offset of the granule on main. */
  readonly mainOffset: number;
  /** Byte offset of its slot on the spare. */
  readonly slotOffset: number;
  /** When the live table first showed it. */
  readonly activated: number;
  /** When the client's write was acknowledged. */
  readonly acknowledged: number;
}

/** Where one replica's journals are on the spare, bytes. */
export interface JournalRange {
  readonly replica: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Stands before the spare and proves, move by move, the order that makes a remap durable (I12):
 *
 *     data < flush < record on every replica < flush < activate < acknowledge
 *
 * It knows the journal only by the sixteen bytes that every record has: main's and the spare's sector, little-endian.
 */
export class RemapOrderWitness extends FilterDevice {
  readonly #counter: OperationCounter;
  readonly #operations: SpareOperation[] = [];

  constructor(spare: FilterDevice['below'], counter: OperationCounter) {
    super(spare);
    this.#counter = counter;
  }

  override async write(source: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    const operation = this.#begin('write', offset, source.slice());
    await this.below.write(source, offset, flags);
    operation.settled = this.#counter.next();
  }

  override async flush(): Promise<void> {
    const operation = this.#begin('flush', 0, new Uint8Array(0));
    await this.below.flush();
    operation.settled = this.#counter.next();
  }

  /** Why the order of this move was wrong, or undefined when it was right. */
  fault(move: ObservedMove, journals: readonly JournalRange[]): string | undefined {
    const data = this.#after(0, (operation) => covers(operation, move.slotOffset));
    if (data === undefined) return 'its data was never written to the slot';
    const dataFlush = this.#after(data, (operation) => operation.kind === 'flush');
    if (dataFlush === undefined) return 'its data was never flushed';
    let recorded = 0;
    for (const replica of new Set(journals.map((journal) => journal.replica))) {
      const ranges = journals.filter((journal) => journal.replica === replica);
      const settled = this.#after(dataFlush, (operation) => records(operation, move, ranges));
      if (settled === undefined)
        return `its record was not written to replica ${replica} after the flush of its data`;
      recorded = Math.max(recorded, settled);
    }
    const recordFlush = this.#after(recorded, (operation) => operation.kind === 'flush');
    if (recordFlush === undefined) return 'its record was never flushed';
    if (move.activated <= recordFlush) return 'it was live before its record was durable';
    if (move.acknowledged <= move.activated) return 'it was acknowledged before it was live';
    return undefined;
  }

  #begin(kind: 'write' | 'flush', offset: number, bytes: Uint8Array): SpareOperation {
    const operation: SpareOperation = {
      kind,
      offset,
      bytes,
      submitted: this.#counter.next(),
      settled: undefined,
    };
    this.#operations.push(operation);
    return operation;
  }

  /** When the first such operation that was submitted after a moment had succeeded. */
  #after(moment: number, matches: (operation: SpareOperation) => boolean): number | undefined {
    let first: number | undefined;
    for (const operation of this.#operations) {
      if (operation.submitted <= moment || operation.settled === undefined || !matches(operation)) continue;
      if (first === undefined || operation.settled < first) first = operation.settled;
    }
    return first;
  }
}

function covers(operation: SpareOperation, offset: number): boolean {
  return (
    operation.kind === 'write' &&
    operation.offset <= offset &&
    offset < operation.offset + operation.bytes.length
  );
}

function records(operation: SpareOperation, move: ObservedMove, journals: readonly JournalRange[]): boolean {
  if (operation.kind !== 'write') return false;
  const inJournal = journals.some(
    (journal) => operation.offset >= journal.offset && operation.offset < journal.offset + journal.length,
  );
  if (!inJournal) return false;
  const wanted = new Uint8Array(16);
  const view = new DataView(wanted.buffer);
  view.setBigUint64(0, BigInt(move.mainOffset / sectorBytes), true);
  view.setBigUint64(8, BigInt(move.slotOffset / sectorBytes), true);
  return indexOfBytes(operation.bytes, wanted) >= 0;
}

function indexOfBytes(bytes: Uint8Array, wanted: Uint8Array): number {
  for (let at = 0; at + wanted.length <= bytes.length; at += 1) {
    let same = 0;
    while (same < wanted.length && bytes[at + same] === wanted[same]) same += 1;
    if (same === wanted.length) return at;
  }
  return -1;
}
