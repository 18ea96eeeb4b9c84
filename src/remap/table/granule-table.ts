import { assert } from '../../block/assert.ts';
import { noSlot, StateFlags } from '../../metadata/mapping-state.ts';
import { sectorCountOf } from './sector-mask.ts';

/**
 * The state of every granule that is not simply healthy, in ascending order.
 *
 * Parallel typed arrays in sorted segments, no object an entry (M18: at most 40 bytes each):
 *
 *     segments   [ 0 … 383 | 391 … 5000 | 5004 … ]      found by the first granule of each
 *     a segment  granules    f64   8 bytes
 *                slots       u32   4
 *                holdBits    u32   4     held or gone
 *                lossBits    u32   4     unreadable or gone
 *                unixSeconds u32   4
 *                flags u16, causes u8  3  = 27 bytes an entry, 39 at the 69 % fill of random insertion
 *
 * A sector is in at most one of three states, so two bits say which: held 1·0, unreadable 0·1, gone 1·1, on main 0·0.
 */
const segmentEntriesMax = 512;
const slotNone = 0xffff_ffff;

/** One granule's state, a copy: it does not follow later changes. Sector sets are unsigned 32-bit maps, bit 0 first. */
export interface GranuleState {
  readonly granule: number;
  /** `noSlot` without a place on the spare. */
  readonly slot: number;
  readonly held: number;
  readonly unreadable: number;
  readonly gone: number;
  readonly flags: number;
  readonly cause: number;
  readonly unixSeconds: number;
}

/** What a granule without an entry is. */
export function healthyState(granule: number): GranuleState {
  return { granule, slot: noSlot, held: 0, unreadable: 0, gone: 0, flags: 0, cause: 0, unixSeconds: 0 };
}

/** True when the state says no more than "healthy": such an entry is not kept. */
export function isHealthy(state: GranuleState): boolean {
  return state.slot === noSlot && (state.held | state.unreadable | state.gone) === 0;
}

class Segment {
  count = 0;
  readonly granules: Float64Array = new Float64Array(segmentEntriesMax);
  readonly slots: Uint32Array = new Uint32Array(segmentEntriesMax);
  readonly holdBits: Uint32Array = new Uint32Array(segmentEntriesMax);
  readonly lossBits: Uint32Array = new Uint32Array(segmentEntriesMax);
  readonly unixSeconds: Uint32Array = new Uint32Array(segmentEntriesMax);
  readonly flags: Uint16Array = new Uint16Array(segmentEntriesMax);
  readonly causes: Uint8Array = new Uint8Array(segmentEntriesMax);

  /** Index of the first entry at or behind `granule`; `count` when there is none. */
  lowerBound(granule: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.granules[middle]! < granule) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  arrays(): (Float64Array | Uint32Array | Uint16Array | Uint8Array)[] {
    return [
      this.granules,
      this.slots,
      this.holdBits,
      this.lossBits,
      this.unixSeconds,
      this.flags,
      this.causes,
    ];
  }

  shift(from: number, to: number): void {
    for (const array of this.arrays()) array.copyWithin(to, from, this.count);
    this.count += to - from;
  }

  put(index: number, state: GranuleState): void {
    this.granules[index] = state.granule;
    this.slots[index] = state.slot === noSlot ? slotNone : state.slot;
    this.holdBits[index] = state.held | state.gone;
    this.lossBits[index] = state.unreadable | state.gone;
    this.unixSeconds[index] = state.unixSeconds;
    this.flags[index] = state.flags;
    this.causes[index] = state.cause;
  }

  at(index: number): GranuleState {
    const slot = this.slots[index]!;
    const hold = this.holdBits[index]!;
    const loss = this.lossBits[index]!;
    return {
      granule: this.granules[index]!,
      slot: slot === slotNone ? noSlot : slot,
      held: (hold & ~loss) >>> 0,
      unreadable: (loss & ~hold) >>> 0,
      gone: (hold & loss) >>> 0,
      flags: this.flags[index]!,
      cause: this.causes[index]!,
      unixSeconds: this.unixSeconds[index]!,
    };
  }
}

/** Totals over the table, kept exact with every change. */
export interface TableTotals {
  readonly entries: number;
  readonly remappedGranules: number;
  readonly heldSectors: number;
  /** Without those that read as zeros. */
  readonly unreadableSectors: number;
  /** Sectors that main cannot read and nobody ever wrote: they read as zeros (R13). */
  readonly freshZeroSectors: number;
  readonly goneSectors: number;
}

