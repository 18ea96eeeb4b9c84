import type { Clock, ScheduledAction } from '../../block/clock.ts';
import type { SectorSpan } from '../event-kinds.ts';

/** The first event of a quiet kind is told at once, what follows it within this in one line, and so on with twice the time. */
export const gatherWindowMinMs = 1_000;
/** Not longer: a process that is killed takes along what it has gathered and not told. */
export const gatherWindowMaxMs = 60_000;

/** One thing that happened, of which there may be thousands a second. */
export interface Gathered extends SectorSpan {
  /** Granules, or slots. */
  readonly count: number;
  /** By cause. */
  readonly causes: Readonly<Record<string, number>>;
}

interface Sum {
  sectors: number;
  firstSector: number;
  lastSector: number;
  count: number;
  readonly causes: Record<string, number>;
}

/** Gathers what happens to sectors into one line a window (I11). Nothing runs while nothing happens. */
export class SpanGatherer {
  readonly #clock: Clock;
  readonly #tell: (gathered: Gathered) => void;
  #sum: Sum | undefined;
  #windowMs = 0;
  #timer: ScheduledAction | undefined;
  #toldSoon = false;
  #closed = false;

  constructor(clock: Clock, tell: (gathered: Gathered) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** `sectors` of `firstSector` to `lastSector`. */
  add(sectors: number, firstSector: number, lastSector: number, cause = ''): void {
    if (this.#closed) return;
    const sum = this.#sumUpTo(firstSector, lastSector);
    sum.sectors += sectors;
    sum.count += 1;
    if (cause !== '') sum.causes[cause] = (sum.causes[cause] ?? 0) + 1;
    if (this.#timer !== undefined || this.#toldSoon) return;
    // Behind this turn: one commit of many granules is one line.
    this.#toldSoon = true;
    queueMicrotask(() => {
      this.#toldSoon = false;
      if (this.#closed) return;
      this.#tellNow();
      this.#begin(gatherWindowMinMs);
    });
  }

  /** Tells what is gathered, and stops. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#tellNow();
  }

  #sumUpTo(firstSector: number, lastSector: number): Sum {
    this.#sum ??= { sectors: 0, firstSector, lastSector, count: 0, causes: {} };
    this.#sum.firstSector = Math.min(this.#sum.firstSector, firstSector);
    this.#sum.lastSector = Math.max(this.#sum.lastSector, lastSector);
    return this.#sum;
  }

  #begin(windowMs: number): void {
    this.#windowMs = windowMs;
    this.#timer = this.#clock.schedule(windowMs, () => {
      this.#timer = undefined;
      if (this.#sum === undefined) return;
      this.#tellNow();
      this.#begin(Math.min(gatherWindowMaxMs, 2 * this.#windowMs));
    });
  }

  #tellNow(): void {
    const sum = this.#sum;
    if (sum === undefined) return;
    this.#sum = undefined;
    this.#tell(sum);
  }
}
