import { RecordedState } from '../host/recorded-state.ts';
import type { MainChoice } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { checkSpare } from '../spare/spare-identity.ts';
import type { OpenedMain } from '../stack/disks.ts';
import { closeSession, type OpenSpare, withOpenSpare } from '../stack/open-spare.ts';
import { identityDifference, recordedMain } from './main-identity.ts';

export interface ResizeMainOptions {
  readonly path: string;
  /** Default: where the spare last saw its main. */
  readonly main?: MainChoice;
  /** Also a spare that somebody marks as in use (M11). */
  readonly takeover: boolean;
  readonly stateDirectory: string | undefined;
}

export interface ResizeMainReport {
  readonly name: string;
  readonly main: string;
  readonly bytesBefore: number;
  readonly bytesNow: number;
  readonly notes: readonly string[];
}

/**
 * M21: a device whose main has grown gets its new size, while it is not served. Nothing is written to main, and nothing to
 * the spare before all was checked. Throws `SetupError`; a main that is smaller than the table is refused.
 */
export function resizeMain(options: ResizeMainOptions): Promise<ResizeMainReport> {
  const { path, takeover, stateDirectory } = options;
  return withOpenSpare({ path, takeover, stateDirectory, force: false }, async (open) => {
    const { facts } = open.metadata;
    const notes = await checkSpare({
      spare: open.spare,
      facts,
      hostState: open.hostState,
      force: false,
      tool: true,
    });
    const main = await open.disks.openMain(
      options.main ?? recordedMain(facts.properties.mainIdentity),
      'none',
    );
    try {
      return await resize(open, main, notes);
    } finally {
      await main.device.close();
    }
  });
}

async function resize(
  open: OpenSpare,
  main: OpenedMain,
  notes: readonly string[],
): Promise<ResizeMainReport> {
  const { facts, store, records } = open.metadata;
  const { geometry } = main.device;
  const difference = identityDifference(facts.properties.mainIdentity, main);
  if (difference !== undefined) {
    throw new SetupError(
      'refused',
      `${main.path}: is not the main of this spare: ${difference}; dm-remap adopt-main takes a copy of it`,
    );
  }
  const bytesBefore = facts.mainSizeBytes;
  const bytesNow = geometry.sizeBytes - (geometry.sizeBytes % facts.logicalBlockBytes);
  if (bytesNow < bytesBefore) {
    throw new SetupError(
      'refused',
      `${main.path}: has ${geometry.sizeBytes} bytes, the table is for ${bytesBefore}: a main that became smaller has lost data`,
    );
  }
  const report = { name: facts.properties.name, main: main.path, bytesBefore, bytesNow };
  if (bytesNow === bytesBefore) return { ...report, notes };
  await store.settle(new RecordedState(records));
  await store.updateMainSize(bytesNow);
  return { ...report, notes: [...notes, ...(await closeSession(open))] };
}
