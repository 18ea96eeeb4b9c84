import { asDeviceError } from '../block/device-error.ts';
import { sameBytes } from './block-checksum.ts';
import { sameCheckpoint } from './checkpoint-body.ts';
import { readCheckpoint } from './checkpoint-reader.ts';
import { type HostIdentity, type Judgement, judgeSpare, readMark } from './in-use.ts';
import { type JournalBlock, replay, scanJournals } from './journal-replay.ts';
import type { SpareLayout } from './layout.ts';
import { MetadataError } from './metadata-error.ts';
import type { DeviceFacts, OpenReport, RecordSink } from './opened-metadata.ts';
import { decodeRecords } from './record-block.ts';
import { replicaConditions } from './replica-conditions.ts';
import type { Replica } from './replica-set.ts';
import type { SpareIo } from './spare-io.ts';
import type { SharedFacts } from './superblock.ts';
import { type FoundSuperblock, type SuperblockScan, scanSuperblocks } from './superblock-scan.ts';
import { hexText, uuidText } from './uuid.ts';

/** What a session begins with. */
export interface OpenedState {
  readonly facts: DeviceFacts;
  readonly layout: SpareLayout;
  readonly shared: SharedFacts;
  /** In-sync ones first are those that `settle` writes first. */
  readonly replicas: readonly Replica[];
  /** The first generation that no block of the spare carries, nor would be read with one. */
  readonly nextGeneration: number;
  /** The highest sequence number of any valid block: later ones follow it. */
  readonly lastSequence: number;
  /** Why this process may have the spare; undefined when nobody asked. */
  readonly judgement: Judgement | undefined;
  readonly report: OpenReport;
}

/** A forced open continues another history than the newest: its superblocks must beat all that may turn up again. */
const forcedRevisionStep: number = 2 ** 20;

export interface OpenMetadataOptions {
  readonly force: boolean;
  readonly host: HostIdentity | undefined;
  readonly takeover: boolean;
}

/** Reads everything, writes nothing. Throws a `MetadataError` for everything that stands in the way. */
export async function openMetadata(
  io: SpareIo,
  sink: RecordSink,
  options: OpenMetadataOptions,
): Promise<OpenedState> {
  const { force, host, takeover } = options;
  try {
    const judgement = host === undefined ? undefined : await judge(io, force, host, takeover);
    // Whoever used the spare until now may have written until now: only what is read from here on counts.
    const scan = await scanSuperblocks(io);
    refuseUnusable(io, scan);
    const newest = newestOf(io, scan, force);
    const sameDevice = scan.found.filter(({ superblock }) =>
      sameBytes(superblock.shared.uuid, newest.superblock.shared.uuid),
    );
    const opened = await openDevice(io, sink, force, scan, newest, sameDevice);
    const mark = judgement === undefined ? await readMark(io, opened.shared) : judgement.mark;
    const inUse = mark?.released === false ? mark : undefined;
    return { ...opened, judgement, report: { ...opened.report, inUse, takenOver: judgement?.takenOver } };
  } catch (error) {
    if (error instanceof MetadataError) throw error;
    const failure = asDeviceError(error);
    throw new MetadataError(
      'METADATA_UNREADABLE',
      `${io.spare.name}: the spare does not answer (${failure.message}): check its cable and power, then try again`,
      failure,
    );
  }
}

async function judge(io: SpareIo, force: boolean, host: HostIdentity, takeover: boolean): Promise<Judgement> {
  const scan = await scanSuperblocks(io);
  refuseUnusable(io, scan);
  return await judgeSpare(io, newestOf(io, scan, force).superblock.shared, host, takeover);
}

