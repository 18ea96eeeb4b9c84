import { assert } from '../block/assert.ts';
import { blockBytes } from './block-size.ts';
import { granuleSectorsMax } from './mapping-state.ts';
import { MetadataError } from './metadata-error.ts';
import { recordsPerBlock } from './record-block.ts';

const kib = 1024;
const mib = 1024 * kib;

/** M14: where a reader looks for superblocks. The first 64 KiB belong to boot sectors, labels and partition tables. */
export const firstPlaceOffset: number = 64 * kib;
export const middlePlaceOffset: number = 64 * mib;
export const replicasMax = 3;
/** Two superblock slots, written in turn. */
export const superblockSlots = 2;
const superblockPairBytes = superblockSlots * blockBytes;

/** Smaller than this a journal cannot hold a batch while the next checkpoint is written. */
export const journalBlocksMin = 8;
/** Bytes: above 4 MiB opening, which reads all journals, would be longer than a checkpoint is saved. */
const journalBytesMin: number = mib;
const journalBytesMax: number = 4 * mib;

export const freshRegionsMax = 32_768;
/** Granules whose moves may end at the same time: each looks for room for its marks, and none sees the others. */
export const movesAtOnceMax = 1024;

export interface LayoutOptions {
  /** Granules without a slot that need a record: lost ranges, flags. Default 65 536. */
  readonly lostRangesMax?: number;
  /** Bytes of one journal: a multiple of 4096, at least 8 blocks. Default: an eighth of a checkpoint area, 1 to 4 MiB. */
  readonly journalBytes?: number;
  /** Room for the regions that a fresh main ends one by one (R13). Default false. */
  readonly fresh?: boolean;
  /** Slots of other spares that the checkpoints are to have room for. Default 0. */
  readonly memberSlots?: number;
  /** With fewer slots than this a spare is too small. Default 1024. */
  readonly slotsMin?: number;
}

/** A part of the spare, in bytes. */
export interface SpareRange {
  readonly offset: number;
  readonly length: number;
}

/** Where one replica lives: byte offsets on the spare. */
export interface ReplicaPlace {
  /** Two slots of one block each. */
  readonly superblockOffset: number;
  readonly areaOffsets: readonly [number, number];
  readonly journalOffsets: readonly [number, number];
}

export interface SpareLayoutFields {
  readonly spareSizeBytes: number;
  readonly mainSizeBytes: number;
  readonly granuleBytes: number;
  readonly replicas: readonly ReplicaPlace[];
  /** Blocks of one checkpoint area. */
  readonly areaBlocks: number;
  /** Blocks of one journal. */
  readonly journalBlocks: number;
  readonly lostRangesMax: number;
  /** Bytes of main that were fresh at creation (R13); 0 on other devices. */
  readonly freshSizeBytes: number;
  /** Where the slots of all spares end, the home's first; default: this one's own size. */
  readonly rowBytes?: number;
}

/** Where everything is on one spare. Pure: the same numbers give the same places. */
export class SpareLayout implements SpareLayoutFields {
  readonly spareSizeBytes: number;
  readonly mainSizeBytes: number;
  readonly granuleBytes: number;
  readonly replicas: readonly ReplicaPlace[];
  readonly areaBlocks: number;
  readonly journalBlocks: number;
  readonly lostRangesMax: number;
  readonly freshSizeBytes: number;
  readonly rowBytes: number;
  /** Of `freshRegionBytes` each. */
  readonly freshRegionCount: number;
  /** Slots that can be given out: whole granules of the spare outside the reserved ranges. */
  readonly slotCount: number;
  readonly #reserved: readonly SpareRange[];

