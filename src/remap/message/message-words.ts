import { sectorBytes } from '../../block/block-device.ts';
import type { RemapCore } from '../remap-core.ts';
import { sectorMask } from '../table/sector-mask.ts';
import { MessageError } from './message-error.ts';

/** Sectors of 512 bytes of the virtual device. */
export interface SectorRange {
  readonly sector: number;
  readonly sectorCount: number;
}

/** `SECTOR [COUNT]`, COUNT 1 by default, inside the device. Throws `MESSAGE_INVALID`. */
export function rangeOfWords(core: RemapCore, verb: string, words: readonly string[]): SectorRange {
  const [firstWord, countWord = '1', ...more] = words;
  const sector = wholeNumber(firstWord);
  const sectorCount = wholeNumber(countWord);
  if (sector === undefined || sectorCount === undefined || sectorCount === 0 || more.length > 0) {
    throw new MessageError(
      'MESSAGE_INVALID',
      `${verb}: expected SECTOR [COUNT], whole numbers of 512-byte sectors`,
    );
  }
  const sectors = core.parts.sizeBytes / sectorBytes;
  if (sector + sectorCount <= sectors) return { sector, sectorCount };
  throw new MessageError(
    'MESSAGE_INVALID',
    `${verb}: sectors ${sector} to ${sector + sectorCount - 1} leave the device of ${sectors}`,
  );
}

/** As `rangeOfWords`; no words are the whole device. */
export function rangeOrAll(core: RemapCore, verb: string, words: readonly string[]): SectorRange {
  return words.length === 0 ? wholeDevice(core) : rangeOfWords(core, verb, words);
}

export function wholeDevice(core: RemapCore): SectorRange {
  return { sector: 0, sectorCount: core.parts.sizeBytes / sectorBytes };
}

export function refuseWords(verb: string, words: readonly string[]): void {
  if (words.length === 0) return;
  throw new MessageError('MESSAGE_INVALID', `${verb} takes no words, got '${words.join(' ')}'`);
}

/** The granules that a range touches, both included. */
export function granulesOf(core: RemapCore, range: SectorRange): { first: number; last: number } {
  const { granuleBytes } = core.parts;
  return {
    first: Math.floor((range.sector * sectorBytes) / granuleBytes),
    last: Math.floor(((range.sector + range.sectorCount) * sectorBytes - 1) / granuleBytes),
  };
}

/**
 * The sectors of one granule that lie in the range, widened to main's logical blocks: less than one of those cannot be
 * read or written.
 */
export function sectorsInRange(core: RemapCore, range: SectorRange, granule: number): number {
  const { granuleBytes, main } = core.parts;
  const block = main.geometry.logicalBlockBytes;
  const start = granule * granuleBytes;
  const from = Math.max(0, range.sector * sectorBytes - start);
  const to = Math.min(core.bytesOfGranule(granule), (range.sector + range.sectorCount) * sectorBytes - start);
  return sectorMask(Math.floor(from / block) * block, Math.ceil(to / block) * block);
}

export function wholeNumber(word: string | undefined): number | undefined {
  if (word === undefined || !/^[0-9]{1,16}$/.test(word)) return undefined;
  const value = Number(word);
  return Number.isSafeInteger(value * sectorBytes) ? value : undefined;
}
