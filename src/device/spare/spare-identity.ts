import { describeIdentity, identityFromPairs, sameIdentity } from '../../io/identity-verdict.ts';
import type { DeviceFacts } from '../../metadata/metadata-store.ts';
import { replacedKey } from '../../remap/spare/replaced-key.ts';
import type { HostState } from '../host/host-state.ts';
import { rollbackOf } from '../host/known-session.ts';
import type { IdentityRecord } from '../main/main-identity.ts';
import { SetupError } from '../setup-error.ts';
import type { OpenedDisk } from '../stack/disks.ts';
import { inodeOf } from '../stack/inode.ts';

/**
 * M12: how a spare differs from the disk that its superblock was written on, one clause; undefined when it is that one. A
 * spare is recognised by what it is, or where nothing names it, by its old place or inode: a copy elsewhere has neither.
 */
export function spareDifference(
  recorded: IdentityRecord,
  found: Pick<OpenedDisk, 'identity' | 'path'>,
): string | undefined {
  if (recorded['kind'] === undefined) return undefined;
  const before = identityFromPairs(recorded);
  const { verdict, reasons } = sameIdentity(before, found.identity);
  if (verdict === 'same') return undefined;
  const inode = inodeOf(before.key);
  const known = before.path === found.path || (inode !== '' && inode === inodeOf(found.identity.key));
  if (verdict === 'weak' && known) return undefined;
  if (recorded[replacedKey] !== undefined) {
    return `it was being replaced as the spare by ${describeIdentity(before)} when its device ended`;
  }
  const why = verdict === 'different' ? ` (${reasons.join(', ')})` : '';
  return `its superblock belongs to ${describeIdentity(before)}; this is ${describeIdentity(found.identity)}${why}`;
}

export interface SpareQuestion {
  readonly spare: Pick<OpenedDisk, 'identity' | 'path'>;
  readonly facts: DeviceFacts;
  /** Undefined where the host remembers nothing. */
  readonly hostState: HostState | undefined;
  /** An older spare is taken: what was acknowledged since is lost. */
  readonly force: boolean;
  /** The operator moves the device to this spare. */
  readonly adopt?: boolean;
  /** A command without `--force` asks. */
  readonly tool?: boolean;
}

/**
 * M12, before anything is written: throws `SetupError` refused for a copy, and for a spare older than what this host knows.
 * Resolves to notes about what was accepted.
 */
export async function checkSpare(question: SpareQuestion): Promise<readonly string[]> {
  const { spare, facts, hostState, force } = question;
  const difference = spareDifference(facts.properties.spareIdentity, spare);
  if (difference !== undefined && question.adopt !== true) {
    throw new SetupError('refused', refusedCopy(spare.path, facts.properties.spareIdentity, difference));
  }
  const notes: string[] = [];
  if (hostState === undefined) return notes;
  try {
    const known = await hostState.readSession(facts.uuid);
    const rollback = known === undefined ? undefined : rollbackOf(known, facts);
    if (rollback === undefined) return notes;
    if (!force) throw rolledBack(spare.path, rollback, question.adopt === true || question.tool === true);
    notes.push(`opened an older spare by force: ${rollback}: what was acknowledged since is lost`);
  } catch (error) {
    if (error instanceof SetupError || !isSystemError(error)) throw error;
    notes.push(`what this host remembers of the spare cannot be read: ${error.message}`);
  }
  return notes;
}

/** M12: what a person can do with it. */
function refusedCopy(path: string, recorded: IdentityRecord, difference: string): string {
  if (recorded[replacedKey] === undefined) {
    return `${path}: is a copy of a spare: ${difference}; use the original, or move the device here: dm-remap adopt ${path}`;
  }
  const next = identityFromPairs(recorded).path;
  return (
    `${path}: spare-replaced: ${difference}: assemble it with --spare ${next}; only where that carries no spare ` +
    `(dm-remap examine ${next}) it never took over and nothing is lost here: dm-remap adopt ${path}`
  );
}

function rolledBack(path: string, rollback: string, byAdopting: boolean): SetupError {
  const command = byAdopting ? `dm-remap adopt ${path} --force` : '--force';
  return new SetupError(
    'refused',
    `${path}: spare-rolled-back: ${rollback}: an older copy was put back; use the newest, ` +
      `or lose what was acknowledged since: ${command}`,
  );
}

function isSystemError(error: unknown): error is Error {
  return error instanceof Error && 'errno' in error;
}
