import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { planLayout, type SpareRange } from '../../src/metadata/layout.ts';

const granuleBytes = 4096;

/** All of each replica: its two superblock slots, both checkpoint areas, both journals. */
export function replicaRanges(spareBytes: number, mainBytes: number): SpareRange[][] {
  const { replicas, areaBlocks, journalBlocks } = planLayout(spareBytes, mainBytes, granuleBytes);
  return replicas.map(({ superblockOffset, areaOffsets, journalOffsets }) => [
    { offset: superblockOffset, length: 2 * granuleBytes },
    ...areaOffsets.map((offset) => ({ offset, length: areaBlocks * granuleBytes })),
    ...journalOffsets.map((offset) => ({ offset, length: journalBlocks * granuleBytes })),
  ]);
}

/** Chance bytes all over one replica of a spare that nobody serves. */
export async function destroyReplica(sparePath: string, ranges: readonly SpareRange[]): Promise<void> {
  const spare = await open(sparePath, 'r+');
  try {
    for (const { offset, length } of ranges) await spare.write(randomBytes(length), 0, length, offset);
  } finally {
    await spare.close();
  }
}