async function openDevice(
  io: SpareIo,
  sink: RecordSink,
  force: boolean,
  scan: SuperblockScan,
  newest: FoundSuperblock,
  found: readonly FoundSuperblock[],
): Promise<OpenedState> {
  const { shared } = newest.superblock;
  const isMember = (replica: number): boolean => force || (shared.inSyncMask & (1 << replica)) !== 0;
  const candidates = candidatesOf(found.filter(({ superblock }) => isMember(superblock.replica)));
  const places = shared.layout.replicas.filter((_, index) => isMember(index));
  const blocks = await scanJournals(io, shared.layout, shared.uuid, places);
  // What replicas outside the set hold counts for nothing, but a new generation must be above it: they may be taken in.
  const outside = shared.layout.replicas.filter((_, index) => !isMember(index));
  const outsideBlocks = await scanJournals(io, shared.layout, shared.uuid, outside);
  const reached = Math.max(
    0,
    ...candidates.map(({ superblock }) =>
      Math.max(superblock.checkpoint.lastSequence, superblock.shared.reachedSequence),
    ),
  );

  let refusal: MetadataError | undefined;
  for (const strict of force ? [true, false] : [true]) {
    for (const chosen of candidates) {
      const members = (mask: number): boolean => (mask & (1 << chosen.superblock.replica)) !== 0;
      if (strict && !members(shared.inSyncMask)) continue;
      try {
        const journal = replay(blocks, chosen.superblock.checkpoint, reached, !strict);
        const holders = candidates
          .map(({ superblock }) => superblock)
          .filter(({ checkpoint }) => sameCheckpoint(checkpoint, chosen.superblock.checkpoint));
        holders.sort((a, b) => Number(b === chosen.superblock) - Number(a === chosen.superblock));
        const reading = await readCheckpoint(io, holders, sink);
        if (reading === undefined) continue;
        // The newest superblock may be of a session that had fewer spares and did not come to its checkpoint.
        const row = Math.max(shared.layout.rowBytes, chosen.superblock.shared.layout.rowBytes);
        const journalRecords = giveJournal(journal, shared.layout.withRow(row), sink);
        const report: OpenReport = {
          ...replicaConditions(scan, found, chosen, shared),
          checkpointRecords: reading.recordCount,
          journalRecords,
          blocksRepaired: reading.blocksRepaired + missingCopies(journal, places.length),
          inUse: undefined,
          takenOver: undefined,
          forced: !strict,
        };
        return sessionStart(shared, chosen, found, [...blocks, ...outsideBlocks], journal, report);
      } catch (error) {
        if (!(error instanceof MetadataError)) throw error;
        refusal ??= error;
      }
    }
  }
  throw refusal ?? noReplica(io, scan, shared);
}

function refuseUnusable(io: SpareIo, scan: SuperblockScan): void {
  const { name } = io.spare;
  if (scan.newerVersion !== undefined) {
    throw new MetadataError(
      'METADATA_NEWER_FORMAT',
      `${name}: written in format ${scan.newerVersion}, this program knows format 1: use a newer dm-remap`,
    );
  }
  if (scan.unknownFeatures !== undefined) {
    throw new MetadataError(
      'METADATA_UNKNOWN_FEATURE',
      `${name}: uses incompatible features 0x${scan.unknownFeatures.toString(16)} that this program does not know: use a newer dm-remap`,
    );
  }
  if (scan.found.length > 0) return;
  if (scan.member !== undefined) {
    throw new MetadataError(
      'METADATA_MEMBER',
      `${name}: is one of several spares of ${scan.member.deviceName}, and not the one with the table: name its home ("dm-remap scan" shows it)`,
    );
  }
  if (scan.damagedPlaces.size > 0) {
    throw new MetadataError(
      'METADATA_NO_REPLICA',
      `${name}: a dm-remap spare whose superblocks are all damaged, ${scan.damagedPlaces.size} of them found: ` +
        'a creation that was cut short, or the wrong part of a disk',
    );
  }
  if (scan.unreadablePlaces.size > 0) {
    throw new MetadataError(
      'METADATA_NO_REPLICA',
      `${name}: no superblock found, and ${scan.unreadablePlaces.size} of their places cannot be read: expected one readable place`,
    );
  }
  throw new MetadataError(
    'METADATA_NOT_A_SPARE',
    `${name}: not a dm-remap spare: no superblock at 64 KiB, 64 MiB or in the last MiB; is it the right device?`,
  );
}

/** The superblock that was written last. Refuses spares of two lives and spares that became smaller. */
function newestOf(io: SpareIo, scan: SuperblockScan, force: boolean): FoundSuperblock {
  const newest = scan.found.reduce((best, other) =>
    other.superblock.shared.revision > best.superblock.shared.revision ? other : best,
  );
  const { shared } = newest.superblock;
  const stranger = scan.found.find(({ superblock }) => !sameBytes(superblock.shared.uuid, shared.uuid));
  if (stranger !== undefined && !force) {
    throw new MetadataError(
      'METADATA_MIXED',
      `${io.spare.name}: superblocks of two devices, ${uuidText(shared.uuid)} and ${uuidText(stranger.superblock.shared.uuid)}: ` +
        'something wrote over a part of this spare; --force takes the one written last',
    );
  }
  const { sizeBytes } = io.spare.geometry;
  if (shared.layout.spareSizeBytes > sizeBytes) {
    throw new MetadataError(
      'METADATA_SPARE_SHRUNK',
      `${io.spare.name}: the spare has ${sizeBytes} bytes, expected at least ${shared.layout.spareSizeBytes}: give it back its size`,
    );
  }
  return newest;
}

