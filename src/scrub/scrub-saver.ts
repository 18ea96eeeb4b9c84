import type { Clock } from '../block/clock.ts';
import { saveWaitMs } from './scrub-limits.ts';
import { encodeScrubRecord, type ScrubRecord } from './scrub-record.ts';

/**
 * Puts what is known of scrubs on the spare. `full`: there is no room for so much of it; `failed`: the spare does not take it.
 * Never rejects.
 */
export type StoreScrub = (record: Readonly<Record<string, string>>) => Promise<'stored' | 'full' | 'failed'>;

const notTaken = 'the spare does not take where the scrub is';

/** Stores the newest record, one write at a time: what comes meanwhile is stored next, and only the last of it. */
export class ScrubSaver {
  readonly #store: StoreScrub;
  readonly #spareWorks: () => Promise<boolean>;
  readonly #clock: Clock;
  #next: ScrubRecord | undefined;
  #running: Promise<void> | undefined;
  /** The device closes: what is stored now is the last, and nobody asks first. */
  #closed = false;
  saves = 0;
  /** One clause; empty while what is known is stored. */
  trouble = '';

  constructor(store: StoreScrub, spareWorks: () => Promise<boolean>, clock: Clock) {
    this.#store = store;
    this.#spareWorks = spareWorks;
    this.#clock = clock;
  }

  save(record: ScrubRecord): void {
    if (this.#closed) return;
    this.#next = record;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Resolves when all is stored or cannot be, and after `saveWaitMs` in any case. */
  saved(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#clock.schedule(saveWaitMs, resolve);
      void running.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  close(): void {
    this.#closed = true;
  }

  /** What could not be stored is tried again by the next `save`. */
  get isBehind(): boolean {
    return this.trouble !== '';
  }

  async #run(): Promise<void> {
    while (this.#next !== undefined) {
      const record = this.#next;
      this.#next = undefined;
      await this.#storeWhatFits(record);
    }
  }

  /** Of a full superblock the oldest results go first. */
  async #storeWhatFits({ pass, ended }: ScrubRecord): Promise<void> {
    // A superblock that cannot be written costs a replica its place: not for this.
    if (!this.#closed && !(await this.#spareWorks())) {
      this.trouble = notTaken;
      return;
    }
    for (let kept = ended.length; kept >= 0; kept -= 1) {
      const outcome = await this.#store(encodeScrubRecord({ pass, ended: ended.slice(0, kept) }));
      if (outcome === 'full') continue;
      if (outcome === 'stored') this.saves += 1;
      this.trouble = outcome === 'stored' ? '' : notTaken;
      return;
    }
    this.trouble = 'the superblock of the spare has no room for where the scrub is';
  }
}
