import { spareUsedPercent, spareWarnPercent } from '../../remap/spare-use.ts';
import type { EventSink } from '../event-kinds.ts';

export interface SlotCounts {
  readonly total: number;
  readonly free: number;
}

/** A warning is given again when so much of the spare was free again: a spare at its border is no stream of warnings. */
export const warnAgainPercent = 5;

/** Warns once when so much of a spare is used (`spareWarnPercents`). That it is full, or has failed, is a state of its own. */
export class SpareFilling {
  readonly #events: EventSink;
  /** The highest that was told of and still holds; 0 for none. */
  #told = 0;

  constructor(events: EventSink) {
    this.#events = events;
  }

  /** Three divisions: called whenever a granule has changed. */
  look({ total, free }: SlotCounts): void {
    const percent = spareUsedPercent(total, free);
    const reached = spareWarnPercent(percent);
    if (reached > this.#told) {
      this.#told = reached;
      this.#events.append({ kind: 'spare-filling', percent, slotsFree: free, slotsTotal: total });
    } else if (reached < this.#told) {
      this.#told = Math.max(reached, spareWarnPercent(percent + warnAgainPercent));
    }
  }
}
