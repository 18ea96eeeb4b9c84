import { statSync } from 'node:fs';
import { type DiskIdentity, identityFromPairs, identityToPairs } from '../../io/disk-identity.ts';
import { describeIdentity, sameIdentity } from '../../io/identity-verdict.ts';
import { refuseZeroByte } from '../../io/open-error.ts';
import type { MainChoice } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import type { OpenedDisk, OpenedTable } from '../stack/disks.ts';
import { inodeOf } from '../stack/inode.ts';
import { readTextInput, tableBytesMax } from '../text-input.ts';

/** What the superblock keeps about a disk (M15), all text. Of a table: `path`, `kind`, and the inodes under it. */
export type IdentityRecord = Readonly<Record<string, string>>;

/** The part of an opened main that its identity is about: comparing needs no disks. */
export type IdentifiedDisk = Pick<OpenedDisk, 'access' | 'identity' | 'path'>;
export type IdentifiedTable = Pick<OpenedTable, 'access' | 'path'> & {
  readonly device: { readonly geometry: { readonly sizeBytes: number } };
  readonly disks: readonly IdentifiedDisk[];
};
export type IdentifiedMain = IdentifiedDisk | IdentifiedTable;

const tablePrefix = 'table:';

export function identityRecord(disk: IdentifiedMain): IdentityRecord {
  if (disk.access !== 'table') return identityToPairs(disk.identity);
  return {
    kind: 'table',
    path: disk.path,
    sizeBytes: String(disk.device.geometry.sizeBytes),
    members: membersOf(disk),
  };
}

/** One word for each disk or file under a main, ascending. */
function membersOf(main: IdentifiedMain): string {
  const identities = main.access === 'table' ? main.disks.map((disk) => disk.identity) : [main.identity];
  return [...new Set(identities.map(memberWord))].sort().join(' ');
}

/** Lasts over boots, unlike the number of the file system in `key`. */
function memberWord(identity: DiskIdentity): string {
  if (identity.kind === 'file') return `inode:${inodeOf(identity.key)}`;
  const name = identity.wwn || identity.serial;
  return name === ''
    ? `path:${identity.path}`
    : `disk:${name}+${identity.partitionStartBytes}`.replaceAll(' ', '_');
}

/**
 * How a main differs from the one that the spare remembers, one clause; undefined when it is the same. A disk without
 * serial, or an image, is the same in its old place or under its old inode: nobody can know better.
 */
export function identityDifference(recorded: IdentityRecord, found: IdentifiedMain): string | undefined {
  const kind = recorded['kind'];
  if (kind === undefined) return undefined;
  if (kind === 'table' || found.access === 'table') {
    const before = recorded['members'] ?? memberWord(identityFromPairs(recorded));
    if (before === membersOf(found)) return undefined;
    return `the spare remembers ${recorded['path']} over ${before}, this is ${found.path} over ${membersOf(found)}`;
  }
  const before = identityFromPairs(recorded);
  const { verdict, reasons } = sameIdentity(before, found.identity);
  if (verdict === 'same') return undefined;
  const inPlace = before.path === found.path;
  const sameFile = inodeOf(before.key) !== '' && inodeOf(before.key) === inodeOf(found.identity.key);
  if (verdict === 'weak' && (inPlace || sameFile)) return undefined;
  const why = verdict === 'different' ? ` (${reasons.join(', ')})` : '';
  return `the spare remembers ${describeIdentity(before)}; this is ${describeIdentity(found.identity)}${why}`;
}

/**
 * True when this main names itself, by WWN, serial or inode, as the recorded one did: a person need not say that it is. A
 * disk of which only the place is known may be any disk after the next boot (M15).
 */
export function isProven(recorded: IdentityRecord, found: IdentifiedMain): boolean {
  if (recorded['kind'] === undefined) return false;
  if (found.access === 'table' || recorded['kind'] === 'table') {
    return !membersOf(found)
      .split(' ')
      .some((member) => member.startsWith('path:'));
  }
  const before = identityFromPairs(recorded);
  if (sameIdentity(before, found.identity).verdict === 'same') return true;
  const inode = inodeOf(before.key);
  return inode !== '' && inode === inodeOf(found.identity.key);
}

/** The main that the spare last saw. Throws `SetupError` when it is not to be found without help. */
export function recordedMain(recorded: IdentityRecord): MainChoice {
  const path = recorded['path'];
  if (path === undefined || path === '') {
    throw new SetupError('usage', 'the spare does not say where its main is; give --main');
  }
  if (!path.startsWith(tablePrefix)) return { kind: 'path', path };
  const label = path.slice(tablePrefix.length);
  try {
    // The name comes from a disk: a pipe would keep us waiting, and `-` is standard input no more.
    refuseZeroByte(label);
    if (!statSync(label).isFile()) throw new SetupError('refused', `${label}: is no file`);
    return { kind: 'table', text: readTextInput(label, tableBytesMax, 'a device-mapper table'), label };
  } catch (error) {
    throw new SetupError('usage', `main was a table from ${label}, which cannot be read; give --main-table`, {
      cause: error,
    });
  }
}
