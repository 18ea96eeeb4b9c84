import type { Clock, ScheduledAction } from '../../block/clock.ts';
import type { DeviceEvent, EventKind } from '../event-kinds.ts';

/** More may come with the first: the control plane is told once for all of this time. */
export const newsDelayMs = 5_000;

/** Events that a disk's health may be another one for. */
const kinds: ReadonlySet<EventKind> = new Set<EventKind>([
  'unclean-end',
  'remapped',
  'saved-by-salvage',
  'unreadable',
  'gone',
  'lost-cleared',
  'taken-home',
  'slot-retired',
  'spare-filling',
  'spare-replaced',
  'state-changed',
  'path-lost',
  'replica-lost',
  'replica-repaired',
  'stuck-requests',
  'slow-blocks',
  'no-room',
]);

/** Lets the control plane know that there is something to look at; a timer runs only while there is. */
export class DiskNews {
  readonly #ticks: Clock;
  readonly #tell: () => void;
  #timer: ScheduledAction | undefined;
  #closed = false;

  /** `ticks`: for what is done from time to time. */
  constructor(ticks: Clock, tell: () => void) {
    this.#ticks = ticks;
    this.#tell = tell;
  }

  look({ kind }: DeviceEvent): void {
    if (this.#closed || this.#timer !== undefined || !kinds.has(kind)) return;
    this.#timer = this.#ticks.schedule(newsDelayMs, () => {
      this.#timer = undefined;
      this.#tell();
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
