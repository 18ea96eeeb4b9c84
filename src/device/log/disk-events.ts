import { sectorBytes } from '../../block/block-device.ts';
import type { Clock, ScheduledAction } from '../../block/clock.ts';
import { noSlot, StateCause, StateFlags } from '../../metadata/mapping-state.ts';
import type { DevicePlace, PathChange } from '../../remap/path/device-paths.ts';
import type { RemapObserver } from '../../remap/remap-observer.ts';
import type { GranuleState } from '../../remap/table/granule-table.ts';
import { runsOf, sectorCountOf } from '../../remap/table/sector-mask.ts';
import type { EventSink, SectorSpan } from '../event-kinds.ts';
import { type Gathered, SpanGatherer } from './span-gatherer.ts';
import { type SlotCounts, SpareFilling } from './spare-filling.ts';

/** For changes that nobody tells of: a slot that became free long after its record. */
export const stateLookIntervalMs = 10_000;
/** A full file system refuses every write: one line tells of all in this time. */
export const noRoomIntervalMs = 60_000;

export interface DiskEventsParts {
  readonly clock: Clock;
  /** For what is done from time to time. */
  readonly ticks: Clock;
  readonly events: EventSink;
  readonly granuleBytes: number;
  /** `RemapState`; asked behind the turn in which it may have changed. */
  readonly state: () => string;
  /** Slots of the spare; asked with `state`. */
  readonly slots: () => SlotCounts;
}

const causeNames = new Map<number, string>(Object.entries(StateCause).map(([name, cause]) => [cause, name]));

/**
 * Makes events of what becomes of the two disks: remap tells it of each change of a granule, and it tells the log some lines,
 * however many there are. Called off the healthy path only, and quick: a comparison of masks and some sums.
 */
export class DiskEvents implements RemapObserver {
  readonly #parts: DiskEventsParts;
  readonly #remapped: SpanGatherer;
  readonly #saved: SpanGatherer;
  readonly #takenHome: SpanGatherer;
  readonly #unreadable: SpanGatherer;
  readonly #gone: SpanGatherer;
  readonly #cleared: SpanGatherer;
  readonly #retired: SpanGatherer;
  readonly #filling: SpareFilling;
  /** By disk: when it was last told, and what was refused since. */
  readonly #noRoom = new Map<DevicePlace, { toldMs: number; writes: number }>();
  #state: string;
  #looksSoon = false;
  #closed = false;
  #timer: ScheduledAction;

