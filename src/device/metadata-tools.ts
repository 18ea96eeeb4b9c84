import { readFile, stat } from 'node:fs/promises';
import { asOpenError } from '../io/open-error.ts';
import { blockBytes } from '../metadata/block-size.ts';
import { checkReplicas, checkTable } from '../metadata/check-metadata.ts';
import { type MappingRecord, type StateCursor, startCursor } from '../metadata/mapping-state.ts';
import { decodeDump, dumpBytesMax, encodeDump, type MetadataDump } from '../metadata/metadata-dump.ts';
import { MetadataError, MetadataStore, type OpenedMetadata } from '../metadata/metadata-store.ts';
import { restoreMetadata } from '../metadata/restore-metadata.ts';
import { SpareIo } from '../metadata/spare-io.ts';
import { encodeSuperblock, type Superblock } from '../metadata/superblock.ts';
import { scanSuperblocks } from '../metadata/superblock-scan.ts';
import { uuidText } from '../metadata/uuid.ts';
import type { Disks, OpenedDisk } from './disks.ts';
import { HostState } from './host-state.ts';
import { stampKey } from './main-stamp.ts';
import { closeSession, withOpenDisk, withOpenSpare } from './open-spare.ts';
import { RecordedState } from './recorded-state.ts';
import { SetupError } from './setup-error.ts';
import { checkSpare } from './spare-identity.ts';

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
export function repairMetadata(path: string, stateDirectory: string | undefined): Promise<RepairReport> {
  return withOpenSpare({ path, force: false, stateDirectory }, async (open) => {
    const { spare, metadata, hostState } = open;
    const { facts, store, records, report } = metadata;
    const notes = await checkSpare({ spare, facts, hostState, force: false });
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

export interface RestoreOptions {
  readonly dumpPath: string;
  readonly path: string;
  /** Also a dump that is older than what is on the spare. */
  readonly force: boolean;
  readonly stateDirectory: string | undefined;
}

export interface RestoreReport {
  readonly name: string;
  readonly uuid: string;
  readonly records: number;
  readonly sequence: number;
  readonly notes: readonly string[];
}

/** Writes a dump onto the spare it is of, as a fresh generation. Nothing is written before all is checked. Throws `SetupError`. */
export async function restoreDump(options: RestoreOptions): Promise<RestoreReport> {
  const dump = withoutStamp(await readDump(options.dumpPath));
  const state = new RecordedState(dump.records);
  return withOpenDisk(options.path, 'own', async (disks, spare) => {
    const uuid = uuidText(dump.superblock.shared.uuid);
    const opened = await openStrictly(disks, spare);
    if (opened !== undefined) await restoreOver(opened, dump, state, options);
    else {
      const { arena, clock, random } = disks.plane;
      await restoreMetadata({ spare: spare.device, arena, clock, random }, dump, state, options.force);
    }
    const now = await openIn(disks, spare, false);
    const notes = await noteSession(options, now, disks);
    return {
      name: now.facts.properties.name,
      uuid,
      records: dump.records.length,
      sequence: now.facts.lastSequence,
      notes,
    };
  });
}

/** M15: what main held when the dump was made says nothing of what it holds now. */
function withoutStamp(dump: MetadataDump): MetadataDump {
  const { superblock } = dump;
  const { properties, unknown } = superblock.shared.properties;
  const mainIdentity = Object.fromEntries(
    Object.entries(properties.mainIdentity).filter(([key]) => key !== stampKey),
  );
  const area = { properties: { ...properties, mainIdentity }, unknown };
  return { ...dump, superblock: { ...superblock, shared: { ...superblock.shared, properties: area } } };
}

/** Undefined for metadata that cannot be opened as it is. */
async function openStrictly(disks: Disks, spare: OpenedDisk): Promise<OpenedMetadata | undefined> {
  try {
    return await openIn(disks, spare, false);
  } catch (error) {
    if (error instanceof MetadataError && error.code !== 'METADATA_UNREADABLE') return undefined;
    throw error;
  }
}

async function restoreOver(
  { facts, store }: OpenedMetadata,
  dump: MetadataDump,
  state: RecordedState,
  options: RestoreOptions,
): Promise<void> {
  const uuid = uuidText(dump.superblock.shared.uuid);
  if (facts.uuid !== uuid) {
    throw new SetupError(
      'refused',
      `${options.path}: is the spare of device ${facts.uuid}, the dump is of ${uuid}`,
    );
  }
  if (facts.lastSequence > dump.sequence && !options.force) {
    throw new SetupError(
      'refused',
      `${options.path}: has records up to sequence ${facts.lastSequence}, the dump only up to ${dump.sequence}: what came ` +
        'in between would be lost; --force restores it',
    );
  }
  await store.settle(state, { properties: dump.superblock.shared.properties.properties });
  await store.close();
  if (!store.status().closedCleanly) {
    throw new SetupError('failed', `${options.path}: written, but its superblocks could not be closed`);
  }
}

async function noteSession(
  { stateDirectory }: RestoreOptions,
  { facts, store }: OpenedMetadata,
  disks: Disks,
): Promise<readonly string[]> {
  if (stateDirectory === undefined) return [];
  const { acknowledgedSequence, sessionNonce, generation, revision } = store.status();
  try {
    await new HostState(stateDirectory).writeSession({
      uuid: facts.uuid,
      sequence: acknowledgedSequence,
      sessionNonce,
      generation,
      closedRevision: revision,
      writtenUnixSeconds: Math.floor(disks.plane.clock.unixMs() / 1000),
    });
    return [];
  } catch (error) {
    return [`this host could not note it: ${error instanceof Error ? error.message : String(error)}`];
  }
}

async function readDump(path: string): Promise<MetadataDump> {
  let text: string;
  try {
    if ((await stat(path)).size > dumpBytesMax) {
      throw new SetupError('usage', `${path}: larger than ${dumpBytesMax} bytes, no dump is`);
    }
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof SetupError) throw error;
    const refusal = asOpenError(path, error, 'reading it');
    const reason = refusal.code === 'OPEN_NOT_FOUND' ? 'not-found' : 'failed';
    throw new SetupError(reason, refusal.message, { cause: error });
  }
  const dump = decodeDump(text);
  if (typeof dump === 'string') throw new SetupError('usage', `${path}: ${dump}`);
  return dump;
}
