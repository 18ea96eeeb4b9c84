import { assert } from '../block/assert.ts';
import { sectorBytes } from '../block/block-device.ts';
import { readU64, writeU64 } from './block-checksum.ts';
import { type FreshEndedRecord, type MappingRecord, noSlot, StateCause } from './mapping-state.ts';

/**
 * A record on disk: 48 bytes, little-endian, all places in sectors (docs/on-disk-format.md, "Record").
 *
 *      0 type u8     1 cause u8     2 flags u16     4 spare index u16     6 reserved u16     8 sector count u32
 *     12 held u32   16 main sector u64   24 spare sector u64   32 unreadable u32   36 gone u32   40 time u32
 *     44 checksum of the slot's data u32, 0 in format 1
 *
 * Ended fresh regions count in regions, which a run over a large main needs: 8 regions u32, 16 first region u64.
 */
export const recordBytes = 48;

const RecordType = { granules: 1, retiredSlots: 2, freshEnded: 3 } as const;
/** Both halves of `spare sector` when there is no slot. */
const noSector = 0xffff_ffff;
const lastCause: number = Math.max(...Object.values(StateCause));

export interface RecordUnits {
  readonly granuleBytes: number;
  readonly mainSizeBytes: number;
  /** End of the row of slots: the spare's size where there is but one. */
  readonly rowBytes: number;
  /** Regions of main that were fresh at creation (R13); 0 on other devices. */
  readonly freshRegionCount: number;
}

export function encodeRecord(view: DataView, at: number, record: MappingRecord, units: RecordUnits): void {
  const granuleSectors = units.granuleBytes / sectorBytes;
  if (record.type === 'fresh-ended') {
    assert(record.region + record.regionCount <= units.freshRegionCount, 'regions are inside a fresh main');
    view.setUint8(at, RecordType.freshEnded);
    view.setUint32(at + 8, record.regionCount, true);
    writeU64(view, at + 16, record.region);
  } else if (record.type === 'retired-slots') {
    view.setUint8(at, RecordType.retiredSlots);
    view.setUint32(at + 8, record.slotCount * granuleSectors, true);
    writeU64(view, at + 24, record.slot * granuleSectors);
  } else {
    assert(record.granuleCount > 0 && record.granule >= 0, 'a granule record names at least one granule');
    assert(record.slot !== noSlot || record.held === 0, 'sectors are held only where there is a slot');
    view.setUint8(at, RecordType.granules);
    view.setUint8(at + 1, record.cause);
    view.setUint16(at + 2, record.flags, true);
    view.setUint32(at + 8, record.granuleCount * granuleSectors, true);
    view.setUint32(at + 12, record.held, true);
    writeU64(view, at + 16, record.granule * granuleSectors);
    if (record.slot === noSlot) {
      view.setUint32(at + 24, noSector, true);
      view.setUint32(at + 28, noSector, true);
    } else {
      writeU64(view, at + 24, record.slot * granuleSectors);
    }
    view.setUint32(at + 32, record.unreadable, true);
    view.setUint32(at + 36, record.gone, true);
    view.setUint32(at + 40, record.unixSeconds, true);
  }
}

/** The record at `at`, or one clause about what is impossible in it. */
export function decodeRecord(view: DataView, at: number, units: RecordUnits): MappingRecord | string {
  const type = view.getUint8(at);
  if (type === RecordType.freshEnded) return decodeFreshEnded(view, at, units);
  const granuleSectors = units.granuleBytes / sectorBytes;
  const sectorCount = view.getUint32(at + 8, true);
  if (sectorCount === 0 || sectorCount % granuleSectors !== 0) return `a length of ${sectorCount} sectors`;
  const count = sectorCount / granuleSectors;
  const slot = slotAt(view, at + 24, granuleSectors);
  if (Number.isNaN(slot) || (slot !== noSlot && (slot + count) * units.granuleBytes > units.rowBytes)) {
    return 'a place outside the spare';
  }
  if (type === RecordType.retiredSlots) {
    return slot === noSlot
      ? 'retired slots without a place'
      : { type: 'retired-slots', slot, slotCount: count };
  }
  if (type !== RecordType.granules) return `record type ${type}`;
  const mainSector = readU64(view, at + 16);
  const granules = Math.ceil(units.mainSizeBytes / units.granuleBytes);
  if (mainSector % granuleSectors !== 0 || mainSector / granuleSectors + count > granules) {
    return 'a place outside main';
  }
  const held = view.getUint32(at + 12, true);
  const unreadable = view.getUint32(at + 32, true);
  const gone = view.getUint32(at + 36, true);
  if ((held & unreadable) !== 0 || ((held | unreadable) & gone) !== 0) return 'a sector in two states';
  if (!fitsGranule(held | unreadable | gone, units.granuleBytes))
    return 'a sector behind the end of its granule';
  if (slot === noSlot && held !== 0) return 'sectors held without a slot';
  const cause = view.getUint8(at + 1);
  return {
    type: 'granules',
    granule: mainSector / granuleSectors,
    granuleCount: count,
    slot,
    held,
    unreadable,
    gone,
    flags: view.getUint16(at + 2, true),
    // A cause this version does not know changes nothing but the words people read.
    cause: cause <= lastCause ? (cause as StateCause) : StateCause.unknown,
    unixSeconds: view.getUint32(at + 40, true),
  };
}

function decodeFreshEnded(view: DataView, at: number, units: RecordUnits): FreshEndedRecord | string {
  const regionCount = view.getUint32(at + 8, true);
  const region = readU64(view, at + 16);
  if (regionCount === 0 || region + regionCount > units.freshRegionCount) {
    return `regions ${region} + ${regionCount} of ${units.freshRegionCount} fresh ones`;
  }
  return { type: 'fresh-ended', region, regionCount };
}

/** False for a bitmap with a bit of a sector that the granule does not have: in a slot that is somebody else's. */
export function fitsGranule(sectors: number, granuleBytes: number): boolean {
  return sectors >>> 0 < 2 ** (granuleBytes / sectorBytes);
}

/** NaN for a place that is not a slot's start. */
function slotAt(view: DataView, at: number, granuleSectors: number): number {
  if (view.getUint32(at, true) === noSector && view.getUint32(at + 4, true) === noSector) return noSlot;
  const sector = readU64(view, at);
  return sector % granuleSectors === 0 ? sector / granuleSectors : Number.NaN;
}
