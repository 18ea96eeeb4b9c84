import { assert } from '../block/assert.ts';
import { sectorBytes } from '../block/block-device.ts';
import {
  areCounters,
  formatVersion,
  hasMagic,
  isSealed,
  readU64,
  sealBlock,
  uuidAt,
  uuidBytes,
  versionAt,
  viewOf,
  writeU64,
} from './block-checksum.ts';
import { blockBytes } from './block-size.ts';
import { type ReplicaPlace, replicasMax, SpareLayout, type SpareLayoutFields } from './layout.ts';
import { isPowerOfTwo, layoutTrouble } from './layout-check.ts';
import { decodeMemberSuperblock, type MemberSuperblock } from './member-superblock.ts';
import type { MemberTable } from './member-table.ts';
import { decodeProperties, encodeProperties, type PropertyArea } from './property-codec.ts';
import { superblockMagic } from './superblock-magic.ts';

export { superblockMagic };

/** Room for one more replica than format 1 has. */
const placesRoom = 4;
const placesAt = 168;
const placeBytes = 40;
const freshSectorsAt = 328;
const reachedSequenceAt = 336;
const propertiesAt = 384;
assert(placesAt + placesRoom * placeBytes <= freshSectorsAt, 'the places end before the fresh sectors');
assert(replicasMax <= placesRoom, 'every replica has a place');
export const propertyBytesMax: number = blockBytes - propertiesAt;

/** Bits of `flags`. */
const cleanlyClosedFlag = 1;

/** Bits of `incompatible`. */
export const IncompatibleFeature = {
  /** Created fresh (R13): records of ended regions, and a superblock field that says how much of main was fresh. */
  fresh: 1,
  /** The device has spares beside this one: a property names them, and records name slots on them. */
  members: 2,
  /** This is no home but a spare beside one: it has no metadata but this. */
  member: 4,
} as const;

/** Features this program knows. An unknown incompatible bit refuses, an unknown read-only one refuses writing. */
export const knownFeatures: Features = {
  compatible: 0,
  readOnlyCompatible: 0,
  incompatible: IncompatibleFeature.fresh | IncompatibleFeature.members | IncompatibleFeature.member,
};

export interface Features {
  readonly compatible: number;
  readonly readOnlyCompatible: number;
  readonly incompatible: number;
}

/** Which checkpoint a replica has, and where its journal begins. */
export interface CheckpointFacts {
  readonly generation: number;
  /** Eight bytes: the session that wrote it. Its journals carry the same. */
  readonly sessionNonce: Uint8Array;
  /** Of the replica's two areas. */
  readonly area: 0 | 1;
  /** Journal of this generation; the next generation's blocks are in the other one. */
  readonly journal: 0 | 1;
  readonly blockCount: number;
  readonly recordCount: number;
  /** CRC-32C of the blocks' own checksums, chained: 0 for no blocks. */
  readonly checksum: number;
  /** Journal blocks up to this sequence are in the checkpoint, or must not count. */
  readonly lastSequence: number;
}

/** What the superblocks of all replicas say alike. */
export interface SharedFacts {
  readonly uuid: Uint8Array;
  readonly features: Features;
  readonly cleanlyClosed: boolean;
  /** Grows with every change of a superblock. The highest is the newest. */
  readonly revision: number;
  /** M2: grows when a replica leaves or joins. */
  readonly membershipEpoch: number;
  /** Bit n: replica n has every acknowledged record. */
  readonly inSyncMask: number;
  readonly layout: SpareLayout;
  readonly logicalBlockBytes: number;
  readonly createdUnixSeconds: number;
  readonly writtenUnixSeconds: number;
  readonly properties: PropertyArea;
  /** Journal blocks up to it were durable everywhere when this was written: without them records are missing. */
  readonly reachedSequence: number;
}

/**
 * One replica's superblock (docs/on-disk-format.md, "Superblock"):
 *
 *      0 magic     8 CRC u32    12 version u16   14 properties' offset u16   16 device UUID
 *     32 compatible u32   36 read-only-compatible u32   40 incompatible u32   44 flags u32
 *     48 revision u64     56 generation u64     64 session nonce u64   72 membership epoch u64
 *     80 in-sync mask u32 84 replica u16  86 replicas u16   88 area u16  90 journal u16  92 checkpoint blocks u32
 *     96 checkpoint records u32   100 checkpoint CRC u32    104 last sequence u64
 *    112 main sectors u64   120 spare sectors u64   128 granule sectors u32   132 logical block bytes u32
 *    136 created u64        144 written u64         152 lost ranges u32       156 area blocks u32
 *    160 journal blocks u32 164 properties' bytes u32      168 four places of 40 bytes     328 fresh sectors u64
 *    336 reached sequence u64      344 zero               384 properties
 */
export interface Superblock {
  readonly replica: number;
  readonly shared: SharedFacts;
  readonly checkpoint: CheckpointFacts;
}

