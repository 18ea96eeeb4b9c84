import { crc32c } from '@node-rs/crc32';
import { blockBytes } from './block-size.ts';
import type { SpareLayout } from './layout.ts';
import { type GranuleRecord, type MappingRecord, noSlot, StateCause } from './mapping-state.ts';
import { fitsGranule } from './record-codec.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';
import { hexText } from './uuid.ts';

/**
 * The metadata of a spare as text, for people, for another program, and for `restore`:
 *
 *     dm-remap metadata dump 1
 *     # lines for people
 *     superblock HEX                       one superblock as it is on disk, without the zeroes at its end
 *     sequence N                           the last acknowledged
 *     granules GRANULE COUNT SLOT|- HELD UNREADABLE GONE FLAGS CAUSE SECONDS          bitmaps in hexadecimal
 *     retired SLOT COUNT
 *     fresh-ended REGION COUNT
 *     end CHECKSUM                         CRC-32C of every byte in front of this line
 */
const firstLine = 'dm-remap metadata dump 1';
/** A line for each of the greatest number of records that a spare may hold takes more memory than anybody has time for. */
export const dumpBytesMax: number = 512 * 1024 * 1024;

export interface MetadataDump {
  readonly superblock: Superblock;
  readonly sequence: number;
  readonly records: readonly MappingRecord[];
}

/** `block` is a superblock as it is on disk. */
export function encodeDump(
  block: Uint8Array,
  sequence: number,
  records: readonly MappingRecord[],
  remarks: readonly string[],
): string {
  let length = block.length;
  while (length > 0 && block[length - 1] === 0) length -= 1;
  const lines = [
    firstLine,
    ...remarks.map((remark) => `# ${remark.replace(/\p{Cc}+/gu, ' ')}`),
    `superblock ${hexText(block.subarray(0, length))}`,
    `sequence ${sequence}`,
    ...records.map(lineOf),
  ];
  const text = `${lines.join('\n')}\n`;
  return `${text}end ${checksumOf(text)}\n`;
}

function lineOf(record: MappingRecord): string {
  switch (record.type) {
    case 'retired-slots':
      return `retired ${record.slot} ${record.slotCount}`;
    case 'fresh-ended':
      return `fresh-ended ${record.region} ${record.regionCount}`;
    case 'granules': {
      const slot = record.slot === noSlot ? '-' : String(record.slot);
      const maps = [record.held, record.unreadable, record.gone].map((map) => map.toString(16));
      const rest = [record.flags, record.cause, record.unixSeconds];
      return ['granules', record.granule, record.granuleCount, slot, ...maps, ...rest].join(' ');
    }
  }
}

function checksumOf(text: string): string {
  return crc32c(text).toString(16).padStart(8, '0');
}

/** The dump, or one clause about what is wrong: nothing of a changed or cut one is used. */
export function decodeDump(text: string): MetadataDump | string {
  if (!text.startsWith(`${firstLine}\n`)) return 'is no dump of metadata';
  const end = /end ([0-9a-f]{8})\n$/.exec(text);
  if (end === null) return 'was cut short: its last line is missing';
  const body = text.slice(0, end.index);
  if (checksumOf(body) !== end[1]) return 'was changed: its checksum is wrong';
  let superblock: Superblock | undefined;
  let sequence: number | undefined;
  const records: MappingRecord[] = [];
  for (const line of body.split('\n').slice(1, -1)) {
    const [word, ...values] = line.split(' ');
    if (word === '#') continue;
    if (word === 'superblock') superblock = superblockOf(values[0] ?? '');
    else if (word === 'sequence') sequence = Number(values[0]);
    else {
      const record = recordOf(word, values);
      if (record === undefined) return `has a line that means nothing: ${line.slice(0, 80)}`;
      records.push(record);
    }
  }
  if (superblock === undefined) return 'has no superblock that this program understands';
  if (sequence === undefined || !Number.isSafeInteger(sequence)) return 'has no sequence';
  const { layout } = superblock.shared;
  const outside = records.find((record) => !isInside(record, layout));
  if (outside !== undefined) return `has a line about what its device does not have: ${lineOf(outside)}`;
  return { superblock, sequence, records };
}

function superblockOf(hex: string): Superblock | undefined {
  const block = new Uint8Array(blockBytes);
  if (hex.length > 2 * blockBytes) return undefined;
  for (let at = 0; at * 2 < hex.length; at += 1)
    block[at] = Number.parseInt(hex.slice(at * 2, at * 2 + 2), 16);
  const finding = decodeSuperblock(block);
  return finding.found === 'superblock' ? finding.superblock : undefined;
}

function recordOf(word: string | undefined, values: readonly string[]): MappingRecord | undefined {
  if (word === 'granules' && values.length === 9) return granulesOf(values);
  const [first, count] = values.map(Number);
  if (values.length !== 2 || !isWhole(first) || !isWhole(count) || count === 0) return undefined;
  if (word === 'retired') return { type: 'retired-slots', slot: first, slotCount: count };
  if (word === 'fresh-ended') return { type: 'fresh-ended', region: first, regionCount: count };
  return undefined;
}

function granulesOf(values: readonly string[]): GranuleRecord | undefined {
  const [granule, granuleCount, , , , , flags, cause, unixSeconds] = values.map(Number);
  const [held, unreadable, gone] = values.slice(3, 6).map((map) => Number.parseInt(map, 16));
  const slot = values[2] === '-' ? noSlot : Number(values[2]);
  const isCause = Object.values(StateCause).some((known) => known === cause);
  if (!isWhole(granule) || !isWhole(granuleCount) || !isWhole(flags) || !isWhole(unixSeconds) || !isCause) {
    return undefined;
  }
  if (!isMap(held) || !isMap(unreadable) || !isMap(gone) || (slot !== noSlot && !isWhole(slot)))
    return undefined;
  if ((held & unreadable) !== 0 || ((held | unreadable) & gone) !== 0) return undefined;
  if (granuleCount === 0 || (slot === noSlot && held !== 0)) return undefined;
  const state = { held, unreadable, gone, flags, cause: cause as StateCause, unixSeconds };
  return { type: 'granules', granule, granuleCount, slot, ...state };
}

/** A checksum does not keep a length from being without end. */
function isInside(record: MappingRecord, layout: SpareLayout): boolean {
  const { mainSizeBytes, rowBytes, granuleBytes, freshRegionCount } = layout;
  const slots = Math.floor(rowBytes / granuleBytes);
  if (record.type === 'retired-slots') return record.slot + record.slotCount <= slots;
  if (record.type === 'fresh-ended') return record.region + record.regionCount <= freshRegionCount;
  if (!fitsGranule(record.held | record.unreadable | record.gone, granuleBytes)) return false;
  const isOnSpare = record.slot === noSlot || record.slot + record.granuleCount <= slots;
  return isOnSpare && record.granule + record.granuleCount <= Math.ceil(mainSizeBytes / granuleBytes);
}

function isWhole(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0;
}

function isMap(value: number | undefined): value is number {
  return isWhole(value) && value <= 0xffff_ffff;
}
