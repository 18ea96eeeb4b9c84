import { decodeDump, dumpBytesMax, type MetadataDump } from '../../metadata/metadata-dump.ts';
import { MetadataError, MetadataStore, type OpenedMetadata } from '../../metadata/metadata-store.ts';
import { restoreMetadata } from '../../metadata/restore-metadata.ts';
import { uuidText } from '../../metadata/uuid.ts';
import { ownHostIdentity } from '../host/host-identity.ts';
import { HostState } from '../host/host-state.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { stampKey } from '../main/main-stamp.ts';
import { SetupError } from '../setup-error.ts';
import { isWorldError } from '../setup-failure.ts';
import type { Disks, OpenedDisk } from '../stack/disks.ts';
import { takeoverNotes, withOpenDisk } from '../stack/open-spare.ts';
import { readTextInput } from '../text-input.ts';
import { type CutSpareAnswer, checkCutSpare } from './cut-spare.ts';
import { checkSpare, spareDifference } from './spare-identity.ts';

export interface RestoreOptions {
  readonly dumpPath: string;
  readonly path: string;
  /** Also a dump that is older than what is on the spare, or known of it; also onto another disk than the dump names. */
  readonly force: boolean;
  /** Also onto a spare that somebody marks as in use (M11). */
  readonly takeover: boolean;
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
  const dump = withoutStamp(readDump(options.dumpPath));
  return withOpenDisk(options.path, 'own', async (disks, spare) => {
    const opened = await openStrictly(disks, spare, options);
    // Whether it is this dump's spare at all is the first question: nothing is refused for having been cut before that is answered.
    const cut = await checkCut(spare, dump, opened, true);
    const restoring: Restoring = { disks, spare, dump, state: new RecordedState(cut.records), options };
    const restored =
      opened === undefined ? await restoreUnopened(restoring) : await restoreOver(restoring, opened);
    const notes = [...cut.notes, ...restored];
    const { arena, clock, random } = disks.plane;
    const now = await MetadataStore.open({ spare: spare.device, arena, clock, random });
    return {
      name: now.facts.properties.name,
      uuid: now.facts.uuid,
      records: dump.records.length,
      sequence: now.facts.lastSequence,
      notes: [...notes, ...(await noteSession(options, now, disks))],
    };
  });
}

interface Restoring {
  readonly disks: Disks;
  readonly spare: OpenedDisk;
  readonly dump: MetadataDump;
  readonly state: RecordedState;
  readonly options: RestoreOptions;
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

/**
 * The dump's records, but for what an image that was cut has lost: written anew, nothing would tell of that any more. With
 * `force` as `checkCutSpare`.
 */
function checkCut(
  spare: OpenedDisk,
  dump: MetadataDump,
  opened: OpenedMetadata | undefined,
  force: boolean,
): Promise<CutSpareAnswer> {
  const { layout } = dump.superblock.shared;
  const replicas =
    opened?.report.replicas ??
    layout.replicas.map(
      ({ superblockOffset: offset }, index) => ({ index, offset, condition: 'damaged' }) as const,
    );
  const metadata = { layout, records: dump.records, report: { replicas } };
  return checkCutSpare({ spare, metadata, force, forcedBy: 'metadata restore --force' });
}

/** Undefined for metadata that cannot be opened as it is. */
async function openStrictly(
  disks: Disks,
  spare: OpenedDisk,
  options: RestoreOptions,
): Promise<OpenedMetadata | undefined> {
  const { arena, clock, random } = disks.plane;
  const host = ownHostIdentity();
  try {
    return await MetadataStore.open(
      { spare: spare.device, arena, clock, random },
      { takeover: options.takeover, ...(host && { host }) },
    );
  } catch (error) {
    if (!(error instanceof MetadataError)) throw error;
    if (error.code === 'METADATA_UNREADABLE' || error.code === 'METADATA_IN_USE') throw error;
    return undefined;
  }
}

async function restoreUnopened({
  disks,
  spare,
  dump,
  state,
  options,
}: Restoring): Promise<readonly string[]> {
  const { arena, clock, random } = disks.plane;
  const { force, takeover } = options;
  const parts = { spare: spare.device, arena, clock, random };
  const taker = { host: ownHostIdentity(), takeover };
  const beforeWriting = async (): Promise<void> => {
    if (force) return;
    await refuseStranger(spare, dump, hostStateOf(options));
    await checkCut(spare, dump, undefined, false);
  };
  return (await restoreMetadata(parts, dump, state, { force, taker, beforeWriting })).flatMap(takeoverNotes);
}

function hostStateOf({ stateDirectory }: RestoreOptions): HostState | undefined {
  return stateDirectory === undefined ? undefined : new HostState(stateDirectory);
}

/**
 * M12 for a spare that cannot say what it is: restored onto a copy, this host would take the original for an older one; and a
 * dump that is older than what this host knows loses what came since.
 */
async function refuseStranger(
  spare: OpenedDisk,
  dump: MetadataDump,
  hostState: HostState | undefined,
): Promise<void> {
  const { shared } = dump.superblock;
  const difference = spareDifference(shared.properties.properties.spareIdentity, spare);
  if (difference !== undefined) {
    throw new SetupError(
      'refused',
      `${spare.path}: the dump is of another disk: ${difference}; --force restores it here, then "dm-remap adopt" moves the device`,
    );
  }
  const known = await hostState?.readSession(uuidText(shared.uuid)).catch((error: unknown) => {
    if (!isWorldError(error)) throw error;
    return undefined;
  });
  if (known === undefined || known.sequence <= dump.sequence) return;
  throw new SetupError(
    'refused',
    `${spare.path}: this host knows sequence ${known.sequence}, the dump has ${dump.sequence}: what came in between would be ` +
      'lost; --force restores it',
  );
}

async function restoreOver(
  { spare, dump, state, options }: Restoring,
  opened: OpenedMetadata,
): Promise<readonly string[]> {
  const { facts, store, report } = opened;
  const uuid = uuidText(dump.superblock.shared.uuid);
  if (facts.uuid !== uuid) {
    throw new SetupError(
      'refused',
      `${options.path}: is the spare of device ${facts.uuid}, the dump is of ${uuid}`,
    );
  }
  const notes = await checkSpare({ spare, facts, hostState: hostStateOf(options), force: options.force });
  if (facts.lastSequence > dump.sequence && !options.force) {
    throw new SetupError(
      'refused',
      `${options.path}: has records up to sequence ${facts.lastSequence}, the dump only up to ${dump.sequence}: what came ` +
        'in between would be lost; --force restores it',
    );
  }
  await checkCut(spare, dump, opened, options.force);
  // Which disk it is was just checked; the dump may be from before the device moved to this one.
  const { spareIdentity } = facts.properties;
  await store.settle(state, {
    properties: { ...dump.superblock.shared.properties.properties, spareIdentity },
  });
  await store.close();
  if (!store.status().closedCleanly) {
    throw new SetupError('failed', `${options.path}: written, but its superblocks could not be closed`);
  }
  return [...notes, ...takeoverNotes(report.takenOver)];
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

function readDump(path: string): MetadataDump {
  const dump = decodeDump(readTextInput(path, dumpBytesMax, 'a dump of metadata'));
  if (typeof dump === 'string') throw new SetupError('usage', `${path}: ${dump}`);
  return dump;
}