/** Fills `block` completely and seals it. */
export function encodeSuperblock(block: Uint8Array, superblock: Superblock): void {
  const { shared, checkpoint } = superblock;
  const { layout } = shared;
  const view = viewOf(block);
  block.fill(0);
  block.set(superblockMagic);
  view.setUint16(versionAt, formatVersion, true);
  view.setUint16(14, propertiesAt, true);
  block.set(shared.uuid, uuidAt);
  view.setUint32(32, shared.features.compatible, true);
  view.setUint32(36, shared.features.readOnlyCompatible, true);
  view.setUint32(40, incompatibleOf(shared), true);
  view.setUint32(44, shared.cleanlyClosed ? cleanlyClosedFlag : 0, true);
  writeU64(view, 48, shared.revision);
  writeU64(view, 56, checkpoint.generation);
  block.set(checkpoint.sessionNonce, 64);
  writeU64(view, 72, shared.membershipEpoch);
  view.setUint32(80, shared.inSyncMask, true);
  view.setUint16(84, superblock.replica, true);
  view.setUint16(86, layout.replicas.length, true);
  view.setUint16(88, checkpoint.area, true);
  view.setUint16(90, checkpoint.journal, true);
  view.setUint32(92, checkpoint.blockCount, true);
  view.setUint32(96, checkpoint.recordCount, true);
  view.setUint32(100, checkpoint.checksum, true);
  writeU64(view, 104, checkpoint.lastSequence);
  writeU64(view, 112, layout.mainSizeBytes / sectorBytes);
  writeU64(view, 120, layout.spareSizeBytes / sectorBytes);
  view.setUint32(128, layout.granuleBytes / sectorBytes, true);
  view.setUint32(132, shared.logicalBlockBytes, true);
  writeU64(view, 136, shared.createdUnixSeconds);
  writeU64(view, 144, shared.writtenUnixSeconds);
  view.setUint32(152, layout.lostRangesMax, true);
  view.setUint32(156, layout.areaBlocks, true);
  view.setUint32(160, layout.journalBlocks, true);
  layout.replicas.forEach((place, index) => {
    encodePlace(view, placesAt + index * placeBytes, place);
  });
  writeU64(view, freshSectorsAt, layout.freshSizeBytes / sectorBytes);
  writeU64(view, reachedSequenceAt, shared.reachedSequence);
  const properties = encodeProperties(shared.properties, propertyBytesMax);
  view.setUint32(164, properties.byteLength, true);
  block.set(properties, propertiesAt);
  sealBlock(block);
}

/** What a block at a superblock's place turned out to be. */
export type SuperblockFinding =
  | { readonly found: 'superblock'; readonly superblock: Superblock }
  /** No magic of ours: nothing, or somebody else's data. */
  | { readonly found: 'nothing' }
  /** Our magic, but torn, damaged or impossible. */
  | { readonly found: 'damaged'; readonly detail: string }
  /** Of a spare beside the home. */
  | { readonly found: 'member'; readonly member: MemberSuperblock }
  | { readonly found: 'newer'; readonly version: number }
  | { readonly found: 'unknown-feature'; readonly bits: number };

export function decodeSuperblock(block: Uint8Array): SuperblockFinding {
  if (!hasMagic(block, superblockMagic)) return { found: 'nothing' };
  if (!isSealed(block, superblockMagic)) return { found: 'damaged', detail: 'its checksum is wrong' };
  const view = viewOf(block);
  const version = view.getUint16(versionAt, true);
  if (version > formatVersion) return { found: 'newer', version };
  if (version < formatVersion) return { found: 'damaged', detail: `its format version is ${version}` };
  const features = {
    compatible: view.getUint32(32, true),
    readOnlyCompatible: view.getUint32(36, true),
    incompatible: view.getUint32(40, true),
  };
  const unknownBits = (features.incompatible & ~knownFeatures.incompatible) >>> 0;
  if (unknownBits !== 0) return { found: 'unknown-feature', bits: unknownBits };
  if ((features.incompatible & IncompatibleFeature.member) !== 0) {
    const member = decodeMemberSuperblock(block);
    return typeof member === 'string'
      ? { found: 'damaged', detail: `it has ${member}` }
      : { found: 'member', member };
  }
  const propertiesEnd = propertiesAt + view.getUint32(164, true);
  if (view.getUint16(14, true) !== propertiesAt || propertiesEnd > blockBytes) {
    return { found: 'damaged', detail: 'its properties leave the block' };
  }
  const properties = decodeProperties(block.subarray(propertiesAt, propertiesEnd));
  if (typeof properties === 'string') return { found: 'damaged', detail: `it has ${properties}` };
  const own = decodeLayout(view);
  if (typeof own === 'string') return { found: 'damaged', detail: `it has ${own}` };
  const hasMembers = (features.incompatible & IncompatibleFeature.members) !== 0;
  const { members } = properties;
  if (hasMembers !== (members !== undefined)) {
    return { found: 'damaged', detail: 'it does not know whether it has other spares' };
  }
  if (members !== undefined && !isBehind(own, members)) {
    return { found: 'damaged', detail: 'it has spares inside itself' };
  }
  const layout = members === undefined ? own : own.withRow(members.rowBytes);
  const checkpoint = decodeCheckpointFacts(view, block, layout);
  if (typeof checkpoint === 'string') return { found: 'damaged', detail: `it has ${checkpoint}` };
  const replica = view.getUint16(84, true);
  if (replica >= layout.replicas.length)
    return { found: 'damaged', detail: `it calls itself replica ${replica}` };
  const trouble = sharedTrouble(view, layout);
  if (trouble !== undefined) return { found: 'damaged', detail: `it has ${trouble}` };
  const shared: SharedFacts = {
    uuid: block.slice(uuidAt, uuidAt + uuidBytes),
    features,
    cleanlyClosed: (view.getUint32(44, true) & cleanlyClosedFlag) !== 0,
    revision: readU64(view, 48),
    membershipEpoch: readU64(view, 72),
    inSyncMask: view.getUint32(80, true),
    layout,
    logicalBlockBytes: view.getUint32(132, true),
    createdUnixSeconds: readU64(view, 136),
    writtenUnixSeconds: readU64(view, 144),
    properties,
    reachedSequence: readU64(view, reachedSequenceAt),
  };
  return { found: 'superblock', superblock: { replica, shared, checkpoint } };
}

