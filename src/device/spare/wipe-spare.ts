import { claimSpare, devicesOf } from '../../metadata/claim-spare.ts';
import { MetadataStore } from '../../metadata/metadata-store.ts';
import { SpareIo } from '../../metadata/spare-io.ts';
import { scanSuperblocks } from '../../metadata/superblock-scan.ts';
import { uuidText } from '../../metadata/uuid.ts';
import { wipeSuperblocks } from '../../metadata/wipe-metadata.ts';
import { ownHostIdentity } from '../host/host-identity.ts';
import { HostState } from '../host/host-state.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { SetupError } from '../setup-error.ts';
import type { Disks, OpenedDisk } from '../stack/disks.ts';
import { takeoverNotes, withOpenDisk } from '../stack/open-spare.ts';

export interface WipeOptions {
  readonly path: string;
  /** The operator has read what is on it. */
  readonly confirmed: boolean;
  /** Refuse a spare whose table is not empty: it holds what main has not. */
  readonly onlyEmpty?: boolean;
  /** Also a spare that somebody marks as in use (M11). */
  readonly takeover: boolean;
  readonly stateDirectory: string | undefined;
}

export interface WipeReport {
  readonly path: string;
  /** Empty where no superblock was whole. */
  readonly name: string;
  readonly uuids: readonly string[];
  readonly superblocksWiped: number;
  readonly notes: readonly string[];
}

/**
 * Makes a spare an ordinary disk again: no superblock of ours is left, so that nothing finds it, and the host forgets it.
 * Refuses a disk that is none of ours, or that somebody uses. Throws `SetupError`.
 */
export function wipeSpare(options: WipeOptions): Promise<WipeReport> {
  const { path } = options;
  return withOpenDisk(path, 'own', async (disks, disk) => {
    const io = new SpareIo(disk.device, disks.plane.arena, disks.plane.clock);
    const scan = await scanSuperblocks(io);
    const ours =
      scan.member !== undefined ||
      scan.damagedPlaces.size > 0 ||
      scan.newerVersion !== undefined ||
      scan.unknownFeatures !== undefined;
    if (scan.found.length === 0 && !ours) {
      throw new SetupError(
        'not-a-spare',
        `${path}: not a dm-remap spare, nothing to wipe; is it the right device?`,
      );
    }
    const names = new Set(scan.found.map(({ superblock }) => superblock.shared.properties.properties.name));
    if (scan.member !== undefined) names.add(scan.member.deviceName);
    const uuids = [...new Set(scan.found.map(({ superblock }) => uuidText(superblock.shared.uuid)))];
    const name = [...names].join(', ');
    if (!options.confirmed) {
      const whose = name === '' ? 'a dm-remap spare with damaged metadata' : `the spare of ${name}`;
      throw new SetupError(
        'refused',
        `${path}: is ${whose}; what was moved to it is lost by wiping ("dm-remap examine" shows how much); --yes wipes it`,
      );
    }
    if (options.onlyEmpty === true) await refuseUnlessEmpty(disks, disk);
    const taker = { host: ownHostIdentity(), takeover: options.takeover };
    const claim = await claimSpare(io, disks.plane.random, devicesOf(scan), taker);
    const { wiped, left } = await wipeSuperblocks(io);
    await claim.release();
    if (left.length > 0) {
      throw new SetupError(
        'failed',
        `${path}: ${left.length} superblocks could not be wiped, first at byte ${left[0]}`,
      );
    }
    const others = scan.found.flatMap(
      ({ superblock: { shared } }) => shared.properties.members?.members ?? [],
    );
    const paths = [...new Set(others.map(({ identity }) => identity['path'] ?? 'a spare'))];
    const beside = paths.map((other) => `${other} was a spare beside it: dm-remap wipe ${other}`);
    const notes = [...beside, ...claim.takenOver.flatMap(takeoverNotes), ...(await forget(options, uuids))];
    return { path, name, uuids, superblocksWiped: wiped, notes };
  });
}

async function refuseUnlessEmpty(disks: Disks, spare: OpenedDisk): Promise<void> {
  const { arena, clock, random } = disks.plane;
  const { records } = await MetadataStore.open({ spare: spare.device, arena, clock, random });
  const { entries } = new RecordedState(records).table.totals();
  if (entries === 0) return;
  throw new SetupError('refused', `${spare.path}: ${entries} blocks are in its table again; it is not wiped`);
}

async function forget({ stateDirectory }: WipeOptions, uuids: readonly string[]): Promise<readonly string[]> {
  if (stateDirectory === undefined) return [];
  const state = new HostState(stateDirectory);
  try {
    for (const uuid of uuids) await state.forget(uuid);
    return [];
  } catch (error) {
    return [`this host could not forget it: ${error instanceof Error ? error.message : String(error)}`];
  }
}
