import { sectorBytes } from '../block/block-device.ts';
import {
  areCounters,
  formatVersion,
  readU64,
  sealBlock,
  uuidAt,
  uuidBytes,
  versionAt,
  viewOf,
  writeU64,
} from './block-checksum.ts';
import { epochBytes, memberAlignmentBytes } from './member-table.ts';
import { superblockMagic } from './superblock-magic.ts';
import { bytesOfHex, hexText } from './uuid.ts';

/** Of the incompatible features; see `IncompatibleFeature.member`. */
const memberFeature = 4;
const closedFlag = 1;
const nameAt = 144;
export const memberNameBytesMax = 255;

/**
 * What stands on a spare beside the home (docs/on-disk-format.md, "Superblock of another spare"):
 *
 *      0 magic     8 CRC u32    12 version u16   14 name's offset u16   16 device UUID
 *     32 compatible u32   36 read-only-compatible u32   40 incompatible u32   44 flags u32
 *     48 revision u64     56 epoch   64 epoch before   72 its own UUID   88 base u64   96 size u64   104 written u64
 *    112 name's bytes u32   116 zero   144 the device's name
 */
export interface MemberSuperblock {
  /** The device's. */
  readonly uuid: Uint8Array;
  /** Its own, 32 hexadecimal digits. */
  readonly memberUuid: string;
  /** Higher in every one written later. */
  readonly revision: number;
  /** Of the session that it is, or was last, part of: 16 hexadecimal digits. */
  readonly epoch: string;
  /** The one before, until the home knows of this one; the same from then on. */
  readonly epochBefore: string;
  readonly closed: boolean;
  readonly baseBytes: number;
  readonly sizeBytes: number;
  readonly writtenUnixSeconds: number;
  readonly deviceName: string;
}

/** Fills `block` completely and seals it. */
export function encodeMemberSuperblock(block: Uint8Array, member: MemberSuperblock): void {
  const view = viewOf(block);
  block.fill(0);
  block.set(superblockMagic);
  view.setUint16(versionAt, formatVersion, true);
  view.setUint16(14, nameAt, true);
  block.set(member.uuid, uuidAt);
  view.setUint32(40, memberFeature, true);
  view.setUint32(44, member.closed ? closedFlag : 0, true);
  writeU64(view, 48, member.revision);
  block.set(bytesOfHex(member.epoch, epochBytes), 56);
  block.set(bytesOfHex(member.epochBefore, epochBytes), 64);
  block.set(bytesOfHex(member.memberUuid, uuidBytes), 72);
  writeU64(view, 88, member.baseBytes / sectorBytes);
  writeU64(view, 96, member.sizeBytes / sectorBytes);
  writeU64(view, 104, member.writtenUnixSeconds);
  const name = block.subarray(nameAt, nameAt + memberNameBytesMax);
  view.setUint32(112, new TextEncoder().encodeInto(member.deviceName, name).written, true);
  sealBlock(block);
}

/** What a sealed block with the member's feature says, or one clause about what is impossible in it. */
export function decodeMemberSuperblock(block: Uint8Array): MemberSuperblock | string {
  const view = viewOf(block);
  const nameBytes = view.getUint32(112, true);
  if (view.getUint16(14, true) !== nameAt || nameBytes > memberNameBytesMax) return 'a name that leaves it';
  const [revision, writtenUnixSeconds] = [readU64(view, 48), readU64(view, 104)];
  if (!areCounters(revision, writtenUnixSeconds)) return 'a counter that nobody counted to';
  const [baseBytes, sizeBytes] = [readU64(view, 88) * sectorBytes, readU64(view, 96) * sectorBytes];
  const isWhole = [baseBytes, sizeBytes].every(
    (value) => Number.isSafeInteger(value) && value > 0 && value % memberAlignmentBytes === 0,
  );
  if (!isWhole) return 'an impossible place in the row of spares';
  return {
    uuid: block.slice(uuidAt, uuidAt + uuidBytes),
    memberUuid: hexText(block.subarray(72, 72 + uuidBytes)),
    revision,
    epoch: hexText(block.subarray(56, 56 + epochBytes)),
    epochBefore: hexText(block.subarray(64, 64 + epochBytes)),
    closed: (view.getUint32(44, true) & closedFlag) !== 0,
    baseBytes,
    sizeBytes,
    writtenUnixSeconds,
    deviceName: new TextDecoder().decode(block.subarray(nameAt, nameAt + nameBytes)),
  };
}
