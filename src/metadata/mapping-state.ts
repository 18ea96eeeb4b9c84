/**
 * What the metadata stores: the state of granules that are not simply healthy, and of slots that must not be used.
 * Every record is absolute: it says the whole state of its granules, so replaying it twice, or over a checkpoint that
 * already contains it, changes nothing. That is what lets a checkpoint be written while the table changes.
 */

/** A granule without a place on the spare. */
export const noSlot = -1;

/** Sectors of a granule fit a 32-bit bitmap: a granule is 512 bytes to 16 KiB. Bit 0 is the granule's first sector. */
export const granuleSectorsMax = 32;

/** Bits of `flags`. */
export const StateFlags = {
  none: 0,
  /** Relocated wholesale past the narrowing budget (R19): the sector on main may be good. */
  unverified: 1,
  /** Never written since `create --fresh` (R13). */
  freshZero: 2,
  /** Imported; main is asked once (R34). */
  suspect: 4,
} as const;

/** Why a granule changed its state. */
export const StateCause = {
  unknown: 0,
  writeError: 1,
  readError: 2,
  salvage: 3,
  operator: 4,
  spareError: 5,
  /** A request that never came back, with good probes before and after (R14). */
  timeout: 6,
  imported: 7,
  /** Moved because `verify` found it bad. */
  verify: 8,
  /** Main gave it, but only after much longer than the rest of the disk takes. */
  slowRead: 9,
} as const;
export type StateCause = (typeof StateCause)[keyof typeof StateCause];

/** The state of `granuleCount` granules that follow each other on main and, when they have slots, on the spare. */
export interface GranuleRecord {
  readonly type: 'granules';
  /** First granule: main's byte offset divided by the granule's bytes. */
  readonly granule: number;
  readonly granuleCount: number;
  /** First slot: the spare's byte offset divided by the granule's bytes; `noSlot` without a place there. */
  readonly slot: number;
  /** Sectors whose only valid copy is in the slot. 0 without a slot. Unsigned 32 bit. */
  readonly held: number;
  /** Sectors that main could not read, and only main has (R4). */
  readonly unreadable: number;
  /** Sectors whose last acknowledged bytes are lost; main is never read for them (R4). */
  readonly gone: number;
  readonly flags: number;
  readonly cause: StateCause;
  /** Seconds since 1970-01-01 UTC, for people. */
  readonly unixSeconds: number;
}

/** Slots that proved bad and are never given out again (M9). */
export interface RetiredSlotsRecord {
  readonly type: 'retired-slots';
  readonly slot: number;
  readonly slotCount: number;
}

/**
 * Regions of main that were written to since `create --fresh` (R13): from now on what main cannot read there is an error.
 * Only on devices created fresh; a region has `freshRegionBytes` and stays ended.
 */
export interface FreshEndedRecord {
  readonly type: 'fresh-ended';
  /** First region: main's byte offset divided by the region's bytes. */
  readonly region: number;
  readonly regionCount: number;
}

/** A granule record with no slot and no lost sectors says: healthy again, forget the entry. */
export type MappingRecord = GranuleRecord | RetiredSlotsRecord | FreshEndedRecord;

/**
 * The live table, as a checkpoint reads it: piece by piece, while it changes. A record that changes behind the cursor is
 * in the journal with a higher sequence, so the pieces need not be of one moment.
 */
export interface MappingStateSource {
  /** Upper bound of records a full pass gives now. */
  recordCountMax(): number;
  /** The next at most `limit` records behind `cursor`; begin with `startCursor`, end when `cursor` is undefined. */
  recordsAfter(
    cursor: StateCursor,
    limit: number,
  ): { records: MappingRecord[]; cursor: StateCursor | undefined };
}

/** The parts of the table, in the order a pass gives them. */
export const stateSections = ['granules', 'retired-slots', 'fresh-ended'] as const;
export type StateSection = (typeof stateSections)[number];

/** Where a pass over the table stands: one section after the other, each in ascending order. */
export interface StateCursor {
  readonly section: StateSection;
  /** The lowest granule, slot or region not yet given. */
  readonly next: number;
}

export const startCursor: StateCursor = { section: 'granules', next: 0 };
