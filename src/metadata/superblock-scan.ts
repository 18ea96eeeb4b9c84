import { blockBytes } from './block-size.ts';
import { superblockPlaces, superblockSlots } from './layout.ts';
import type { MemberSuperblock } from './member-superblock.ts';
import type { SpareIo } from './spare-io.ts';
import { decodeSuperblock, type Superblock } from './superblock.ts';

export interface FoundSuperblock {
  readonly superblock: Superblock;
  readonly slot: 0 | 1;
}

/** What the superblock slots of a spare hold. */
export interface SuperblockScan {
  /** Valid ones, each where it says it belongs. */
  readonly found: readonly FoundSuperblock[];
  /** The newest one of a spare beside a home. */
  readonly member: MemberSuperblock | undefined;
  /** Places with a slot of our magic that is torn or damaged, by byte offset. */
  readonly damagedPlaces: ReadonlySet<number>;
  /** Places with a slot that cannot be read. */
  readonly unreadablePlaces: ReadonlySet<number>;
  /** Format version of a superblock that is newer than this program. */
  readonly newerVersion: number | undefined;
  /** Incompatible feature bits that this program does not know. */
  readonly unknownFeatures: number | undefined;
}

/**
 * Reads the superblocks at all places of M14, then at those that the found ones name: a spare that grew has its last place
 * where its end was. No place is trusted to be there.
 */
export async function scanSuperblocks(io: SpareIo): Promise<SuperblockScan> {
  const found: FoundSuperblock[] = [];
  const damagedPlaces = new Set<number>();
  const unreadablePlaces = new Set<number>();
  let member: MemberSuperblock | undefined;
  let newerVersion: number | undefined;
  let unknownFeatures: number | undefined;

  const { sizeBytes } = io.spare.geometry;
  const places = [...superblockPlaces(sizeBytes)];
  const known = new Set(places);
  const add = (offset: number): void => {
    const fits = offset + superblockSlots * blockBytes <= sizeBytes;
    if (!fits || known.has(offset) || known.size >= placesMax) return;
    known.add(offset);
    places.push(offset);
  };
  for (let index = 0; index < places.length; index += 1) {
    const place = places[index]!;
    await io.readEach(place, superblockSlots, (block, slot) => {
      if (block === undefined) {
        unreadablePlaces.add(place);
        return;
      }
      const finding = decodeSuperblock(block);
      if (finding.found === 'damaged') damagedPlaces.add(place);
      if (finding.found === 'newer') newerVersion = finding.version;
      if (finding.found === 'unknown-feature') unknownFeatures = finding.bits;
      if (finding.found === 'member') {
        const named = superblockPlaces(finding.member.sizeBytes);
        // Elsewhere it is a copy, as below.
        if (named.includes(place) && finding.member.revision > (member?.revision ?? 0))
          member = finding.member;
        for (const offset of named) add(offset);
      }
      if (finding.found !== 'superblock') return;
      const { replicas } = finding.superblock.shared.layout;
      // A superblock elsewhere is a copy, for one in a slot that holds an image of another spare.
      if (replicas[finding.superblock.replica]!.superblockOffset === place) {
        found.push({ superblock: finding.superblock, slot: slot === 0 ? 0 : 1 });
      }
      for (const { superblockOffset } of replicas) add(superblockOffset);
    });
  }
  return { found, member, damagedPlaces, unreadablePlaces, newerVersion, unknownFeatures };
}

/** Places looked at: three by size, and as many again that superblocks name. */
const placesMax = 8;
