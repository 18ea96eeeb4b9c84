import { identityToPairs } from '../io/disk-identity.ts';
import { describeIdentity, identityFromPairs } from '../io/identity-verdict.ts';
import { MetadataStore } from '../metadata/metadata-store.ts';
import { type Disks, type OpenedDisk, withDisks } from './disks.ts';
import { HostState } from './host-state.ts';
import { RecordedState } from './recorded-state.ts';
import { SetupError } from './setup-error.ts';
import { setupErrorOf } from './setup-failure.ts';
import { checkSpare } from './spare-identity.ts';

export interface AdoptOptions {
  readonly path: string;
  /** Also a spare that is older than what this host knows. */
  readonly force: boolean;
  readonly stateDirectory: string | undefined;
}

/** What was moved, for people. */
export interface AdoptReport {
  readonly name: string;
  readonly uuid: string;
  readonly from: string;
  readonly to: string;
  readonly notes: readonly string[];
}

/**
 * M12: makes this copy of a spare the spare: its own identity is written into the superblock, under a new session, so that
 * on this host every other copy is an older one from now on. Nothing is written before all is read and checked. Throws
 * `SetupError`.
 */
export async function adoptSpare(options: AdoptOptions): Promise<AdoptReport> {
  try {
    return await withDisks(async (disks) => {
      const spare = await disks.open(options.path, 'none');
      try {
        return await adopt(disks, spare, options);
      } finally {
        await spare.device.close();
      }
    });
  } catch (error) {
    throw setupErrorOf(error, options.path);
  }
}

async function adopt(disks: Disks, spare: OpenedDisk, options: AdoptOptions): Promise<AdoptReport> {
  const { arena, clock, random } = disks.plane;
  const { store, facts, records } = await MetadataStore.open(
    { spare: spare.device, arena, clock, random },
    { force: options.force },
  );
  const hostState = options.stateDirectory === undefined ? undefined : new HostState(options.stateDirectory);
  const question = { spare, facts, hostState, force: options.force, adopt: true };
  const notes = [...(await checkSpare(question))];
  const properties = { ...facts.properties, spareIdentity: identityToPairs(spare.identity) };
  await store.settle(new RecordedState(records), { properties });
  await store.close();
  const { closedCleanly, acknowledgedSequence, sessionNonce, generation, revision } = store.status();
  if (!closedCleanly)
    throw new SetupError('failed', `${spare.path}: adopted, but its superblocks could not be closed`);
  try {
    await hostState?.writeSession({
      uuid: facts.uuid,
      sequence: acknowledgedSequence,
      sessionNonce,
      generation,
      closedRevision: revision,
      writtenUnixSeconds: Math.floor(clock.unixMs() / 1000),
    });
  } catch (error) {
    notes.push(`this host could not note it: ${error instanceof Error ? error.message : String(error)}`);
  }
  const before = facts.properties.spareIdentity;
  return {
    name: facts.properties.name,
    uuid: facts.uuid,
    from: before['kind'] === undefined ? 'unknown' : describeIdentity(identityFromPairs(before)),
    to: describeIdentity(spare.identity),
    notes,
  };
}