/** Newest generation first, then newest revision. A replica that its own superblock does not count is no candidate. */
function candidatesOf(found: readonly FoundSuperblock[]): readonly FoundSuperblock[] {
  return found
    .filter(({ superblock }) => (superblock.shared.inSyncMask & (1 << superblock.replica)) !== 0)
    .sort(
      ({ superblock: a }, { superblock: b }) =>
        b.checkpoint.generation - a.checkpoint.generation || b.shared.revision - a.shared.revision,
    );
}

function giveJournal(journal: readonly JournalBlock[], layout: SpareLayout, sink: RecordSink): number {
  let count = 0;
  for (const { header, bytes } of journal) {
    sink.add(decodeRecords(bytes, header, layout));
    count += header.recordCount;
  }
  return count;
}

function missingCopies(journal: readonly JournalBlock[], members: number): number {
  return journal.filter(({ copies }) => copies < members).length;
}

function sessionStart(
  shared: SharedFacts,
  chosen: FoundSuperblock,
  found: readonly FoundSuperblock[],
  blocks: readonly JournalBlock[],
  journal: readonly JournalBlock[],
  report: OpenReport,
): OpenedState {
  const { layout } = shared;
  const { checkpoint } = chosen.superblock;
  const generations = [
    ...blocks.map(({ header }) => header.generation),
    ...found.map(({ superblock }) => superblock.checkpoint.generation + 1),
  ];
  const sequences = [
    ...blocks.map(({ header }) => header.sequence),
    ...found.map(({ superblock }) => superblock.checkpoint.lastSequence),
  ];
  const revision = Math.max(...found.map(({ superblock }) => superblock.shared.revision));
  const membershipEpoch = Math.max(...found.map(({ superblock }) => superblock.shared.membershipEpoch));
  return {
    facts: {
      uuid: uuidText(shared.uuid),
      mainSizeBytes: layout.mainSizeBytes,
      logicalBlockBytes: shared.logicalBlockBytes,
      granuleBytes: layout.granuleBytes,
      createdUnixSeconds: shared.createdUnixSeconds,
      fresh: layout.freshSizeBytes > 0,
      freshSizeBytes: layout.freshSizeBytes,
      properties: shared.properties.properties,
      members: shared.properties.members?.members ?? [],
      cleanlyClosed: shared.cleanlyClosed,
      lastSequence: journal[journal.length - 1]?.header.sequence ?? checkpoint.lastSequence,
      generation: checkpoint.generation,
      sessionNonce: hexText(checkpoint.sessionNonce),
      revision,
      membershipEpoch,
    },
    layout,
    shared: { ...shared, membershipEpoch, revision: revision + (report.forced ? forcedRevisionStep : 0) },
    replicas: layout.replicas.map((_, index) => replicaStart(index, shared, chosen, found)),
    nextGeneration: Math.max(...generations) + 1,
    lastSequence: Math.max(...sequences),
    judgement: undefined,
    report,
  };
}

/** What this replica has that must not be written over until it has something newer. */
function replicaStart(
  index: number,
  shared: SharedFacts,
  chosen: FoundSuperblock,
  found: readonly FoundSuperblock[],
): Replica {
  const own = candidatesOf(found.filter(({ superblock }) => superblock.replica === index));
  const base =
    own.find(({ superblock }) => sameCheckpoint(superblock.checkpoint, chosen.superblock.checkpoint)) ??
    own[0];
  const isMember = (shared.inSyncMask & (1 << index)) !== 0;
  return {
    index,
    place: shared.layout.replicas[index]!,
    state: isMember && base !== undefined ? 'in-sync' : 'out',
    slot: base?.slot ?? 1,
    slotInDoubt: false,
    checkpoint: base?.superblock.checkpoint ?? { ...chosen.superblock.checkpoint, area: 1 },
    late: false,
    fenced: false,
  };
}

function noReplica(io: SpareIo, scan: SuperblockScan, shared: SharedFacts): MetadataError {
  const members = shared.layout.replicas.filter(
    (_, index) => (shared.inSyncMask & (1 << index)) !== 0,
  ).length;
  const bad = scan.damagedPlaces.size + scan.unreadablePlaces.size;
  return new MetadataError(
    'METADATA_NO_REPLICA',
    `${io.spare.name}: none of ${members} in-sync replicas has a whole checkpoint (${bad} places of superblocks damaged): ` +
      'keep a copy of the spare, then open with --force to use an older or partial one',
  );
}
