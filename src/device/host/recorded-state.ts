import type {
  GranuleRecord,
  MappingRecord,
  MappingStateSource,
  StateCursor,
} from '../../metadata/mapping-state.ts';
import { noSlot } from '../../metadata/mapping-state.ts';
import { type GranuleState, GranuleTable } from '../../remap/table/granule-table.ts';

/**
 * The state that a list of records leads to, without the disks: what tools look at, and write back as a checkpoint. Later
 * records replace earlier ones; what is no state of a granule is kept as it came.
 */
export class RecordedState implements MappingStateSource {
  readonly table: GranuleTable = new GranuleTable();
  readonly #retired = new Set<number>();
  /** R13. */
  readonly #endedRegions = new Set<number>();

  constructor(records: readonly MappingRecord[]) {
    for (const record of records) {
      if (record.type === 'granules') this.#addGranules(record);
      else if (record.type === 'retired-slots') addRange(this.#retired, record.slot, record.slotCount);
      else addRange(this.#endedRegions, record.region, record.regionCount);
    }
  }

  /** Ascending. */
  retiredSlots(): readonly number[] {
    return ascending(this.#retired);
  }

  /** Ascending. */
  endedRegions(): readonly number[] {
    return ascending(this.#endedRegions);
  }

  /** Every granule with a state, ascending. */
  *granules(): Generator<GranuleState> {
    let state = this.table.atOrAfter(0);
    while (state !== undefined) {
      yield state;
      state = this.table.atOrAfter(state.granule + 1);
    }
  }

  recordCountMax(): number {
    return this.table.totals().entries + this.#retired.size + this.#endedRegions.size;
  }

  recordsAfter(
    cursor: StateCursor,
    limit: number,
  ): { records: MappingRecord[]; cursor: StateCursor | undefined } {
    if (cursor.section === 'granules') return this.#granulesAfter(cursor.next, limit);
    const { next } = cursor;
    if (cursor.section === 'retired-slots') {
      const { numbers, rest } = numbersAfter(this.retiredSlots(), next, limit);
      const records = numbers.map((slot): MappingRecord => ({ type: 'retired-slots', slot, slotCount: 1 }));
      return {
        records,
        cursor: { section: rest === undefined ? 'fresh-ended' : 'retired-slots', next: rest ?? 0 },
      };
    }
    const { numbers, rest } = numbersAfter(this.endedRegions(), next, limit);
    const records = numbers.map((region): MappingRecord => ({ type: 'fresh-ended', region, regionCount: 1 }));
    return { records, cursor: rest === undefined ? undefined : { section: 'fresh-ended', next: rest } };
  }

  #addGranules(record: GranuleRecord): void {
    for (let at = 0; at < record.granuleCount; at += 1) {
      const slot = record.slot === noSlot ? noSlot : record.slot + at;
      this.table.set({ ...record, granule: record.granule + at, slot });
    }
  }

  #granulesAfter(next: number, limit: number): { records: MappingRecord[]; cursor: StateCursor } {
    const records: MappingRecord[] = [];
    let granule = next;
    while (records.length < limit) {
      const state = this.table.atOrAfter(granule);
      if (state === undefined) return { records, cursor: { section: 'retired-slots', next: 0 } };
      records.push({
        type: 'granules',
        granuleCount: 1,
        ...state,
        cause: state.cause as GranuleRecord['cause'],
      });
      granule = state.granule + 1;
    }
    return { records, cursor: { section: 'granules', next: granule } };
  }
}

function addRange(numbers: Set<number>, first: number, count: number): void {
  for (let number = first; number < first + count; number += 1) numbers.add(number);
}

function ascending(numbers: ReadonlySet<number>): readonly number[] {
  return [...numbers].sort((a, b) => a - b);
}

/** At most `limit` numbers from `next` on, and the one behind them. */
function numbersAfter(
  sorted: readonly number[],
  next: number,
  limit: number,
): { numbers: readonly number[]; rest: number | undefined } {
  const rest = sorted.filter((number) => number >= next);
  return { numbers: rest.slice(0, limit), rest: rest[limit] };
}
