import { sectorBytes } from '../block/block-device.ts';
import { blockBytes } from './block-size.ts';
import { firstPlaceOffset, journalBlocksMin, type SpareLayoutFields, superblockSlots } from './layout.ts';
import { granuleSectorsMax } from './mapping-state.ts';

/** The in-use marks and what comes later live behind the last superblocks (M11, M14). */
const lastPlaceBytes = 1024 * 1024;

interface Part {
  readonly start: number;
  readonly end: number;
}

/**
 * Why a layout read from a spare cannot be one, one clause, or undefined. Its checksum was right, so nobody but another program
 * wrote it so; still nothing may be written where it says before it is known to be apart from everything else: in front of the
 * first place are other people's boot sectors, behind the spare nothing, and between the parts the slots.
 */
export function layoutTrouble(fields: SpareLayoutFields): string | undefined {
  const { spareSizeBytes, mainSizeBytes, granuleBytes, areaBlocks, journalBlocks, freshSizeBytes } = fields;
  if (![spareSizeBytes, mainSizeBytes, freshSizeBytes].every(Number.isSafeInteger)) return 'impossible sizes';
  const granuleSectors = granuleBytes / sectorBytes;
  if (!isPowerOfTwo(granuleSectors) || granuleSectors > granuleSectorsMax) return 'an impossible granule';
  if (mainSizeBytes === 0) return 'a main of no bytes';
  if (freshSizeBytes > mainSizeBytes) return 'an impossible fresh size';
  if (areaBlocks === 0 || journalBlocks < journalBlocksMin) return 'no room for a checkpoint or a journal';
  const parts = partsOf(fields);
  if (parts.some(({ start }) => start % blockBytes !== 0)) return 'a replica between two blocks';
  if (parts.some(({ start }) => start < firstPlaceOffset)) return 'a replica in front of the metadata';
  if (parts.some(({ end }) => end > spareSizeBytes)) return 'a replica outside the spare';
  const sorted = parts.toSorted((a, b) => a.start - b.start);
  if (sorted.some(({ start }, index) => index > 0 && start < sorted[index - 1]!.end))
    return 'replicas in each other';
  const last = fields.replicas[fields.replicas.length - 1]!.superblockOffset;
  return sorted[sorted.length - 1]!.start === last ? undefined : 'a replica behind the last place';
}

function partsOf({ replicas, areaBlocks, journalBlocks }: SpareLayoutFields): readonly Part[] {
  return replicas.flatMap(({ superblockOffset, areaOffsets, journalOffsets }, index) => {
    const isLast = index === replicas.length - 1;
    const superblocks = isLast ? lastPlaceBytes : superblockSlots * blockBytes;
    const part = (start: number, length: number): Part => ({ start, end: start + length });
    return [
      part(superblockOffset, superblocks),
      ...areaOffsets.map((offset) => part(offset, areaBlocks * blockBytes)),
      ...journalOffsets.map((offset) => part(offset, journalBlocks * blockBytes)),
    ];
  });
}

/** Not by its bits: those of a number above 2^31 are others. */
export function isPowerOfTwo(value: number): boolean {
  return value >= 1 && Number.isInteger(Math.log2(value));
}