/** The bit goes with the list: who knows nothing of other spares must not serve a table that names slots on them. */
function incompatibleOf({ features, properties }: SharedFacts): number {
  const others = features.incompatible & ~IncompatibleFeature.members;
  return properties.members === undefined ? others : others | IncompatibleFeature.members;
}

function isBehind({ spareSizeBytes }: SpareLayout, { rowBytes, members }: MemberTable): boolean {
  return rowBytes >= spareSizeBytes && members.every(({ baseBytes }) => baseBytes >= spareSizeBytes);
}

/** What is impossible in the rest of it, one clause. */
function sharedTrouble(view: DataView, layout: SpareLayout): string | undefined {
  const counters = [48, 56, 72, 104, 136, 144, reachedSequenceAt].map((at) => readU64(view, at));
  if (!areCounters(...counters)) return 'a counter that nobody counted to';
  const logicalBlockBytes = view.getUint32(132, true);
  if (logicalBlockBytes < sectorBytes || !isPowerOfTwo(logicalBlockBytes))
    return 'an impossible logical block';
  if (logicalBlockBytes > layout.granuleBytes || layout.mainSizeBytes % logicalBlockBytes !== 0) {
    return 'a logical block that does not fit its main';
  }
  return view.getUint32(80, true) >>> layout.replicas.length === 0
    ? undefined
    : 'members that are no replicas';
}

function encodePlace(view: DataView, at: number, place: ReplicaPlace): void {
  writeU64(view, at, place.superblockOffset / sectorBytes);
  writeU64(view, at + 8, place.areaOffsets[0] / sectorBytes);
  writeU64(view, at + 16, place.areaOffsets[1] / sectorBytes);
  writeU64(view, at + 24, place.journalOffsets[0] / sectorBytes);
  writeU64(view, at + 32, place.journalOffsets[1] / sectorBytes);
}

function decodeLayout(view: DataView): SpareLayout | string {
  const count = view.getUint16(86, true);
  if (count < 1 || count > placesRoom) return `${count} replicas`;
  const isFresh = (view.getUint32(40, true) & IncompatibleFeature.fresh) !== 0;
  const freshSizeBytes = isFresh ? readU64(view, freshSectorsAt) * sectorBytes : 0;
  if (isFresh && freshSizeBytes === 0) return 'an impossible fresh size';
  const fields: SpareLayoutFields = {
    spareSizeBytes: readU64(view, 120) * sectorBytes,
    mainSizeBytes: readU64(view, 112) * sectorBytes,
    granuleBytes: view.getUint32(128, true) * sectorBytes,
    replicas: Array.from({ length: count }, (_, index) => decodePlace(view, placesAt + index * placeBytes)),
    areaBlocks: view.getUint32(156, true),
    journalBlocks: view.getUint32(160, true),
    lostRangesMax: view.getUint32(152, true),
    freshSizeBytes,
  };
  return layoutTrouble(fields) ?? new SpareLayout(fields);
}

function decodePlace(view: DataView, at: number): ReplicaPlace {
  const offset = (index: number): number => readU64(view, at + index * 8) * sectorBytes;
  return {
    superblockOffset: offset(0),
    areaOffsets: [offset(1), offset(2)],
    journalOffsets: [offset(3), offset(4)],
  };
}

function decodeCheckpointFacts(
  view: DataView,
  block: Uint8Array,
  layout: SpareLayout,
): CheckpointFacts | string {
  const area = view.getUint16(88, true);
  const journal = view.getUint16(90, true);
  const blockCount = view.getUint32(92, true);
  if ((area !== 0 && area !== 1) || (journal !== 0 && journal !== 1)) return 'an area that does not exist';
  if (blockCount > layout.areaBlocks) return 'a checkpoint longer than its area';
  return {
    generation: readU64(view, 56),
    sessionNonce: block.slice(64, 72),
    area,
    journal,
    blockCount,
    recordCount: view.getUint32(96, true),
    checksum: view.getUint32(100, true),
    lastSequence: readU64(view, 104),
  };
}
