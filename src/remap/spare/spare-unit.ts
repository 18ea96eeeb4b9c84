import { assert } from '../../block/assert.ts';
import type { BlockDevice } from '../../block/block-device.ts';
import type { FlushGate } from '../order/flush-gate.ts';
import type { SparePlace } from '../path/device-paths.ts';
import type { PathProbe } from '../path/path-probe.ts';
import { SlotStorm } from '../path/slot-storm.ts';
import type { SlotAllocator } from '../table/slot-allocator.ts';

export interface SpareUnitParts {
  readonly place: SparePlace;
  /** Takes offsets of the row of all spares. */
  readonly device: BlockDevice;
  /** Its first slot in that row. */
  readonly firstSlot: number;
  readonly slotCount: number;
  readonly granuleBytes: number;
  /** In its own slots, from 0. */
  readonly allocator: SlotAllocator;
  readonly probe: PathProbe;
  readonly flush: FlushGate;
  /** Grows with each failed flush of it: what was written and not yet flushed then is in doubt (R7). */
  readonly flushEpoch: () => number;
}

/** One spare of the device: its slots, whether it answers, and what it still has to flush. */
export class SpareUnit {
  readonly place: SparePlace;
  readonly device: BlockDevice;
  readonly firstSlot: number;
  readonly slotCount: number;
  readonly allocator: SlotAllocator;
  readonly probe: PathProbe;
  readonly flush: FlushGate;
  readonly storm: SlotStorm = new SlotStorm();
  /** Its slots are on their way to the others: none is given out any more. */
  leaving = false;
  readonly #granuleBytes: number;
  readonly #flushEpoch: () => number;

  constructor(parts: SpareUnitParts) {
    this.place = parts.place;
    this.device = parts.device;
    this.firstSlot = parts.firstSlot;
    this.slotCount = parts.slotCount;
    this.allocator = parts.allocator;
    this.probe = parts.probe;
    this.flush = parts.flush;
    this.#granuleBytes = parts.granuleBytes;
    this.#flushEpoch = parts.flushEpoch;
  }

  get flushEpoch(): number {
    return this.#flushEpoch();
  }

  get baseOffset(): number {
    return this.firstSlot * this.#granuleBytes;
  }

  hasSlot(slot: number): boolean {
    return slot >= this.firstSlot && slot < this.firstSlot + this.slotCount;
  }

  /** The granule of its own disk at this offset of the row. */
  ownGranule(offset: number): number {
    return Math.floor(offset / this.#granuleBytes) - this.firstSlot;
  }
}

/**
 * All spares of a device as one row of slots: each keeps the slots that it was given, so that no record changes when another one
 * comes or goes. The first one is the home, which carries the metadata.
 */
export class SpareUnits {
  readonly #granuleBytes: number;
  #all: readonly SpareUnit[];

  constructor(home: SpareUnit, granuleBytes: number) {
    assert(home.firstSlot === 0, 'the home begins the row');
    this.#all = [home];
    this.#granuleBytes = granuleBytes;
  }

  get all(): readonly SpareUnit[] {
    return this.#all;
  }

  get home(): SpareUnit {
    return this.#all[0]!;
  }

  add(unit: SpareUnit): void {
    const end = unit.firstSlot + unit.slotCount;
    const apart = this.#all.every(
      ({ firstSlot, slotCount }) => unit.firstSlot >= firstSlot + slotCount || end <= firstSlot,
    );
    assert(apart, 'no two spares have one slot');
    this.#all = [...this.#all, unit];
  }

  remove(unit: SpareUnit): void {
    assert(unit !== this.home, 'the home stays');
    this.#all = this.#all.filter((other) => other !== unit);
  }

  /** Undefined for a slot that no spare has. */
  find(slot: number): SpareUnit | undefined {
    return this.#all.find((unit) => unit.hasSlot(slot));
  }

  ofSlot(slot: number): SpareUnit {
    const unit = this.find(slot);
    assert(unit !== undefined, 'a slot in use is on a spare');
    return unit;
  }

  /** The spare that has this offset of the row. */
  at(offset: number): SpareUnit {
    return this.find(Math.floor(offset / this.#granuleBytes)) ?? this.home;
  }

  /**
   * A request may still speak of a spare that is none any more: what it wanted there has moved since, and it is sent again when
   * it asks. The home answers for that one.
   */
  of(place: SparePlace): SpareUnit {
    return this.#all.find((one) => one.place === place) ?? this.home;
  }

  /** As `of`, for a slot that a granule had a moment ago. */
  placeOf(slot: number): SparePlace {
    return this.find(slot)?.place ?? this.home.place;
  }
}
