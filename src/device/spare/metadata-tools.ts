import { blockBytes } from '../../metadata/block-size.ts';
import { checkReplicas, checkTable } from '../../metadata/check-metadata.ts';
import { type MappingRecord, type StateCursor, startCursor } from '../../metadata/mapping-state.ts';
import { encodeDump } from '../../metadata/metadata-dump.ts';
import { MetadataError, MetadataStore, type OpenedMetadata } from '../../metadata/metadata-store.ts';
import { SpareIo } from '../../metadata/spare-io.ts';
import { encodeSuperblock, type Superblock } from '../../metadata/superblock.ts';
import { scanSuperblocks } from '../../metadata/superblock-scan.ts';
import { uuidText } from '../../metadata/uuid.ts';
import { RecordedState } from '../host/recorded-state.ts';
import type { Disks, OpenedDisk } from '../stack/disks.ts';
import { closeSession, type OpenSpareOptions, withOpenDisk, withOpenSpare } from '../stack/open-spare.ts';
import { checkSpare } from './spare-identity.ts';

/** To look: nobody is asked (M11). */
function openIn(disks: Disks, spare: OpenedDisk, force: boolean): Promise<OpenedMetadata> {
  const { arena, clock, random } = disks.plane;
  return MetadataStore.open({ spare: spare.device, arena, clock, random }, { force });
}

/** Facts, replicas and records of a spare that nobody serves, as the text of `metadata-dump.ts`. Throws `SetupError`. */
export function dumpMetadata(path: string, force: boolean): Promise<string> {
  return withOpenDisk(path, 'read-only', async (disks, spare) => {
    const { facts, records, report } = await openIn(disks, spare, force);
    const superblock = await newestSuperblock(disks, spare, facts.uuid);
    const block = new Uint8Array(blockBytes);
    encodeSuperblock(block, superblock);
    const remarks = [
      `device ${facts.properties.name}, ${facts.uuid}, main of ${facts.mainSizeBytes} bytes`,
      `spare ${spare.path}, generation ${facts.generation}`,
      ...report.replicas.map(
        ({ index, offset, condition }) => `replica ${index} at byte ${offset}: ${condition}`,
      ),
    ];
    return encodeDump(block, facts.lastSequence, recordsOf(new RecordedState(records)), remarks);
  });
}

async function newestSuperblock(disks: Disks, spare: OpenedDisk, uuid: string): Promise<Superblock> {
  const io = new SpareIo(spare.device, disks.plane.arena, disks.plane.clock);
  const { found } = await scanSuperblocks(io);
  return found
    .map(({ superblock }) => superblock)
    .filter(({ shared }) => uuidText(shared.uuid) === uuid)
    .reduce((best, other) => (other.shared.revision > best.shared.revision ? other : best));
}

/** As few records as say it: the state, not its history. */
function recordsOf(state: RecordedState): readonly MappingRecord[] {
  const records: MappingRecord[] = [];
  let cursor: StateCursor | undefined = startCursor;
  while (cursor !== undefined) {
    const slice: { records: MappingRecord[]; cursor: StateCursor | undefined } = state.recordsAfter(
      cursor,
      state.recordCountMax() + 1,
    );
    for (const record of slice.records) records.push(record);
    cursor = slice.cursor;
  }
  return records;
}

/** What is wrong with the metadata of a spare that nobody serves, one clause a finding; none for a good one. Throws `SetupError`. */
export function checkMetadata(path: string): Promise<readonly string[]> {
  return withOpenDisk(path, 'read-only', async (disks, spare) => {
    const io = new SpareIo(spare.device, disks.plane.arena, disks.plane.clock);
    const { found, damagedPlaces } = await scanSuperblocks(io);
    // What was never ours has no findings: it is the wrong disk.
    if (found.length === 0 && damagedPlaces.size === 0) await openIn(disks, spare, false);
    const findings: string[] = [];
    try {
      const { records, layout } = await openIn(disks, spare, false);
      findings.push(...checkTable(records, layout));
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      findings.push(`cannot be opened: ${error.message}`);
    }
    try {
      findings.push(...(await checkReplicas(io)));
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      findings.push(error.message);
    }
    return findings;
  });
}

export interface RepairReport {
  readonly name: string;
  readonly uuid: string;
  /** Of all replicas; before the repair this many were valid. */
  readonly replicasTotal: number;
  readonly replicasValid: number;
  readonly replicasValidBefore: number;
  readonly notes: readonly string[];
}

/** Writes every replica anew from what the good ones hold, without serving. Throws `SetupError`. */
export function repairMetadata(options: Omit<OpenSpareOptions, 'force'>): Promise<RepairReport> {
  return withOpenSpare({ ...options, force: false }, async (open) => {
    const { spare, metadata, hostState } = open;
    const { facts, store, records, report } = metadata;
    const notes = await checkSpare({ spare, facts, hostState, force: false, tool: true });
    await store.settle(new RecordedState(records));
    const more = await closeSession(open);
    const { replicasInSync, replicasTotal } = store.status();
    return {
      name: facts.properties.name,
      uuid: facts.uuid,
      replicasTotal,
      replicasValid: replicasInSync,
      replicasValidBefore: report.replicasValid,
      notes: [...notes, ...more],
    };
  });
}
