import { sectorBytes } from '../block/block-device.ts';
import type { Random } from '../block/clock.ts';
import { readU64, uuidBytes, writeU64 } from './block-checksum.ts';
import { blockBytes } from './block-size.ts';
import { type SpareRange, superblockPlaces, superblockSlots } from './layout.ts';
import { decodePairs, encodePairs } from './pair-codec.ts';
import { bytesOfHex, hexText } from './uuid.ts';

/** Spares beside the home: their entries share one block with everything else that a superblock says. */
export const membersMax = 3;
/** Where a spare begins in the row of slots: far coarser than any granule. */
export const memberAlignmentBytes: number = 1024 * 1024;
export const epochBytes = 8;

/** One that nobody else has. */
export function newEpoch(random: Random): string {
  const epoch = new Uint8Array(epochBytes);
  random.fill(epoch);
  return hexText(epoch);
}

/** What the home knows of one spare beside it. */
export interface MemberEntry {
  /** Its own: 32 hexadecimal digits. */
  readonly uuid: string;
  /** Its first byte in the row of slots, a multiple of `memberAlignmentBytes`. */
  readonly baseBytes: number;
  /** Bytes of it that are used, a multiple of `memberAlignmentBytes`. */
  readonly sizeBytes: number;
  /** Of the last session that it was part of, 16 hexadecimal digits: a member that says another one is older, or a copy (M12). */
  readonly epoch: string;
  /** That session ended with close, and the member says so. */
  readonly closed: boolean;
  /** Its slots are on their way to the others; no new ones are given out. */
  readonly leaving: boolean;
  /** As pairs of the spare's identity. */
  readonly identity: Readonly<Record<string, string>>;
}

/** The spares beside the home, and the end of the row. */
export interface MemberTable {
  /** Bytes: no record names anything behind. Never less within a session, also when a spare has left. */
  readonly rowBytes: number;
  readonly members: readonly MemberEntry[];
}

/**
 *     0 row's end, sectors u64   8 members u16   10 zero
 *     then each: 0 UUID   16 base, sectors u64   24 size, sectors u64   32 epoch   40 flags u16   42 pairs' bytes u16   44 pairs
 */
const headBytes = 12;
const entryBytes = 44;
const closedFlag = 1;
const leavingFlag = 2;

export function encodeMemberTable({ rowBytes, members }: MemberTable): Uint8Array {
  const pairs = members.map(({ identity }) => encodePairs(identity));
  const bytes = new Uint8Array(
    pairs.reduce((sum, { byteLength }) => sum + entryBytes + byteLength, headBytes),
  );
  const view = new DataView(bytes.buffer);
  writeU64(view, 0, rowBytes / sectorBytes);
  view.setUint16(8, members.length, true);
  let at = headBytes;
  for (const [index, member] of members.entries()) {
    bytes.set(bytesOfHex(member.uuid, uuidBytes), at);
    writeU64(view, at + 16, member.baseBytes / sectorBytes);
    writeU64(view, at + 24, member.sizeBytes / sectorBytes);
    bytes.set(bytesOfHex(member.epoch, epochBytes), at + 32);
    view.setUint16(at + 40, (member.closed ? closedFlag : 0) | (member.leaving ? leavingFlag : 0), true);
    view.setUint16(at + 42, pairs[index]!.byteLength, true);
    bytes.set(pairs[index]!, at + entryBytes);
    at += entryBytes + pairs[index]!.byteLength;
  }
  return bytes;
}

/** What the bytes say, or one clause about what is impossible in them. */
export function decodeMemberTable(bytes: Uint8Array): MemberTable | string {
  if (bytes.byteLength < headBytes) return 'a list of spares that is cut';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rowBytes = readU64(view, 0) * sectorBytes;
  const count = view.getUint16(8, true);
  if (count > membersMax) return `${count} spares beside the home`;
  const members: MemberEntry[] = [];
  let at = headBytes;
  for (let index = 0; index < count; index += 1) {
    if (at + entryBytes > bytes.byteLength) return 'a list of spares that is cut';
    const end = at + entryBytes + view.getUint16(at + 42, true);
    const identity = end > bytes.byteLength ? undefined : decodePairs(bytes.slice(at + entryBytes, end));
    if (identity === undefined) return 'a spare that leaves its list';
    const flags = view.getUint16(at + 40, true);
    members.push({
      uuid: hexText(bytes.subarray(at, at + uuidBytes)),
      baseBytes: readU64(view, at + 16) * sectorBytes,
      sizeBytes: readU64(view, at + 24) * sectorBytes,
      epoch: hexText(bytes.subarray(at + 32, at + 32 + epochBytes)),
      closed: (flags & closedFlag) !== 0,
      leaving: (flags & leavingFlag) !== 0,
      identity,
    });
    at = end;
  }
  return trouble(rowBytes, members) ?? { rowBytes, members };
}

/** Slots of two spares that are one would be two granules' bytes in one place. */
function trouble(rowBytes: number, members: readonly MemberEntry[]): string | undefined {
  if (!Number.isSafeInteger(rowBytes)) return 'an impossible row of spares';
  let end = 0;
  for (const { baseBytes, sizeBytes } of members.toSorted((a, b) => a.baseBytes - b.baseBytes)) {
    const isWhole = [baseBytes, sizeBytes].every((value) => value % memberAlignmentBytes === 0);
    if (!isWhole || sizeBytes === 0 || baseBytes < end) return 'spares in each other';
    end = baseBytes + sizeBytes;
  }
  return end > rowBytes ? 'a spare behind the end of their row' : undefined;
}

/** What is never a slot of a member: bytes of its own, ascending. As on a home without a body, and the same front and end. */
export function memberReservedRanges(sizeBytes: number): readonly SpareRange[] {
  const pairBytes = superblockSlots * blockBytes;
  const places = superblockPlaces(sizeBytes);
  const last = places.at(-1) ?? 0;
  return places.map((offset) => {
    if (offset === last) return { offset, length: sizeBytes - offset };
    const isFirst = offset === places[0];
    return isFirst ? { offset: 0, length: offset + pairBytes } : { offset, length: pairBytes };
  });
}
