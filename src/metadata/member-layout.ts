import { SpareLayout, superblockPlaces } from './layout.ts';

/** A spare beside the home as a layout: superblocks, and slots around them. For whoever checks a disk before it is one. */
export function memberLayout(sizeBytes: number, mainSizeBytes: number, granuleBytes: number): SpareLayout {
  const replicas = superblockPlaces(sizeBytes).map((superblockOffset) => ({
    superblockOffset,
    areaOffsets: [superblockOffset, superblockOffset] as const,
    journalOffsets: [superblockOffset, superblockOffset] as const,
  }));
  return new SpareLayout({
    ...{ spareSizeBytes: sizeBytes, mainSizeBytes, granuleBytes, replicas },
    ...{ areaBlocks: 0, journalBlocks: 0, lostRangesMax: 0, freshSizeBytes: 0 },
  });
}
