import type { Alert } from './alert.ts';

/** How far somebody has been told of one source. */
interface Told {
  readonly sequence: number;
  readonly orderMs: number;
}

/** By source, as it is stored. */
export type StoredPosition = Readonly<Record<string, Told>>;

type Place = Pick<Alert, 'source' | 'sequence' | 'orderMs'>;

/** Sources that are remembered; those that came first are forgotten first. */
const sourcesMax = 1_000;

/** Up to where one receiver has heard of each source, so that nothing is told twice and nothing is left out over a restart. */
export class AlertPosition {
  readonly #told: Map<string, Told>;

  constructor(stored: StoredPosition = {}) {
    this.#told = new Map(Object.entries(stored));
  }

  /**
   * Numbers of one log go up, also over restarts of its device. A log that was deleted begins at 1 again, and is later; a clock
   * that went back does not matter, for the latest time is kept.
   */
  isNew({ source, sequence, orderMs }: Place): boolean {
    const told = this.#told.get(source);
    return told === undefined || sequence > told.sequence || orderMs > told.orderMs;
  }

  advance({ source, sequence, orderMs }: Place): void {
    const told = this.#told.get(source) ?? { sequence: 0, orderMs: 0 };
    // Later with a lower number: the log is a new one.
    const isNewLog = orderMs > told.orderMs;
    this.#told.set(source, {
      sequence: isNewLog ? sequence : Math.max(told.sequence, sequence),
      orderMs: Math.max(told.orderMs, orderMs),
    });
  }

  /** `isThere` says which sources still exist. */
  stored(isThere: (source: string) => boolean): StoredPosition {
    const entries = [...this.#told].filter(([source]) => isThere(source));
    return Object.fromEntries(entries.slice(-sourcesMax));
  }
}
