import { MetadataStore } from '../../metadata/metadata-store.ts';
import { joinedRun, type TableRun, tableRuns } from '../../remap/table/table-runs.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { setupErrorOf } from '../setup-failure.ts';
import { type Disks, type OpenedDisk, withDisks } from '../stack/disks.ts';

/** The table on a spare, plain data. */
export interface SpareTable {
  readonly name: string;
  readonly uuid: string;
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly granuleBytes: number;
  /** Where main was last seen; empty where nothing is recorded. */
  readonly mainPath: string;
  readonly sparePath: string;
  /** True when its device was not closed, so that there may be more by now. */
  readonly inUse: boolean;
  /** Ascending; neighbours of one kind are one run. */
  readonly runs: readonly TableRun[];
}

/** Reads the table of a spare, in use or not, and changes nothing. Throws `SetupError`. */
export async function readSpareTable(path: string, force: boolean): Promise<SpareTable> {
  try {
    return await withDisks(async (disks) => {
      const spare = await disks.open(path, 'none', 'look');
      try {
        return await read(disks, spare, force);
      } finally {
        await spare.device.close();
      }
    });
  } catch (error) {
    throw setupErrorOf(error, path);
  }
}

async function read(disks: Disks, spare: OpenedDisk, force: boolean): Promise<SpareTable> {
  const { arena, clock, random } = disks.plane;

  const { facts, records } = await MetadataStore.openReadOnly(
    { spare: spare.device, arena, clock, random },
    { force },
  );
  const runs: TableRun[] = [];
  for (const state of new RecordedState(records).granules()) {
    for (const run of tableRuns(state, facts.granuleBytes)) {
      const joined = joinedRun(runs.at(-1), run);
      if (joined === undefined) runs.push(run);
      else runs[runs.length - 1] = joined;
    }
  }
  return {
    name: facts.properties.name,
    uuid: facts.uuid,
    sizeBytes: facts.mainSizeBytes,
    logicalBlockBytes: facts.logicalBlockBytes,
    granuleBytes: facts.granuleBytes,
    mainPath: facts.properties.mainIdentity['path'] ?? '',
    sparePath: spare.path,
    inUse: !facts.cleanlyClosed,
    runs,
  };
}
