import type {
  GranuleRecord,
  MappingRecord,
  MappingStateSource,
  StateCursor,
} from '../metadata/mapping-state.ts';
import { noSlot } from '../metadata/mapping-state.ts';
import { type GranuleState, GranuleTable } from '../remap/granule-table.ts';

/**
 * The state that a list of records leads to, without the disks: what tools look at, and write back as a checkpoint. Later
 * records replace earlier ones; what is no state of a granule is kept as it came.
 */
export class RecordedState implements MappingStateSource {
  readonly table: GranuleTable = new GranuleTable();
  readonly #retired = new Set<number>();

  constructor(records: readonly MappingRecord[]) {
    for (const record of records) {
      if (record.type === 'granules') this.#addGranules(record);
      else for (let at = 0; at < record.slotCount; at += 1) this.#retired.add(record.slot + at);
    }
  }

  /** Ascending. */
  retiredSlots(): readonly number[] {
    return [...this.#retired].sort((a, b) => a - b);
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
    return this.table.totals().entries + this.#retired.size;
  }

  recordsAfter(
    cursor: StateCursor,
    limit: number,
  ): { records: MappingRecord[]; cursor: StateCursor | undefined } {
    return cursor.section === 'granules'
      ? this.#granulesAfter(cursor.next, limit)
      : this.#retiredAfter(cursor.next, limit);
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

  #retiredAfter(next: number, limit: number): { records: MappingRecord[]; cursor: StateCursor | undefined } {
    const slots = this.retiredSlots().filter((slot) => slot >= next);
    const records = slots
      .slice(0, limit)
      .map((slot): MappingRecord => ({ type: 'retired-slots', slot, slotCount: 1 }));
    const rest = slots[limit];
    return { records, cursor: rest === undefined ? undefined : { section: 'retired-slots', next: rest } };
  }
}