  constructor(parts: DiskEventsParts) {
    this.#parts = parts;
    this.#state = parts.state();
    const { clock, events } = parts;
    this.#filling = new SpareFilling(events);
    const gather = (tell: (gathered: Gathered) => void): SpanGatherer => new SpanGatherer(clock, tell);
    this.#remapped = gather((gathered) => {
      const { count: granules, causes } = gathered;
      events.append({ kind: 'remapped', granules, ...spanOf(gathered), causes });
    });
    this.#saved = gather((gathered) =>
      events.append({ kind: 'saved-by-salvage', granules: gathered.count, ...spanOf(gathered) }),
    );
    this.#takenHome = gather((gathered) =>
      events.append({ kind: 'taken-home', granules: gathered.count, ...spanOf(gathered) }),
    );
    this.#unreadable = gather((gathered) => events.append({ kind: 'unreadable', ...spanOf(gathered) }));
    this.#gone = gather((gathered) => events.append({ kind: 'gone', ...spanOf(gathered) }));
    this.#cleared = gather((gathered) => events.append({ kind: 'lost-cleared', ...spanOf(gathered) }));
    this.#retired = gather((gathered) =>
      events.append({ kind: 'slot-retired', slots: gathered.count, ...spanOf(gathered) }),
    );
    this.#timer = this.#nextLook();
    this.stateMayHaveChanged();
  }

  granuleChanged(before: GranuleState, after: GranuleState): void {
    const { granule } = after;
    if (after.slot !== noSlot && before.slot === noSlot) {
      const saved = after.cause === StateCause.salvage;
      this.#add(saved ? this.#saved : this.#remapped, granule, after.held, causeNames.get(after.cause));
    }
    if (after.slot === noSlot && before.slot !== noSlot) this.#add(this.#takenHome, granule, before.held);
    const unreadable = unreadableOf(after);
    const unreadableBefore = unreadableOf(before);
    this.#add(this.#unreadable, granule, unreadable & ~unreadableBefore);
    this.#add(this.#gone, granule, after.gone & ~before.gone);
    this.#add(this.#cleared, granule, (unreadableBefore | before.gone) & ~(unreadable | after.gone));
    this.stateMayHaveChanged();
  }

  slotRetired(slot: number): void {
    const sectors = this.#parts.granuleBytes / sectorBytes;
    this.#retired.add(sectors, slot * sectors, (slot + 1) * sectors - 1);
    this.stateMayHaveChanged();
  }

  pathChanged(failed: boolean, { disk: place, direction, awayMs }: PathChange): void {
    const { events } = this.#parts;
    const disk = diskOf(place);
    if (failed) events.append({ kind: 'path-lost', disk, direction });
    else events.append({ kind: 'path-back', disk, direction, awayMs: Math.round(awayMs) });
    this.stateMayHaveChanged();
  }

  roomRefused(disk: DevicePlace): void {
    const nowMs = this.#parts.clock.nowMs();
    const { toldMs, writes } = this.#noRoom.get(disk) ?? { toldMs: -noRoomIntervalMs, writes: 0 };
    const isDue = nowMs - toldMs >= noRoomIntervalMs;
    if (isDue) this.#parts.events.append({ kind: 'no-room', disk: diskOf(disk), writes: writes + 1 });
    this.#noRoom.set(disk, isDue ? { toldMs: nowMs, writes: 0 } : { toldMs, writes: writes + 1 });
  }

  stateMayHaveChanged(): void {
    if (this.#looksSoon) return;
    this.#looksSoon = true;
    // Behind this turn: whoever tells is in the middle of the change.
    queueMicrotask(() => {
      this.#looksSoon = false;
      if (!this.#closed) this.#look();
    });
  }

  /** Tells what is not told yet, and stops. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer.cancel();
    for (const gatherer of [
      this.#remapped,
      this.#saved,
      this.#takenHome,
      this.#unreadable,
      this.#gone,
      this.#cleared,
      this.#retired,
    ]) {
      gatherer.close();
    }
    this.#look();
  }

  #add(gatherer: SpanGatherer, granule: number, mask: number, cause?: string): void {
    if (mask === 0) return;
    const runs = runsOf(mask);
    const start = (granule * this.#parts.granuleBytes) / sectorBytes;
    const first = start + runs[0]!.from / sectorBytes;
    const last = start + runs.at(-1)!.to / sectorBytes - 1;
    gatherer.add(sectorCountOf(mask), first, last, cause);
  }

  #look(): void {
    this.#filling.look(this.#parts.slots());
    const to = this.#parts.state();
    if (to === this.#state) return;
    const from = this.#state;
    this.#state = to;
    this.#parts.events.append({ kind: 'state-changed', from, to });
  }

  #nextLook(): ScheduledAction {
    return this.#parts.ticks.schedule(stateLookIntervalMs, () => {
      this.#look();
      this.#timer = this.#nextLook();
    });
  }
}

/** R13: what was never written is no loss; it reads as zeros. */
function unreadableOf({ unreadable, flags }: GranuleState): number {
  return (flags & StateFlags.freshZero) === 0 ? unreadable : 0;
}

function spanOf({ sectors, firstSector, lastSector }: Gathered): SectorSpan {
  return { sectors, firstSector, lastSector };
}

/** Which of several spares it is stands in `spare list`. */
function diskOf(place: DevicePlace): 'main' | 'spare' {
  return place === 'main' ? 'main' : 'spare';
}
