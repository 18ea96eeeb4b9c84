import { MetadataStore } from '../../metadata/metadata-store.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { setupErrorOf } from '../setup-failure.ts';
import { type Disks, type OpenedDisk, withDisks } from '../stack/disks.ts';

/** What is on a spare, plain data. */
export interface SpareReport {
  readonly path: string;
  readonly name: string;
  readonly uuid: string;
  readonly createdUnixSeconds: number;
  readonly mainSizeBytes: number;
  readonly spareSizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly granuleBytes: number;
  readonly slotsTotal: number;
  readonly generation: number;
  readonly lastSequence: number;
  readonly cleanlyClosed: boolean;
  readonly replicasValid: number;
  readonly replicasTotal: number;
  /** Of replicas that are not valid: which, and what is wrong. */
  readonly replicaNotes: readonly string[];
  readonly remappedGranules: number;
  readonly remappedSectors: number;
  readonly unreadableSectors: number;
  readonly freshZeroSectors: number;
  readonly goneSectors: number;
  readonly main: Readonly<Record<string, string>>;
  readonly spare: Readonly<Record<string, string>>;
}

/** Reads what is on a spare, in use or not, and changes nothing. Throws `SetupError`: not-a-spare when there is none. */
export async function examineSpare(path: string): Promise<SpareReport> {
  try {
    return await withDisks(async (disks) => {
      const spare = await disks.open(path, 'none', 'look');
      try {
        return await report(disks, spare);
      } finally {
        await spare.device.close();
      }
    });
  } catch (error) {
    throw setupErrorOf(error, path);
  }
}

async function report(disks: Disks, spare: OpenedDisk): Promise<SpareReport> {
  const { arena, clock, random } = disks.plane;
  // Never settled, so nothing is written; there is nothing to close either.
  const opened = await MetadataStore.open({ spare: spare.device, arena, clock, random }, { force: true });
  const { facts, layout, report: found } = opened;
  const totals = new RecordedState(opened.records).table.totals();
  return {
    path: spare.path,
    name: facts.properties.name,
    uuid: facts.uuid,
    createdUnixSeconds: facts.createdUnixSeconds,
    mainSizeBytes: facts.mainSizeBytes,
    spareSizeBytes: layout.spareSizeBytes,
    logicalBlockBytes: facts.logicalBlockBytes,
    granuleBytes: facts.granuleBytes,
    slotsTotal: layout.slotCount,
    generation: facts.generation,
    lastSequence: facts.lastSequence,
    cleanlyClosed: facts.cleanlyClosed,
    replicasValid: found.replicasValid,
    replicasTotal: found.replicasTotal,
    replicaNotes: found.replicas
      .filter((replica) => replica.condition !== 'valid')
      .map((replica) => `replica ${replica.index} at byte ${replica.offset}: ${replica.condition}`),
    remappedGranules: totals.remappedGranules,
    remappedSectors: totals.heldSectors,
    unreadableSectors: totals.unreadableSectors,
    freshZeroSectors: totals.freshZeroSectors,
    goneSectors: totals.goneSectors,
    main: facts.properties.mainIdentity,
    spare: facts.properties.spareIdentity,
  };
}
