import type { SpareLayout } from '../../metadata/layout.ts';
import { memberAlignmentBytes, memberReservedRanges } from '../../metadata/member-table.ts';
import type { RemapCore } from '../remap-core.ts';
import { ReplacementError } from './replacement-error.ts';

/** Lost ranges that stay possible when their room is given to slots: a quarter of what a device is made with. */
export const lostRangesKept = 16_384;
/** A spare with fewer slots is not worth its place in the superblock. */
export const memberSlotsMin = 256;

export interface MemberRoom {
  /** Bytes of the disk that are used. */
  readonly sizeBytes: number;
  /** Granules without a slot that a checkpoint has room for from then on. */
  readonly lostRangesMax: number;
}

/**
 * How much of a disk can become slots: a checkpoint of the home must have room for every slot of all spares (M18). What its areas
 * have to spare is taken, and room for lost ranges beyond `lostRangesKept`, and beyond twice those that there are. Throws
 * `ReplacementError`.
 */
export function memberSizeFor(core: RemapCore, layout: SpareLayout, diskBytes: number): MemberRoom {
  const { granuleBytes } = core.parts;
  let slots = 0;
  for (const { allocator } of core.spares.all) slots += allocator.usableSlots;
  const spareRecords = layout.slotRecordsMax - slots;
  const { entries, remappedGranules } = core.table.totals();
  const kept = Math.max(lostRangesKept, 2 * (entries - remappedGranules));
  const givenUp = Math.max(0, layout.lostRangesMax - kept);
  const slotsMax = spareRecords + givenUp;
  let sizeBytes = roundDown(Math.min(diskBytes, (slotsMax + 1) * granuleBytes + 4 * memberAlignmentBytes));
  while (sizeBytes > memberAlignmentBytes && slotsOf(sizeBytes, granuleBytes) > slotsMax) {
    sizeBytes -= memberAlignmentBytes;
  }
  const slotsNew = sizeBytes > memberAlignmentBytes ? slotsOf(sizeBytes, granuleBytes) : 0;
  if (slotsNew < memberSlotsMin) {
    const least = memberSlotsMin * granuleBytes + 3 * memberAlignmentBytes;
    throw new ReplacementError(
      slotsMax < memberSlotsMin
        ? `the metadata on the home has room for ${Math.max(0, slotsMax)} more blocks, a spare has at least ${memberSlotsMin}: ` +
            'remove a spare, or make the device anew on a larger one'
        : `has ${diskBytes} bytes, a spare has at least ${least}: use a larger disk`,
    );
  }
  return { sizeBytes, lostRangesMax: layout.lostRangesMax - Math.max(0, slotsNew - spareRecords) };
}

/** Slots of a member that uses so many bytes. */
function slotsOf(sizeBytes: number, granuleBytes: number): number {
  let reserved = 0;
  for (const { offset, length } of memberReservedRanges(sizeBytes)) {
    reserved += Math.ceil((offset + length) / granuleBytes) - Math.floor(offset / granuleBytes);
  }
  return sizeBytes / granuleBytes - reserved;
}

function roundDown(bytes: number): number {
  return Math.floor(bytes / memberAlignmentBytes) * memberAlignmentBytes;
}