export class GranuleTable {
  readonly #segments: Segment[] = [];
  #entries = 0;
  #remappedGranules = 0;
  #heldSectors = 0;
  #unreadableSectors = 0;
  #freshZeroSectors = 0;
  #goneSectors = 0;

  totals(): TableTotals {
    return {
      entries: this.#entries,
      remappedGranules: this.#remappedGranules,
      heldSectors: this.#heldSectors,
      unreadableSectors: this.#unreadableSectors,
      freshZeroSectors: this.#freshZeroSectors,
      goneSectors: this.#goneSectors,
    };
  }

  /** The state of a granule, or undefined when it is simply healthy. */
  get(granule: number): GranuleState | undefined {
    const segment = this.#segments[this.#segmentIndex(granule)];
    if (segment === undefined) return undefined;
    const index = segment.lowerBound(granule);
    if (index === segment.count || segment.granules[index] !== granule) return undefined;
    return segment.at(index);
  }

  /** The first entry at or behind `granule`, or undefined. */
  atOrAfter(granule: number): GranuleState | undefined {
    let at = this.#segmentIndex(granule);
    const segment = this.#segments[at];
    if (segment === undefined) return undefined;
    const index = segment.lowerBound(granule);
    if (index < segment.count) return segment.at(index);
    at += 1;
    return this.#segments[at]?.at(0);
  }

  /** Replaces the whole state of one granule; a healthy state removes the entry. */
  set(state: GranuleState): void {
    assert((state.held & state.unreadable) === 0, 'GranuleTable: a held sector cannot be unreadable');
    assert(
      ((state.held | state.unreadable) & state.gone) === 0,
      'GranuleTable: a gone sector is nothing else',
    );
    assert(state.slot !== noSlot || state.held === 0, 'GranuleTable: sectors held without a slot');
    const at = this.#segmentIndex(state.granule);
    const segment = this.#segments[at];
    const index = segment?.lowerBound(state.granule) ?? 0;
    const exists =
      segment !== undefined && index < segment.count && segment.granules[index] === state.granule;
    if (exists) this.#count(segment.at(index), -1);
    if (isHealthy(state)) {
      if (exists) this.#remove(at, index);
      return;
    }
    this.#count(state, 1);
    if (exists) segment.put(index, state);
    else this.#insert(at, index, state);
  }

  /** Index of the segment that holds, or would hold, `granule`; 0 when there is none. */
  #segmentIndex(granule: number): number {
    let low = 0;
    let high = this.#segments.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#segments[middle]!.granules[0]! <= granule) low = middle;
      else high = middle;
    }
    return low;
  }

  #insert(at: number, index: number, state: GranuleState): void {
    const segment = this.#segments[at];
    if (segment === undefined) {
      const first = new Segment();
      first.put(0, state);
      first.count = 1;
      this.#segments.push(first);
      return;
    }
    if (segment.count < segmentEntriesMax) {
      segment.shift(index, index + 1);
      segment.put(index, state);
      return;
    }
    // Ascending insertion at the end leaves full segments behind; anything else splits in halves.
    const keep =
      at === this.#segments.length - 1 && index === segment.count ? segment.count : segment.count >>> 1;
    const upper = new Segment();
    const lowerArrays = segment.arrays();
    for (const [which, array] of upper.arrays().entries()) array.set(lowerArrays[which]!.subarray(keep));
    upper.count = segment.count - keep;
    segment.count = keep;
    this.#segments.splice(at + 1, 0, upper);
    if (index >= keep) this.#insertWithin(upper, index - keep, state);
    else this.#insertWithin(segment, index, state);
  }

  #insertWithin(segment: Segment, index: number, state: GranuleState): void {
    segment.shift(index, index + 1);
    segment.put(index, state);
  }

  #remove(at: number, index: number): void {
    const segment = this.#segments[at]!;
    segment.shift(index + 1, index);
    if (segment.count === 0) this.#segments.splice(at, 1);
  }

  #count(state: GranuleState, sign: 1 | -1): void {
    this.#entries += sign;
    if (state.slot !== noSlot) this.#remappedGranules += sign;
    this.#heldSectors += sign * sectorCountOf(state.held);
    const unreadable = sign * sectorCountOf(state.unreadable);
    if ((state.flags & StateFlags.freshZero) === 0) this.#unreadableSectors += unreadable;
    else this.#freshZeroSectors += unreadable;
    this.#goneSectors += sign * sectorCountOf(state.gone);
  }
}
