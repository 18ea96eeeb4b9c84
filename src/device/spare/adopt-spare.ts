import { identityToPairs } from '../../io/disk-identity.ts';
import { describeIdentity, identityFromPairs } from '../../io/identity-verdict.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { closeSession, type OpenSpare, type OpenSpareOptions, withOpenSpare } from '../stack/open-spare.ts';
import { checkSpare } from './spare-identity.ts';

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
 * on this host every other copy is an older one from now on. With `force` also a spare that is older than what this host
 * knows. Nothing is written before all is read and checked. Throws `SetupError`.
 */
export function adoptSpare(options: OpenSpareOptions): Promise<AdoptReport> {
  return withOpenSpare(options, (open) => adopt(open, options.force));
}

async function adopt(open: OpenSpare, force: boolean): Promise<AdoptReport> {
  const { spare, metadata, hostState } = open;
  const { facts, store, records } = metadata;
  const notes = await checkSpare({ spare, facts, hostState, force, adopt: true });
  const properties = { ...facts.properties, spareIdentity: identityToPairs(spare.identity) };
  await store.settle(new RecordedState(records), { properties });
  const before = facts.properties.spareIdentity;
  return {
    name: facts.properties.name,
    uuid: facts.uuid,
    from: before['kind'] === undefined ? 'unknown' : describeIdentity(identityFromPairs(before)),
    to: describeIdentity(spare.identity),
    notes: [...notes, ...(await closeSession(open))],
  };
}
