import process from 'node:process';
import { MetadataStore, type OpenedMetadata } from '../../metadata/metadata-store.ts';
import type { TableTotals } from '../../remap/table/granule-table.ts';
import type { DeviceEvent } from '../event-kinds.ts';
import { ownHostIdentity } from '../host/host-identity.ts';
import { HostState } from '../host/host-state.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { appendEvents } from '../log/append-events.ts';
import { SetupError } from '../setup-error.ts';
import { setupErrorOf } from '../setup-failure.ts';
import { checkCutSpare } from '../spare/cut-spare.ts';
import { refuseUsed } from './disk-in-use.ts';
import { type DiskAccess, type Disks, type OpenedDisk, withDisks } from './disks.ts';

/** A spare that a tool has open for itself, read and not yet written. */
export interface OpenSpare {
  readonly disks: Disks;
  readonly spare: OpenedDisk;
  readonly metadata: OpenedMetadata;
  readonly hostState: HostState | undefined;
}

export interface OpenSpareOptions {
  readonly path: string;
  readonly force: boolean;
  /** Also one that somebody marks as in use (M11). */
  readonly takeover: boolean;
  readonly stateDirectory: string | undefined;
}

/** Opens a disk for `work`, closed again after it. Throws `SetupError`. */
export async function withOpenDisk<T>(
  path: string,
  access: DiskAccess,
  work: (disks: Disks, disk: OpenedDisk) => Promise<T>,
): Promise<T> {
  try {
    return await withDisks(async (disks) => {
      const disk = await disks.open(path, 'none', access);
      try {
        if (access === 'own') await refuseUsed(disk, 'spare');
        return await work(disks, disk);
      } finally {
        await disk.device.close();
      }
    });
  } catch (error) {
    throw setupErrorOf(error, path);
  }
}

/** Opens a spare that nobody uses, for `work`; closed again after it. Throws `SetupError`. */
export async function withOpenSpare<T>(
  options: OpenSpareOptions,
  work: (open: OpenSpare) => Promise<T>,
): Promise<T> {
  const { path, force, takeover, stateDirectory } = options;
  return withOpenDisk(path, 'own', async (disks, spare) => {
    const { arena, clock, random } = disks.plane;
    const host = ownHostIdentity();
    const metadata = await MetadataStore.open(
      { spare: spare.device, arena, clock, random },
      { force, takeover, ...(host && { host }) },
    );
    await checkCutSpare({ spare, metadata, force: false });
    const hostState = stateDirectory === undefined ? undefined : new HostState(stateDirectory);
    return work({ disks, spare, metadata, hostState });
  });
}

/** Ends a session that a tool has settled; resolves to notes, who had the spare before among them. Throws `SetupError` when the spare did not take it all. */
export async function closeSession({
  spare,
  metadata,
  hostState,
  disks,
}: OpenSpare): Promise<readonly string[]> {
  const { store, facts } = metadata;
  await store.close();
  const { closedCleanly, acknowledgedSequence, sessionNonce, generation, revision } = store.status();
  if (!closedCleanly)
    throw new SetupError('failed', `${spare.path}: written, but its superblocks could not be closed`);
  const notes = takeoverNotes(metadata.report.takenOver);
  if (hostState === undefined) return notes;
  try {
    await hostState.writeSession({
      uuid: facts.uuid,
      sequence: acknowledgedSequence,
      sessionNonce,
      generation,
      closedRevision: revision,
      writtenUnixSeconds: Math.floor(disks.plane.clock.unixMs() / 1000),
    });
    await noteHowFound(hostState, metadata, disks.plane.clock.unixMs());
    return notes;
  } catch (error) {
    return [
      ...notes,
      `this host could not note it: ${error instanceof Error ? error.message : String(error)}`,
    ];
  }
}

/** Whoever serves the spare next finds it closed: that it was not is in the log only when it is told now. */
async function noteHowFound(
  hostState: HostState,
  { facts, records, report }: OpenedMetadata,
  unixMs: number,
): Promise<void> {
  const { name: device } = facts.properties;
  const { uuid } = facts;
  await appendEvents(hostState, { device, uuid, pid: process.pid }, unixMs, [
    ...(facts.cleanlyClosed ? [] : [uncleanEnd(new RecordedState(records).table.totals())]),
    ...(report.takenOver === undefined ? [] : [{ kind: 'took-over', from: report.takenOver } as const]),
  ]);
}

function uncleanEnd({ remappedGranules, unreadableSectors, goneSectors }: TableTotals): DeviceEvent {
  return { kind: 'unclean-end', remappedGranules, unreadableSectors, goneSectors };
}

/** M11: what people are told of a spare that was somebody's. */
export function takeoverNotes(takenOver: string | undefined): readonly string[] {
  return takenOver === undefined ? [] : [`the spare was ${takenOver}`];
}
