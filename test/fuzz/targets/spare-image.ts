import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { markPlaces } from '../../../src/metadata/in-use-mark.ts';
import type { SpareLayout } from '../../../src/metadata/layout.ts';
import type { MappingRecord } from '../../../src/metadata/mapping-state.ts';
import { decodeRecordBlock } from '../../../src/metadata/record-block.ts';
import { decodeSuperblock } from '../../../src/metadata/superblock.ts';
import type { GoldenExpectation } from '../../metadata/golden-images.ts';

export const blockBytes = 4096;

const folder = fileURLToPath(new URL('../../../../test/golden/format-1/', import.meta.url));

/** A block of the metadata, and whose it is; marks are nobody's. */
export interface PlacedBlock {
  readonly offset: number;
  readonly replica: number | undefined;
}

/** A golden image, and where its metadata is. */
export interface SpareImage {
  readonly name: string;
  readonly bytes: Buffer;
  readonly records: readonly MappingRecord[];
  readonly layout: SpareLayout;
  /** Replicas that have every acknowledged record. */
  readonly inSync: readonly number[];
  readonly superblocks: readonly PlacedBlock[];
  readonly journal: readonly PlacedBlock[];
  readonly checkpoint: readonly PlacedBlock[];
  readonly marks: readonly PlacedBlock[];
}

/** All golden images of the format, in the order of their names. */
export function readSpareImages(): readonly SpareImage[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.img.gz'))
    .sort()
    .map((file) => spareImage(file.slice(0, -'.img.gz'.length)));
}

function spareImage(name: string): SpareImage {
  const bytes = gunzipSync(readFileSync(`${folder}${name}.img.gz`));
  const { records } = JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8')) as GoldenExpectation;
  const found = [64 * 1024, bytes.length - (1 << 20)].flatMap((place) =>
    [0, blockBytes].flatMap((slot) => {
      const finding = decodeSuperblock(bytes.subarray(place + slot, place + slot + blockBytes));
      return finding.found === 'superblock' ? [{ ...finding.superblock, offset: place + slot }] : [];
    }),
  );
  const newest = found.reduce((best, each) => (each.shared.revision > best.shared.revision ? each : best));
  const { layout, uuid, inSyncMask } = newest.shared;
  const valid = (
    kind: 'journal' | 'checkpoint',
    starts: readonly number[],
    blocks: number,
    replica: number,
  ) =>
    starts.flatMap((start) =>
      Array.from({ length: blocks }, (_, index) => start + index * blockBytes)
        .filter(
          (offset) =>
            decodeRecordBlock(bytes.subarray(offset, offset + blockBytes), kind, uuid) !== undefined,
        )
        .map((offset): PlacedBlock => ({ offset, replica })),
    );
  return {
    name,
    bytes,
    records,
    layout,
    inSync: layout.replicas.map((_, index) => index).filter((index) => (inSyncMask & (1 << index)) !== 0),
    superblocks: found.map(({ offset, replica }) => ({ offset, replica })),
    journal: layout.replicas.flatMap((place, replica) => [
      ...valid('journal', place.journalOffsets, layout.journalBlocks, replica),
      // And one that is free.
      { offset: place.journalOffsets[1] + (layout.journalBlocks - 1) * blockBytes, replica },
    ]),
    checkpoint: layout.replicas.flatMap((place, replica) =>
      valid('checkpoint', place.areaOffsets, layout.areaBlocks, replica),
    ),
    marks: markPlaces(layout).map((offset) => ({ offset, replica: undefined })),
  };
}
