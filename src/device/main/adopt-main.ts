import { RecordedState } from '../host/recorded-state.ts';
import type { MainChoice } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { checkSpare } from '../spare/spare-identity.ts';
import { boundedReader } from '../stack/bounded-read.ts';
import type { OpenedMain } from '../stack/disks.ts';
import { closeSession, type OpenSpare, withOpenSpare } from '../stack/open-spare.ts';
import { compareDeadlineMs, describeChange } from './main-check.ts';
import { identityDifference, identityRecord } from './main-identity.ts';
import {
  compareSamples,
  formatStamp,
  healthyIn,
  parseStamp,
  type StampComparison,
  samplePlaces,
  stampKey,
  takeSamples,
} from './main-stamp.ts';

export interface AdoptMainOptions {
  readonly path: string;
  readonly main: MainChoice;
  readonly acceptChanges: boolean;
  /** Also a spare that somebody marks as in use (M11). */
  readonly takeover: boolean;
  readonly stateDirectory: string | undefined;
}

/** What was taken, for people. */
export interface AdoptMainReport {
  readonly name: string;
  readonly uuid: string;
  readonly main: string;
  /** What was different about it; empty when nothing was. */
  readonly difference: string;
  readonly samplesCompared: number;
  readonly samplesDifferent: number;
  readonly notes: readonly string[];
}

/**
 * M15: another disk becomes the main of a spare, after a look that it carries what main carried at the last clean close.
 * Nothing is written to main, and nothing to the spare before all was checked. Throws `SetupError`.
 */
export function adoptMain(options: AdoptMainOptions): Promise<AdoptMainReport> {
  const { path, takeover, stateDirectory } = options;
  return withOpenSpare({ path, takeover, stateDirectory, force: false }, async (open) => {
    const { spare, metadata, hostState } = open;
    const notes = await checkSpare({ spare, facts: metadata.facts, hostState, force: false, tool: true });
    const main = await open.disks.openMain(options.main, 'none');
    try {
      return await adopt(open, main, options.acceptChanges, notes);
    } finally {
      await main.device.close();
    }
  });
}

async function adopt(
  open: OpenSpare,
  main: OpenedMain,
  acceptChanges: boolean,
  notes: readonly string[],
): Promise<AdoptMainReport> {
  const { facts, store, records } = open.metadata;
  refuseGeometry(open, main);
  const comparison = await compare(open, main);
  const difference = identityDifference(facts.properties.mainIdentity, main) ?? '';
  if (!acceptChanges) refuseContents(main, comparison, facts.granuleBytes);
  const table = new RecordedState(records);
  const stamp = await stampOf(open, main, table);
  const mainIdentity = { ...identityRecord(main), ...stamp };
  await store.settle(table, { properties: { ...facts.properties, mainIdentity } });
  return {
    name: facts.properties.name,
    uuid: facts.uuid,
    main: main.path,
    difference,
    samplesCompared: comparison?.compared ?? 0,
    samplesDifferent: comparison?.different.length ?? 0,
    notes: [...notes, ...(await closeSession(open))],
  };
}

function refuseGeometry({ metadata }: OpenSpare, main: OpenedMain): void {
  const { mainSizeBytes, logicalBlockBytes } = metadata.facts;
  const { geometry } = main.device;
  const wrong =
    geometry.sizeBytes < mainSizeBytes
      ? `has ${geometry.sizeBytes} bytes, the table is for ${mainSizeBytes}`
      : geometry.logicalBlockBytes !== logicalBlockBytes
        ? `has logical blocks of ${geometry.logicalBlockBytes} bytes, the table is for ${logicalBlockBytes}`
        : undefined;
  if (wrong === undefined) return;
  throw new SetupError('refused', `${main.path}: ${wrong}: it cannot be the main of this spare`);
}

/** Undefined when there is nothing to compare with: the device was killed, or never closed by this version. */
async function compare(
  { metadata, disks }: OpenSpare,
  main: OpenedMain,
): Promise<StampComparison | undefined> {
  const { facts } = metadata;
  const { mainSizeBytes, granuleBytes } = facts;
  const stamp = facts.cleanlyClosed ? facts.properties.mainIdentity[stampKey] : undefined;
  const samples = parseStamp(stamp, mainSizeBytes, granuleBytes);
  if (samples === undefined) return undefined;
  return compareSamples(
    boundedReader(main.device, disks.plane.clock, compareDeadlineMs),
    granuleBytes,
    samples,
  );
}

function refuseContents(
  main: OpenedMain,
  comparison: StampComparison | undefined,
  granuleBytes: number,
): void {
  const what =
    comparison === undefined || comparison.compared === 0
      ? 'there is nothing to compare its contents with: the device did not end cleanly, or main cannot be read'
      : comparison.different.length > 0
        ? `main-changed: ${describeChange(comparison, granuleBytes)}`
        : undefined;
  if (what === undefined) return;
  throw new SetupError('refused', `${main.path}: ${what}; --accept-changes takes it as it is`);
}

async function stampOf(
  { metadata, disks }: OpenSpare,
  main: OpenedMain,
  table: RecordedState,
): Promise<Readonly<Record<string, string>>> {
  const { mainSizeBytes, granuleBytes } = metadata.facts;
  const places = samplePlaces(mainSizeBytes, granuleBytes, healthyIn(table));
  const readAt = boundedReader(main.device, disks.plane.clock, compareDeadlineMs);
  const samples = await takeSamples(readAt, granuleBytes, places);
  return samples.length === 0 ? {} : { [stampKey]: formatStamp(samples) };
}
