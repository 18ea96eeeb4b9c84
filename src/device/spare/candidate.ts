import { stat } from 'node:fs/promises';
import type { Clock } from '../../block/clock.ts';
import { type DiskIdentity, identifyDevice } from '../../io/disk-identity.ts';
import { findUsers } from '../../io/disk-usage.ts';
import { asOpenError } from '../../io/open-error.ts';
import { looksLikeNbdUri } from '../../nbd/nbd-uri.ts';
import { SetupError } from '../setup-error.ts';
import type { OpenedMain } from '../stack/disks.ts';
import { nbdAddress, nbdIdentity } from '../stack/nbd-disk.ts';
import type { CandidateFacts } from './create-safety.ts';
import { type Contents, readContents } from './disk-contents.ts';

/** Looking for signatures may take this long on one disk; an answering disk needs milliseconds. */
const lookDeadlineMs = 2_000;

const unknownContents: Contents = { isSpare: false, spareName: '', signatures: [], unreadable: false };

/** What is known about a disk without opening it. Throws `OpenError`, or `SetupError` for what can be no disk. */
export async function describeClosed(path: string): Promise<CandidateFacts> {
  if (looksLikeNbdUri(path)) return factsOf(path, [nbdIdentity(nbdAddress(path).uri)], [], unknownContents);
  try {
    await refuseOtherKinds(path);
    const identity = await identifyDevice(path);
    return factsOf(path, [identity], await usersOf(identity), unknownContents);
  } catch (error) {
    if (error instanceof SetupError) throw error;
    throw asOpenError(path, error, 'looking at it');
  }
}

/** Looked at before it is opened: opening a tape rewinds it, opening a pipe waits. */
async function refuseOtherKinds(path: string): Promise<void> {
  const facts = await stat(path);
  if (facts.isFile() || facts.isBlockDevice()) return;
  const what = facts.isDirectory()
    ? 'a directory'
    : facts.isCharacterDevice()
      ? 'a character device'
      : 'a pipe or socket';
  throw new SetupError('refused', `${path}: is ${what}; an image file or a block device is needed`);
}

/** What is known about an open disk or table without reading from it. `path` is the operator's name for it. */
export async function describeUnread(path: string, disk: OpenedMain): Promise<CandidateFacts> {
  const identities = disk.access === 'table' ? disk.disks.map((one) => one.identity) : [disk.identity];
  const users = (await Promise.all(identities.map(usersOf))).flat();
  const facts = factsOf(path, identities, users, unknownContents);
  return {
    ...facts,
    kind: disk.access === 'table' ? 'table' : facts.kind,
    sizeBytes: disk.device.geometry.sizeBytes,
  };
}

/** As `describeUnread`, with what it carries. */
export async function describeOpen(path: string, disk: OpenedMain, clock: Clock): Promise<CandidateFacts> {
  const facts = await describeUnread(path, disk);
  return { ...facts, ...(await readContents(disk.device, clock, lookDeadlineMs)) };
}

async function usersOf(identity: DiskIdentity): Promise<readonly string[]> {
  // Only its server knows who else uses an export.
  if (identity.kind === 'nbd') return [];
  return (await findUsers(identity.path)).map((user) => user.text);
}

function factsOf(
  path: string,
  identities: readonly DiskIdentity[],
  uses: readonly string[],
  contents: Contents,
): CandidateFacts {
  const [first] = identities;
  return {
    path,
    kind: first?.kind ?? 'table',
    keys: identities.map((identity) => identity.key),
    // A whole disk lies on itself; that is said by `keys` already.
    wholeDiskKeys: identities.flatMap((one) => one.wholeDiskKeys.filter((key) => key !== one.key)),
    sizeBytes: first?.sizeBytes ?? 0,
    model: first?.model ?? '',
    serial: first?.serial ?? '',
    uses,
    ...contents,
  };
}
