import { sameBytes } from './block-checksum.ts';
import { sameCheckpoint } from './checkpoint-body.ts';
import { readCheckpoint } from './checkpoint-reader.ts';
import { scanJournals } from './journal-replay.ts';
import type { SpareLayout } from './layout.ts';
import { type MappingRecord, noSlot } from './mapping-state.ts';
import type { RecordSink } from './opened-metadata.ts';
import type { SpareIo } from './spare-io.ts';
import { scanSuperblocks } from './superblock-scan.ts';

/** Findings that are told; of a badly damaged table the rest is only counted. */
export const findingsMax = 200;

const nothing: RecordSink = { begin: () => undefined, add: () => undefined };

/**
 * Reads every replica by itself: both superblock slots, the whole checkpoint, its journal against the others'. One clause a
 * finding; none for a spare on which every replica alone would do. Writes nothing. Rejects with the device's error.
 */
export async function checkReplicas(io: SpareIo): Promise<readonly string[]> {
  const findings: string[] = [];
  const scan = await scanSuperblocks(io);
  for (const place of scan.damagedPlaces) findings.push(`superblock at byte ${place}: damaged`);
  for (const place of scan.unreadablePlaces) findings.push(`superblock at byte ${place}: cannot be read`);
  const [first] = scan.found;
  if (first === undefined) return [...findings, 'no valid superblock'];
  const newest = scan.found.reduce((best, other) =>
    other.superblock.shared.revision > best.superblock.shared.revision ? other : best,
  ).superblock;
  const { layout, uuid, inSyncMask } = newest.shared;
  const journals = new Map<number, number>();
  for (const [index, place] of layout.replicas.entries()) {
    const name = `replica ${index} at byte ${place.superblockOffset}`;
    if ((inSyncMask & (1 << index)) === 0) {
      findings.push(`${name}: was taken out of the set after an error`);
      continue;
    }
    const own = scan.found
      .map(({ superblock }) => superblock)
      .filter(({ replica, shared }) => replica === index && sameBytes(shared.uuid, uuid))
      .sort((a, b) => b.shared.revision - a.shared.revision);
    const [current] = own;
    if (current === undefined) {
      findings.push(`${name}: has no valid superblock`);
      continue;
    }
    if (!sameCheckpoint(current.checkpoint, newest.checkpoint)) {
      findings.push(
        `${name}: is behind: generation ${current.checkpoint.generation}, newest ${newest.checkpoint.generation}`,
      );
    }
    const reading = await readCheckpoint(io, [current], nothing);
    if (reading === undefined)
      findings.push(`${name}: its checkpoint of generation ${current.checkpoint.generation} is not whole`);
    const blocks = await scanJournals(io, layout, uuid, [place]);
    const counting = blocks.filter(({ header }) => header.sequence > newest.checkpoint.lastSequence);
    journals.set(index, counting.length);
  }
  const most = Math.max(0, ...journals.values());
  for (const [index, count] of journals) {
    if (count < most) findings.push(`replica ${index}: has ${count} of ${most} journal blocks`);
  }
  return findings;
}

/** What is wrong with a table: slots that two granules claim or that are no slots, more lost ranges than there is room for. */
export function checkTable(records: readonly MappingRecord[], layout: SpareLayout): readonly string[] {
  const findings: string[] = [];
  const owners = new Map<number, number>();
  const reserved = layout.reservedRanges();
  const states = new Map<number, { slot: number; lost: boolean }>();
  for (const record of records) {
    if (record.type !== 'granules') continue;
    for (let at = 0; at < record.granuleCount; at += 1) {
      const slot = record.slot === noSlot ? noSlot : record.slot + at;
      states.set(record.granule + at, { slot, lost: (record.unreadable | record.gone) !== 0 });
    }
  }
  let lostWithoutSlot = 0;
  for (const [granule, { slot, lost }] of states) {
    if (slot === noSlot) {
      if (lost) lostWithoutSlot += 1;
      continue;
    }
    const other = owners.get(slot);
    owners.set(slot, granule);
    const offset = slot * layout.granuleBytes;
    if (other !== undefined) findings.push(`slot ${slot}: claimed by granules ${other} and ${granule}`);
    if (reserved.some((range) => offset >= range.offset && offset < range.offset + range.length)) {
      findings.push(`slot ${slot} of granule ${granule}: lies in the metadata`);
    }
  }
  if (lostWithoutSlot > layout.lostRangesMax) {
    findings.push(`${lostWithoutSlot} lost granules, room for ${layout.lostRangesMax}`);
  }
  return findings;
}
