import type { Clock } from '../../block/clock.ts';
import { OpenError } from '../../io/open-error.ts';
import type { MappingRecord } from '../../metadata/mapping-state.ts';
import type { DeviceFacts } from '../../metadata/metadata-store.ts';
import { RecordedState } from '../host/recorded-state.ts';
import type { MainChoice } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { boundedReader } from '../stack/bounded-read.ts';
import type { OpenedMain } from '../stack/disks.ts';
import { describeCut } from './cut-main.ts';
import { identityDifference, isProven } from './main-identity.ts';
import { compareSamples, parseStamp, type StampComparison, stampKey } from './main-stamp.ts';

/** Comparing 64 granules takes a second on the slowest healthy disk; what a dying one does not give by then is not compared. */
export const compareDeadlineMs = 5_000;

export interface MainQuestion {
  readonly main: OpenedMain;
  readonly facts: DeviceFacts;
  readonly records: readonly MappingRecord[];
  readonly clock: Clock;
  /** A person named this main; else it is where the spare last saw one. */
  readonly named: boolean;
  /** Another disk is taken, when it carries the same. */
  readonly acceptMain: boolean;
  /** A main that was written to is taken. */
  readonly acceptChanges: boolean;
}

/**
 * M15: is this the main that the table is about, and does it hold what it held? Throws `SetupError` refused when not, before
 * anything was written; resolves to notes about what was accepted.
 */
export async function checkMain(question: MainQuestion): Promise<readonly string[]> {
  const { main, facts, acceptMain } = question;
  const recorded = facts.properties.mainIdentity;
  refuseShrunk(main, facts.mainSizeBytes);
  const difference = identityDifference(recorded, main);
  if (difference !== undefined && !acceptMain) {
    throw refused(
      `${main.path}: is not the main of this spare: ${difference}; --accept-main takes it when it carries the same`,
    );
  }
  if (!question.named && !isProven(recorded, main)) {
    throw refused(
      `${main.path}: has no WWN and no serial, so nobody can tell whether it still is the main of this spare; ` +
        `when you know that it is: --main ${main.path}`,
    );
  }
  const notes = difference === undefined ? [] : [`main was changed: ${difference}`];
  return [...notes, ...(await checkContents(question))];
}

/** M21: nothing can be accepted about it, so nothing is advised but to look. */
function refuseShrunk({ device, path }: OpenedMain, mainSizeBytes: number): void {
  const { sizeBytes } = device.geometry;
  if (sizeBytes >= mainSizeBytes) return;
  throw refused(
    `${path}: is ${sizeBytes} bytes, and was ${mainSizeBytes} when its table was made: what lay behind its end is not there; ` +
      'give it its size back, or name the right disk with --main',
  );
}

async function checkContents(question: MainQuestion): Promise<readonly string[]> {
  const { main, facts, records, clock, acceptChanges } = question;
  const { mainSizeBytes, granuleBytes } = facts;
  const cut = describeCut(facts.properties.mainIdentity);
  if (cut !== undefined) {
    if (acceptChanges) return [`main-changed, accepted: ${cut}`];
    throw refused(
      `${main.path}: main-changed: ${cut}: when its bytes are back, or when you know what you do: --accept-changes takes it as it is`,
    );
  }
  // After a kill the stamp is of an earlier session: main was written to since, by ourselves.
  const stamp = facts.cleanlyClosed ? facts.properties.mainIdentity[stampKey] : undefined;
  const samples = parseStamp(stamp, mainSizeBytes, granuleBytes);
  if (samples === undefined || main.device.geometry.sizeBytes < mainSizeBytes) return [];
  const readAt = boundedReader(main.device, clock, compareDeadlineMs);
  const comparison = await compareSamples(readAt, granuleBytes, samples);
  if (comparison.different.length === 0) return [];
  const what = describeChange(comparison, granuleBytes);
  // With an empty table main alone has all data: whoever wrote to it did no harm.
  if (new RecordedState(records).table.totals().entries === 0)
    return [`main-changed: ${what}; the table is empty, so nothing is hidden by it`];
  if (acceptChanges) return [`main-changed, accepted: ${what}`];
  throw refused(
    `${main.path}: main-changed: ${what}: somebody wrote to the raw disk, or it is another one; blocks that were moved ` +
      'are still served from the spare, so the two may not fit together any more; --accept-changes takes it as it is',
  );
}

/** `3 of 64 samples differ since the last clean close, first at sector 128` */
export function describeChange({ compared, different }: StampComparison, granuleBytes: number): string {
  const sector = ((different[0] ?? 0) * granuleBytes) / 512;
  const verb = different.length === 1 ? 'differs' : 'differ';
  return `${different.length} of ${compared} samples ${verb} since the last clean close, first at sector ${sector}`;
}

function refused(message: string): SetupError {
  return new SetupError('refused', message);
}

/** A main that is not where the spare last saw it: the operator never named this path, so he is told where it is from. */
export function missingMain(error: unknown, recorded: MainChoice): unknown {
  if (!(error instanceof OpenError) || error.code !== 'OPEN_NOT_FOUND') return error;
  const hint =
    recorded.kind === 'table'
      ? `the table ${recorded.label} names it, and names count from the current folder`
      : 'there the spare last saw its main, --main names another place';
  return new SetupError('not-found', `${error.message}; ${hint}`, { cause: error });
}