  constructor(fields: SpareLayoutFields) {
    this.spareSizeBytes = fields.spareSizeBytes;
    this.mainSizeBytes = fields.mainSizeBytes;
    this.granuleBytes = fields.granuleBytes;
    this.replicas = fields.replicas;
    this.areaBlocks = fields.areaBlocks;
    this.journalBlocks = fields.journalBlocks;
    this.lostRangesMax = fields.lostRangesMax;
    this.freshSizeBytes = fields.freshSizeBytes;
    this.rowBytes = fields.rowBytes ?? fields.spareSizeBytes;
    this.freshRegionCount = freshRegionsOf(fields.freshSizeBytes);
    this.#reserved = reservedOf(fields);
    let reservedBytes = 0;
    for (const range of this.#reserved) reservedBytes += range.length;
    this.slotCount =
      (roundDown(fields.spareSizeBytes, fields.granuleBytes) - reservedBytes) / fields.granuleBytes;
  }

  /** What is never a slot: whole granules, ascending, not touching each other. Bytes of the spare. */
  reservedRanges(): readonly SpareRange[] {
    return this.#reserved;
  }

  /** The same places, for a main that has grown (M21). */
  withMainSize(mainSizeBytes: number): SpareLayout {
    return new SpareLayout({ ...this.#fields(), mainSizeBytes });
  }

  /** The same places, with other spares beside it. */
  withRow(rowBytes: number, lostRangesMax: number = this.lostRangesMax): SpareLayout {
    return new SpareLayout({ ...this.#fields(), rowBytes, lostRangesMax });
  }

  /** Records that a checkpoint has room for beside those that may come without a slot. */
  get slotRecordsMax(): number {
    return this.areaBlocks * recordsPerBlock - otherRecordsOf(this.lostRangesMax, this.freshRegionCount);
  }

  #fields(): SpareLayoutFields {
    const {
      spareSizeBytes,
      mainSizeBytes,
      granuleBytes,
      replicas,
      areaBlocks,
      journalBlocks,
      lostRangesMax,
      freshSizeBytes,
      rowBytes,
    } = this;
    return {
      ...{ spareSizeBytes, mainSizeBytes, granuleBytes, replicas },
      ...{ areaBlocks, journalBlocks, lostRangesMax, freshSizeBytes, rowBytes },
    };
  }

  /** For `create`: what goes where, one line. */
  explanation(): string {
    const replicaBytes = bodyBytes(this.areaBlocks, this.journalBlocks) + superblockPairBytes;
    return (
      `spare of ${mebibytes(this.spareSizeBytes)}: ${this.slotCount} slots of ${this.granuleBytes} bytes ` +
      `(${mebibytes(this.slotCount * this.granuleBytes)}), up to ${this.lostRangesMax} lost ranges, ` +
      `${this.freshSizeBytes > 0 ? `${this.freshRegionCount} fresh regions, ` : ''}${this.replicas.length} replicas of the metadata of ${mebibytes(replicaBytes)} each`
    );
  }
}

/**
 * Where everything goes on a spare of this size.
 *
 *     0        64 KiB                        64 MiB                                    last aligned MiB    end
 *     | unused | S S A A J J | slots ...     | S S A A J J | slots ...     | A A J J   | S S  unused       |
 *                replica 0                     replica 1, where it fits      the last replica
 *
 * S superblock slot, A checkpoint area, J journal. Bodies (AAJJ) of large spares do not fit in front of 64 MiB: body 0 then
 * begins at 65 MiB and body 1 in the middle of the spare. Readers never compute a body's place: superblocks name it.
 * Throws `METADATA_SPARE_TOO_SMALL` naming the size that is needed, `METADATA_UNSUITABLE_SPARE`.
 */
export function planLayout(
  spareSizeBytes: number,
  mainSizeBytes: number,
  granuleBytes: number,
  options: LayoutOptions = {},
): SpareLayout {
  checkGranule(granuleBytes);
  const slotsMin = options.slotsMin ?? 1024;
  const layout = largestLayout(spareSizeBytes, mainSizeBytes, granuleBytes, options);
  if (layout !== undefined && layout.slotCount >= slotsMin) return layout;
  const neededBytes = minimumSpareBytes(mainSizeBytes, granuleBytes, options);
  throw new MetadataError(
    'METADATA_SPARE_TOO_SMALL',
    `spare is ${mebibytes(spareSizeBytes)}, needs at least ${mebibytes(neededBytes)} for a ` +
      `${mebibytes(mainSizeBytes)} main (${slotsMin} slots of ${granuleBytes} bytes and two replicas of the metadata); ` +
      `${mebibytes(advisedSpareBytes(mainSizeBytes, granuleBytes, options))} is advised`,
  );
}

/** The smallest spare that `planLayout` takes, in bytes: a whole number of MiB. */
export function minimumSpareBytes(
  mainSizeBytes: number,
  granuleBytes: number,
  options: LayoutOptions = {},
): number {
  const slotsMin = options.slotsMin ?? 1024;
  const fits = (sizeMib: number): boolean =>
    (largestLayout(sizeMib * mib, mainSizeBytes, granuleBytes, options)?.slotCount ?? 0) >= slotsMin;
  let enough = 2;
  while (!fits(enough)) enough *= 2;
  let short = Math.floor(enough / 2);
  while (enough - short > 1) {
    const middle = Math.floor((enough + short) / 2);
    if (fits(middle)) enough = middle;
    else short = middle;
  }
  return enough * mib;
}

/** What to advise, in bytes: 2.7 % of main, at least the minimum. A whole number of MiB. */
export function advisedSpareBytes(
  mainSizeBytes: number,
  granuleBytes: number,
  options: LayoutOptions = {},
): number {
  const share = Math.ceil((mainSizeBytes * 0.027) / mib) * mib;
  return Math.max(share, minimumSpareBytes(mainSizeBytes, granuleBytes, options));
}

/** Where superblocks can be on a device of this size, ascending byte offsets, whatever is there. */
export function superblockPlaces(spareSizeBytes: number): readonly number[] {
  const places = new Set([firstPlaceOffset, middlePlaceOffset, lastPlaceOffset(spareSizeBytes)]);
  return [...places]
    .filter((offset) => offset >= firstPlaceOffset && offset + superblockPairBytes <= spareSizeBytes)
    .sort((a, b) => a - b);
}

/**
 * Bytes of one region of a fresh main (R13), from main's size at creation: at least 1 MiB and at most 32 768 regions, whole
 * MiB. Small enough that one write ends little, few enough that a checkpoint can name each.
 */
export function freshRegionBytes(mainSizeBytes: number): number {
  return Math.max(1, Math.ceil(mainSizeBytes / freshRegionsMax / mib)) * mib;
}

function freshRegionsOf(freshSizeBytes: number): number {
  return Math.ceil(freshSizeBytes / freshRegionBytes(freshSizeBytes));
}

function checkGranule(granuleBytes: number): void {
  const power = granuleBytes >= 512 && (granuleBytes & (granuleBytes - 1)) === 0;
  if (power && granuleBytes <= 512 * granuleSectorsMax) return;
  throw new MetadataError(
    'METADATA_UNSUITABLE_SPARE',
    `a physical block of ${granuleBytes} bytes is not supported: expected a power of two, 512 to ${512 * granuleSectorsMax}`,
  );
}

/** A pass may end every region alone, whatever the runs are at one moment. */
function otherRecordsOf(lostRangesMax: number, freshRegions: number): number {
  return lostRangesMax + movesAtOnceMax + freshRegions;
}

/** The layout with the most slots that its own checkpoint areas can describe; undefined when nothing fits. */
function largestLayout(
  spareSizeBytes: number,
  mainSizeBytes: number,
  granuleBytes: number,
  options: LayoutOptions,
): SpareLayout | undefined {
  const lostRangesMax = options.lostRangesMax ?? 65_536;
  const freshSizeBytes = options.fresh === true ? mainSizeBytes : 0;
  const otherRecords =
    otherRecordsOf(lostRangesMax, freshRegionsOf(freshSizeBytes)) + (options.memberSlots ?? 0);
  const build = (areaBlocks: number): SpareLayout | undefined => {
    const journalBlocks = journalBlocksFor(areaBlocks, options.journalBytes);
    const replicas = placeReplicas(spareSizeBytes, areaBlocks, journalBlocks);
    if (replicas === undefined) return undefined;
    return new SpareLayout({
      spareSizeBytes,
      mainSizeBytes,
      granuleBytes,
      replicas,
      areaBlocks,
      journalBlocks,
      lostRangesMax,
      freshSizeBytes,
    });
  };
  // More blocks for the areas describe more slots and leave room for fewer: the first that is enough is the best.
  const enough = (areaBlocks: number): boolean => {
    const layout = build(areaBlocks);
    return layout === undefined || areaBlocks * recordsPerBlock >= layout.slotCount + otherRecords;
  };
  let high = Math.ceil((spareSizeBytes / granuleBytes + otherRecords) / recordsPerBlock) + 1;
  let low = 0;
  while (high - low > 1) {
    const middle = Math.floor((high + low) / 2);
    if (enough(middle)) high = middle;
    else low = middle;
  }
  return build(high);
}

function journalBlocksFor(areaBlocks: number, journalBytes: number | undefined): number {
  const bytes =
    journalBytes ?? Math.min(journalBytesMax, Math.max(journalBytesMin, (areaBlocks * blockBytes) / 8));
  const blocks = Math.floor(bytes / blockBytes);
  assert(blocks >= journalBlocksMin, `a journal has at least ${journalBlocksMin} blocks`);
  return blocks;
}

function bodyBytes(areaBlocks: number, journalBlocks: number): number {
  return 2 * (areaBlocks + journalBlocks) * blockBytes;
}

function placeAt(
  superblockOffset: number,
  bodyOffset: number,
  areaBlocks: number,
  journalBlocks: number,
): ReplicaPlace {
  const areaBytes = areaBlocks * blockBytes;
  const journalsOffset = bodyOffset + 2 * areaBytes;
  return {
    superblockOffset,
    areaOffsets: [bodyOffset, bodyOffset + areaBytes],
    journalOffsets: [journalsOffset, journalsOffset + journalBlocks * blockBytes],
  };
}

function placeReplicas(
  spareSizeBytes: number,
  areaBlocks: number,
  journalBlocks: number,
): readonly ReplicaPlace[] | undefined {
  const body = bodyBytes(areaBlocks, journalBlocks);
  const last = lastPlaceOffset(spareSizeBytes);
  const lastBody = last - body;
  const lastPlace = placeAt(last, lastBody, areaBlocks, journalBlocks);
  const firstBody = firstPlaceOffset + superblockPairBytes;
  const middleBody = middlePlaceOffset + superblockPairBytes;
  if (firstBody + body <= middlePlaceOffset && middleBody + body <= lastBody) {
    return [
      placeAt(firstPlaceOffset, firstBody, areaBlocks, journalBlocks),
      placeAt(middlePlaceOffset, middleBody, areaBlocks, journalBlocks),
      lastPlace,
    ];
  }
  const lateBody = middlePlaceOffset + mib;
  const centreBody = Math.floor(spareSizeBytes / 2 / mib) * mib;
  if (
    firstBody + body > middlePlaceOffset &&
    lateBody + body <= centreBody &&
    centreBody + body <= lastBody
  ) {
    return [
      placeAt(firstPlaceOffset, lateBody, areaBlocks, journalBlocks),
      placeAt(middlePlaceOffset, centreBody, areaBlocks, journalBlocks),
      lastPlace,
    ];
  }
  if (firstBody + body > lastBody) return undefined;
  return [placeAt(firstPlaceOffset, firstBody, areaBlocks, journalBlocks), lastPlace];
}

/** The last whole MiB of the device. Negative for a device smaller than a MiB. */
function lastPlaceOffset(spareSizeBytes: number): number {
  return roundDown(spareSizeBytes, mib) - mib;
}

function reservedOf(fields: SpareLayoutFields): readonly SpareRange[] {
  const parts: { start: number; end: number }[] = [{ start: 0, end: firstPlaceOffset }];
  for (const place of fields.replicas) {
    parts.push({ start: place.superblockOffset, end: place.superblockOffset + superblockPairBytes });
    for (const offset of place.areaOffsets) {
      parts.push({ start: offset, end: offset + fields.areaBlocks * blockBytes });
    }
    for (const offset of place.journalOffsets) {
      parts.push({ start: offset, end: offset + fields.journalBlocks * blockBytes });
    }
  }
  // Behind the last superblocks: left alone, like the front.
  const lastPlace = fields.replicas[fields.replicas.length - 1]!;
  const end = roundDown(fields.spareSizeBytes, fields.granuleBytes);
  parts.push({ start: lastPlace.superblockOffset, end });
  return mergeOutward(parts, fields.granuleBytes, end);
}

function mergeOutward(
  parts: readonly { start: number; end: number }[],
  granuleBytes: number,
  limit: number,
): SpareRange[] {
  const sorted = parts
    .map(({ start, end }) => ({
      start: roundDown(start, granuleBytes),
      end: Math.min(limit, roundDown(end + granuleBytes - 1, granuleBytes)),
    }))
    .sort((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const part of sorted) {
    const previous = merged[merged.length - 1];
    if (previous !== undefined && part.start <= previous.end) previous.end = Math.max(previous.end, part.end);
    else merged.push({ ...part });
  }
  return merged.map(({ start, end }) => ({ offset: start, length: end - start }));
}

function roundDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}

function mebibytes(bytes: number): string {
  const value = bytes / mib;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} MiB`;
}
