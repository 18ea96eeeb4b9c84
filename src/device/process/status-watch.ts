import type { Clock, ScheduledAction } from '../../block/clock.ts';
import type { RemapSummary } from '../messages.ts';
import type { DaemonLog } from './daemon-log.ts';

/** How often the log may say that something changed; between two looks nothing is kept and nothing counted. */
export const watchIntervalMs = 10_000;

const watched = ['remappedGranules', 'unreadableSectors', 'goneSectors', 'slotsRetired'] as const;

/** Tells the log what became of the disk: the data plane itself never writes a line for a request (I11). */
export class StatusWatch {
  readonly #clock: Clock;
  readonly #read: () => RemapSummary;
  readonly #log: DaemonLog;
  #before: RemapSummary;
  #timer: ScheduledAction;

  constructor(clock: Clock, read: () => RemapSummary, log: DaemonLog) {
    this.#clock = clock;
    this.#read = read;
    this.#log = log;
    this.#before = read();
    this.#timer = this.#nextLook();
  }

  /** Tells what changed last, and stops. */
  close(): void {
    this.#timer.cancel();
    this.#look();
  }

  #nextLook(): ScheduledAction {
    return this.#clock.schedule(watchIntervalMs, () => {
      this.#look();
      this.#timer = this.#nextLook();
    });
  }

  #look(): void {
    const now = this.#read();
    const before = this.#before;
    this.#before = now;
    if (now.state !== before.state) {
      const details = { from: before.state, to: now.state };
      if (now.state === 'ok') this.#log.info('state changed', details);
      else this.#log.error('state changed', details);
    }
    const changes = watched.filter((name) => now[name] !== before[name]);
    if (changes.length === 0) return;
    this.#log.warn('the disk changed', Object.fromEntries(changes.map((name) => [name, now[name]])));
  }
}
