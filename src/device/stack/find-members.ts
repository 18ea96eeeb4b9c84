import { identifyDevice } from '../../io/disk-identity.ts';
import { identityFromPairs, sameIdentity } from '../../io/identity-verdict.ts';
import { MemberDisk } from '../../metadata/member-disk.ts';
import type { MemberEntry } from '../../metadata/member-table.ts';
import type { OpenedMetadata } from '../../metadata/metadata-store.ts';
import { looksLikeNbdUri } from '../../nbd/nbd-uri.ts';
import type { FoundMember } from '../../remap/spare/spare-members.ts';
import type { CacheMode } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { isWorldError } from '../setup-failure.ts';
import { blockDevicePaths } from '../spare/machine-disks.ts';
import { spareDifference } from '../spare/spare-identity.ts';
import { refuseUsed } from './disk-in-use.ts';
import type { Disks, OpenedDisk } from './disks.ts';
import { refuseWithoutFlush } from './nbd-disk.ts';

/** One of the other spares, as this machine has it. */
export interface LocatedMember extends FoundMember {
  /** Undefined while it is not there, or is not the right one. */
  readonly opened: OpenedDisk | undefined;
  /** Of one that is not there: why, one clause. */
  readonly absent: string;
}

/**
 * The spares that the home names beside itself, where they were last seen, or wherever else a disk of that identity is now. One
 * that is not there, or is a copy or of another time (M12), leaves its blocks errors; two disks that are both it are refused.
 * Nothing is written. Throws `SetupError`.
 */
export async function findMembers(
  disks: Disks,
  { facts, store }: OpenedMetadata,
  deviceName: string,
  cache: CacheMode,
): Promise<readonly LocatedMember[]> {
  const located: LocatedMember[] = [];
  for (const entry of facts.members) {
    const { arena, clock, random } = disks.plane;
    let opened: OpenedDisk | undefined;
    try {
      opened = await disks.open(await pathOf(entry), cache);
      refuseWithoutFlush(opened);
      await refuseUsed(opened, 'spare');
      const difference = spareDifference(entry.identity, opened);
      if (difference !== undefined) throw new SetupError('refused', `is a copy: ${difference}`);
      const owner = { uuid: store.uuid, deviceName };
      const disk = new MemberDisk({ spare: opened.device, arena, clock, random }, owner);
      const trouble = await disk.troubleAs(entry);
      if (trouble !== undefined) throw new SetupError('refused', `${opened.path}: ${trouble}`);
      located.push({ entry, disk, opened, absent: '' });
    } catch (error) {
      await opened?.device.close();
      if (!isWorldError(error) || error instanceof AmbiguousSpare) throw error;
      const absent = error instanceof Error ? error.message : String(error);
      located.push({ entry, disk: undefined, opened: undefined, absent });
    }
  }
  return located;
}

/** Which of them is meant nobody knows: a person has to say, by taking one away. */
class AmbiguousSpare extends SetupError {}

async function pathOf({ identity }: MemberEntry): Promise<string> {
  const recorded = identity['path'] ?? '';
  if (looksLikeNbdUri(recorded) || identity['kind'] !== 'block') return recorded;
  const before = identityFromPairs(identity);
  const isIt = async (path: string): Promise<boolean> => {
    const found = await identifyDevice(path).catch(unknown);
    return found !== undefined && sameIdentity(before, found).verdict === 'same';
  };
  if (await isIt(recorded)) return recorded;
  const machine = await blockDevicePaths();
  const matches = await Promise.all(machine.map(isIt));
  const [path, ...others] = machine.filter((_, at) => matches[at]);
  if (others.length > 0) {
    throw new AmbiguousSpare(
      'refused',
      `${[path, ...others].join(' and ')} both are the spare that was ${recorded}: unplug the wrong one`,
    );
  }
  return path ?? recorded;
}

function unknown(error: unknown): undefined {
  if (!isWorldError(error)) throw error;
  return undefined;
}
