import { sectorBytes } from '../../block/block-device.ts';
import { delay } from '../../block/clock.ts';
import type { RemapCore } from '../remap-core.ts';
import type { GranuleState } from './granule-table.ts';

/** Entries of the table looked at between two turns of the event loop: about 1 ms. */
const entriesPerSlice = 4096;
/** One message works this long, then says where to go on: its sender waits 10 s for the answer. */
export const messageWorkMsMax = 4000;

/** Why a walk is not to go on, or undefined. */
export type StopReason = string | undefined;

/** The reason to stop that an outcome gives: whatever comes next would have the same. */
export function stopReason(outcome: string | undefined): StopReason {
  if (outcome === 'main-away') return 'main does not answer';
  if (outcome === 'spare-away') return 'the spare does not answer';
  return outcome === 'metadata-failed' ? 'the record cannot be stored on the spare' : undefined;
}

export interface WalkOptions<T> {
  /** Granules, both included. */
  readonly first: number;
  readonly last: number;
  /** True when the device is closing or being suspended. */
  readonly stopped: () => boolean;
  /** Work on one granule. A reason ends the walk before the next one; the granule is not done then. */
  readonly visit: (granule: T) => Promise<StopReason>;
}

/** How far a walk came. */
export interface WalkEnd {
  /** The first granule not done and the last one; undefined when all were. */
  readonly left: { readonly first: number; readonly last: number } | undefined;
  readonly reason: StopReason;
}

/**
 * Visits the entries of a part of the table one after the other, each as it is when its turn comes, until the time of one
 * message is over. Whoever comes in between is served: at most one granule is locked at a time.
 */
export function walkTable(core: RemapCore, options: WalkOptions<GranuleState>): Promise<WalkEnd> {
  const visit = (granule: number) => options.visit(core.stateOf(granule));
  return walk(core, { ...options, visit }, (from) => core.table.atOrAfter(from)?.granule);
}

/** As `walkTable`, over every granule, also those without an entry. */
export function walkGranules(core: RemapCore, options: WalkOptions<number>): Promise<WalkEnd> {
  return walk(core, options, (from) => from);
}

async function walk(
  core: RemapCore,
  options: WalkOptions<number>,
  nextFrom: (granule: number) => number | undefined,
): Promise<WalkEnd> {
  const { clock } = core.parts;
  const deadlineMs = clock.nowMs() + messageWorkMsMax;
  const { last } = options;
  let visited = 0;
  let granule = nextFrom(options.first);
  while (granule !== undefined && granule <= last) {
    const left = { first: granule, last };
    if (visited > 0 && clock.nowMs() >= deadlineMs) return { left, reason: undefined };
    if (options.stopped()) return { left, reason: 'the device is closing or being suspended' };
    const reason = await options.visit(granule);
    if (reason !== undefined) return { left, reason };
    visited += 1;
    if (visited % entriesPerSlice === 0) await delay(clock, 0);
    granule = nextFrom(granule + 1);
  }
  return { left: undefined, reason: undefined };
}

/** Visits all entries without I/O, in slices: a million in one go would keep every request waiting. */
export async function lookAtTable(
  core: RemapCore,
  range: { readonly first: number; readonly last: number },
  look: (state: GranuleState) => 'go-on' | 'enough',
): Promise<void> {
  let visited = 0;
  let state = core.table.atOrAfter(range.first);
  while (state !== undefined && state.granule <= range.last) {
    if (look(state) === 'enough') return;
    visited += 1;
    if (visited % entriesPerSlice === 0) await delay(core.parts.clock, 0);
    state = core.table.atOrAfter(state.granule + 1);
  }
}

/** Counts by name, in the order in which a reply names them. */
export class Tally {
  readonly #counts: Map<string, number>;

  constructor(names: readonly string[]) {
    this.#counts = new Map(names.map((name) => [name, 0]));
  }

  add(name: string, count = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }

  /** `unremap: home 3, main-bad 1`; why the work stopped, if it did; `next SECTOR COUNT` when there is more to do. */
  reply(core: RemapCore, verb: string, end: WalkEnd): string {
    const counts = [...this.#counts].map(([name, count]) => `${name} ${count}`).join(', ');
    return [`${verb}: ${counts}`, ...leftLines(core, end)].join('\n');
  }
}

/** What a reply says of a walk that did not come to its end. */
export function leftLines(core: RemapCore, end: WalkEnd): string[] {
  const lines = end.reason === undefined ? [] : [`stopped: ${end.reason}`];
  if (end.left === undefined) return lines;
  const { granuleBytes, sizeBytes } = core.parts;
  const from = end.left.first * granuleBytes;
  const to = Math.min(sizeBytes, (end.left.last + 1) * granuleBytes);
  return [...lines, `next ${from / sectorBytes} ${(to - from) / sectorBytes}`];
}
