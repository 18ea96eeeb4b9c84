import { assert } from '../block/assert.ts';
import {
  areCounters,
  checksumOf,
  formatVersion,
  isSealed,
  magic,
  readU64,
  sameBytes,
  sealBlock,
  uuidAt,
  uuidBytes,
  versionAt,
  viewOf,
  writeU64,
} from './block-checksum.ts';
import { blockBytes } from './block-size.ts';
import type { MappingRecord } from './mapping-state.ts';
import { MetadataError } from './metadata-error.ts';
import { decodeRecord, encodeRecord, type RecordUnits, recordBytes } from './record-codec.ts';

/**
 * A block of records, of a journal or of a checkpoint (docs/on-disk-format.md, "Record block"):
 *
 *      0 magic      8 CRC-32C u32   12 version u16   14 header bytes u16   16 device UUID   32 generation u64
 *     40 session nonce u64          48 sequence u64  56 batch's first sequence u64          64 predecessor's CRC u32
 *     68 record count u16           70 record bytes u16   72 zero         112 records
 */
const headerBytes = 112;
export const recordsPerBlock = 83;
assert(headerBytes + recordsPerBlock * recordBytes === blockBytes, 'header and records fill a block exactly');

export type RecordBlockKind = 'journal' | 'checkpoint';
const magics: Readonly<Record<RecordBlockKind, Uint8Array>> = {
  journal: magic('dmRMjrnl'),
  checkpoint: magic('dmRMckpt'),
};

export interface RecordBlockHeader {
  readonly kind: RecordBlockKind;
  readonly uuid: Uint8Array;
  readonly generation: number;
  /** Eight bytes. */
  readonly sessionNonce: Uint8Array;
  /** Journal: of the block, never given twice. Checkpoint: index of the block, from 0. */
  readonly sequence: number;
  /** Journal: sequence of the first block of its batch. Checkpoint: the last sequence the checkpoint stands for. */
  readonly firstSequence: number;
  /** CRC of the block with the sequence before; 0 for the first of a session's journal and of a checkpoint. */
  readonly predecessorChecksum: number;
}

export interface RecordBlock extends RecordBlockHeader {
  readonly checksum: number;
  readonly recordCount: number;
}

/** Fills `block` completely and seals it; returns the CRC. At most `recordsPerBlock` records. */
export function encodeRecordBlock(
  block: Uint8Array,
  header: RecordBlockHeader,
  records: readonly MappingRecord[],
  units: RecordUnits,
): number {
  assert(records.length <= recordsPerBlock, 'the records fit a block');
  assert(
    header.uuid.byteLength === uuidBytes && header.sessionNonce.byteLength === 8,
    'UUID and nonce are whole',
  );
  const view = viewOf(block);
  block.fill(0);
  block.set(magics[header.kind]);
  view.setUint16(versionAt, formatVersion, true);
  view.setUint16(14, headerBytes, true);
  block.set(header.uuid, uuidAt);
  writeU64(view, 32, header.generation);
  block.set(header.sessionNonce, 40);
  writeU64(view, 48, header.sequence);
  writeU64(view, 56, header.firstSequence);
  view.setUint32(64, header.predecessorChecksum, true);
  view.setUint16(68, records.length, true);
  view.setUint16(70, recordBytes, true);
  for (let index = 0; index < records.length; index += 1) {
    encodeRecord(view, headerBytes + index * recordBytes, records[index]!, units);
  }
  return sealBlock(block);
}

/** The header, when the block is one of this kind and this device with a right checksum; else undefined. */
export function decodeRecordBlock(
  block: Uint8Array,
  kind: RecordBlockKind,
  uuid: Uint8Array,
): RecordBlock | undefined {
  if (!isSealed(block, magics[kind])) return undefined;
  if (!sameBytes(block.subarray(uuidAt, uuidAt + uuidBytes), uuid)) return undefined;
  const view = viewOf(block);
  const recordCount = view.getUint16(68, true);
  const known =
    view.getUint16(versionAt, true) === formatVersion &&
    view.getUint16(14, true) === headerBytes &&
    view.getUint16(70, true) === recordBytes &&
    recordCount <= recordsPerBlock;
  const [generation, sequence, firstSequence] = [readU64(view, 32), readU64(view, 48), readU64(view, 56)];
  if (!known || !areCounters(generation, sequence, firstSequence)) return undefined;
  return {
    kind,
    uuid,
    generation,
    sessionNonce: block.slice(40, 48),
    sequence,
    firstSequence,
    predecessorChecksum: view.getUint32(64, true),
    checksum: checksumOf(block),
    recordCount,
  };
}

/** The records of a block that `decodeRecordBlock` accepted. Throws `METADATA_CORRUPT` for an impossible one. */
export function decodeRecords(block: Uint8Array, header: RecordBlock, units: RecordUnits): MappingRecord[] {
  const view = viewOf(block);
  const records: MappingRecord[] = [];
  for (let index = 0; index < header.recordCount; index += 1) {
    const record = decodeRecord(view, headerBytes + index * recordBytes, units);
    if (typeof record === 'string') {
      throw new MetadataError(
        'METADATA_CORRUPT',
        `${header.kind} block ${header.sequence} of generation ${header.generation} names ${record}: ` +
          'the checksum is right, so a program wrote it so; do not use this spare, keep a copy of it',
      );
    }
    records.push(record);
  }
  return records;
}
