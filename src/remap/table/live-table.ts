import {
  type GranuleRecord,
  type MappingRecord,
  type MappingStateSource,
  type RetiredSlotsRecord,
  StateCause,
  type StateCursor,
  StateFlags,
} from '../../metadata/mapping-state.ts';
import { FreshRegions } from './fresh-regions.ts';
import { type GranuleState, GranuleTable, healthyState } from './granule-table.ts';
import { RetiredSlots } from './retired-slots.ts';
import { SpecialMap } from './special-map.ts';

/** Causes that say that main has a bad sector; records of earlier sessions say it too (R8). */
const causesOfBadMain: ReadonlySet<StateCause> = new Set([StateCause.writeError, StateCause.readError]);

/** Hears of every granule whose state changes, in the turn in which the change holds; must be quick and must not throw. */
export type TableObserver = (before: GranuleState, after: GranuleState) => void;

export interface LiveTableParts {
  readonly granuleCount: number;
  /** R13: bytes of main that were fresh at creation; 0 for none. */
  readonly freshSizeBytes: number;
  /** Granules without a slot that the metadata has room for (M18). */
  readonly lostGranulesMax: number;
  /** A record says that main has a bad sector. */
  readonly onBadMain: () => void;
}

/** All that records say, as it is now: what requests look up, and what a checkpoint writes down. */
export class LiveTable implements MappingStateSource {
  readonly granules: GranuleTable = new GranuleTable();
  readonly specials: SpecialMap;
  readonly retired: RetiredSlots = new RetiredSlots();
  readonly freshRegions: FreshRegions;
  /** Undefined while nobody watches, and while the stored table is loaded. */
  observer: TableObserver | undefined;
  /** Granules without a slot that the metadata has room for (M18). */
  lostGranulesMax: number;
  readonly #onBadMain: () => void;

  constructor(parts: LiveTableParts) {
    this.specials = new SpecialMap(parts.granuleCount);
    this.freshRegions = new FreshRegions(parts.freshSizeBytes);
    this.lostGranulesMax = parts.lostGranulesMax;
    this.#onBadMain = parts.onBadMain;
  }

  /** Makes stored, or soon stored, records what counts (I13: the very next request sees them). */
  activate(records: readonly MappingRecord[]): void {
    for (const record of records) {
      if (record.type === 'retired-slots') this.retired.add(record.slot, record.slotCount);
      else if (record.type === 'fresh-ended') this.freshRegions.end(record.region, record.regionCount);
      else this.#activateGranules(record);
    }
  }

  /** False when the metadata has no room for one more lost range: a mark is then not made, main is asked again (R4). */
  roomForMarks(): boolean {
    const { entries, remappedGranules } = this.granules.totals();
    return entries - remappedGranules < this.lostGranulesMax;
  }

  recordCountMax(): number {
    return this.granules.totals().entries + this.retired.count + this.freshRegions.endedCount;
  }

  recordsAfter(
    cursor: StateCursor,
    limit: number,
  ): { records: MappingRecord[]; cursor: StateCursor | undefined } {
    if (cursor.section === 'granules') return this.#granulesAfter(cursor.next, limit);
    if (cursor.section === 'retired-slots') return this.#retiredAfter(cursor.next, limit);
    return this.freshRegions.recordsAfter(cursor.next, limit);
  }

  #activateGranules(record: GranuleRecord): void {
    if (causesOfBadMain.has(record.cause)) this.#onBadMain();
    for (let at = 0; at < record.granuleCount; at += 1) {
      const granule = record.granule + at;
      const before = this.granules.get(granule);
      this.granules.set({ ...record, granule, slot: record.slot < 0 ? record.slot : record.slot + at });
      const after = this.granules.get(granule);
      if (after !== undefined && before === undefined) this.specials.add(granule);
      if (before !== undefined && after === undefined) this.specials.remove(granule);
      this.observer?.(before ?? healthyState(granule), after ?? healthyState(granule));
    }
  }

  #granulesAfter(next: number, limit: number): { records: MappingRecord[]; cursor: StateCursor } {
    const records: MappingRecord[] = [];
    let granule = next;
    while (records.length < limit) {
      const state = this.granules.atOrAfter(granule);
      if (state === undefined) return { records, cursor: { section: 'retired-slots', next: 0 } };
      records.push(recordOf(state));
      granule = state.granule + 1;
    }
    return { records, cursor: { section: 'granules', next: granule } };
  }

  #retiredAfter(next: number, limit: number): { records: MappingRecord[]; cursor: StateCursor } {
    const { slots, rest } = this.retired.after(next, limit);
    const records = slots.map(retiredRecord);
    if (rest === undefined) return { records, cursor: { section: 'fresh-ended', next: 0 } };
    return { records, cursor: { section: 'retired-slots', next: rest } };
  }
}

/** The record that says this state. */
export function recordOf(state: GranuleState): GranuleRecord {
  // The flag is about the marks: it must not outlive them and catch later ones (R13).
  const flags = state.unreadable === 0 ? state.flags & ~StateFlags.freshZero : state.flags;
  return {
    type: 'granules',
    granuleCount: 1,
    ...state,
    flags,
    cause: state.cause as GranuleRecord['cause'],
  };
}

export function retiredRecord(slot: number): RetiredSlotsRecord {
  return { type: 'retired-slots', slot, slotCount: 1 };
}
