import type { SpareLayout } from '../../metadata/layout.ts';
import { type MappingRecord, noSlot } from '../../metadata/mapping-state.ts';
import type { ReplicaReport } from '../../metadata/metadata-store.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { SetupError } from '../setup-error.ts';
import type { OpenedDisk } from '../stack/disks.ts';

export interface CutSpareQuestion {
  readonly spare: OpenedDisk;
  readonly metadata: FoundMetadata;
  /** It is taken; what was moved there is lost. */
  readonly force: boolean;
  /** What a person types to take it. */
  readonly forcedBy?: string;
}

export interface CutSpareAnswer {
  readonly notes: readonly string[];
  /** Those that the spare has, and behind them what became of the slots that it lost. */
  readonly records: readonly MappingRecord[];
}

/** What is on the spare, or is about to be. */
interface FoundMetadata {
  readonly layout: SpareLayout;
  readonly records: readonly MappingRecord[];
  readonly report: { readonly replicas: readonly Pick<ReplicaReport, 'index' | 'offset' | 'condition'>[] };
}

/** Bytes from, and up to. */
type Hole = readonly [from: number, to: number];

/**
 * A spare image that was cut and made as large again: its slots would read as zeros that nobody wrote. A file that somebody
 * made holes in by copying it looks alike, but has all its metadata: so it is a member of the set whose superblocks lie in a
 * hole that tells. Throws `SetupError` refused, before anything is written; with `force` what lay there is `gone` (R4).
 */
export async function checkCutSpare(question: CutSpareQuestion): Promise<CutSpareAnswer> {
  const { spare, metadata, force, forcedBy = 'assemble --force' } = question;
  const { records } = metadata;
  const unchanged = { notes: [], records };
  const damaged = metadata.report.replicas.filter(({ condition }) => condition === 'damaged');
  if (spare.identity.kind !== 'file' || damaged.length === 0) return unchanged;
  const holes = await holesOf(spare, metadata.layout.spareSizeBytes);
  const blank = damaged.find(({ offset }) => isInHole(holes, offset));
  if (blank === undefined) return unchanged;
  const lost = lostSlots(metadata, holes);
  const what =
    `was cut and made as large again: replica ${blank.index} of its metadata is empty, and so are the places of ` +
    `${lost.length} moved granules`;
  if (!force) {
    throw new SetupError(
      'refused',
      `${spare.path}: spare-cut: ${what}; put a copy back, or lose what they held: ${forcedBy}`,
    );
  }
  return { notes: [`the spare ${what}, which are gone`], records: [...records, ...lost] };
}

function lostSlots(
  { layout, records }: Pick<FoundMetadata, 'layout' | 'records'>,
  holes: readonly Hole[],
): readonly MappingRecord[] {
  const { granuleBytes } = layout;
  const lost: MappingRecord[] = [];
  for (const state of new RecordedState(records).granules()) {
    if (state.slot === noSlot || state.held === 0) continue;
    if (!isInHole(holes, state.slot * granuleBytes)) continue;
    const gone = (state.gone | state.held) >>> 0;
    const cause = state.cause as Extract<MappingRecord, { type: 'granules' }>['cause'];
    // With its slot: there may be no room for more granules without one (M18).
    lost.push({ type: 'granules', granuleCount: 1, ...state, cause, held: 0, gone });
  }
  return lost;
}

/** Ascending. */
async function holesOf(spare: OpenedDisk, sizeBytes: number): Promise<readonly Hole[]> {
  const holes: Hole[] = [];
  for (let at = 0; at < sizeBytes; ) {
    for (const { state, length } of await spare.device.extents(at, sizeBytes - at)) {
      if (state !== 'data') holes.push([at, at + length]);
      at += length;
    }
  }
  return holes;
}

function isInHole(holes: readonly Hole[], offset: number): boolean {
  let low = 0;
  let high = holes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holes[middle]![1] <= offset) low = middle + 1;
    else high = middle;
  }
  const hole = holes[low];
  return hole !== undefined && hole[0] <= offset;
}
