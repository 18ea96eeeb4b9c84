import { stat } from 'node:fs/promises';
import type { Clock } from '../../block/clock.ts';
import type { StackStatus } from '../stack/served-stack.ts';

/** How long a start waits to say how disks were set up. A disk that takes longer is told of by `status`. */
export const tuningWaitMs = 2_000;

/** Whether a disk of the device may be set up for recovering errors: not one that is an image, a table or another machine's. */
export async function tunesDisks({
  main,
  spare,
  remap,
}: Pick<StackStatus, 'main' | 'spare' | 'remap'>): Promise<boolean> {
  if (remap.changedPolicies['tune'] === 'off') return false;
  for (const disk of spare === null ? [main] : [main, spare]) {
    if (disk.access !== 'direct') continue;
    // It is open, so it is there; and if it has gone meanwhile there is nothing to set up.
    const facts = await stat(disk.path).catch(() => undefined);
    if (facts?.isBlockDevice() === true) return true;
  }
  return false;
}

/** What the control plane says about setting disks up, which may take as long as a dying disk does. */
export class TuningNotes {
  readonly #clock: Clock;
  #notes: readonly string[] = [];
  #isDone = false;
  #wake: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get notes(): readonly string[] {
    return this.#notes;
  }

  done(notes: readonly string[]): void {
    this.#notes = notes;
    this.#isDone = true;
    this.#wake();
  }

  /** Resolves when it is done, or after `tuningWaitMs`. */
  someTime(): Promise<void> {
    if (this.#isDone) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#clock.schedule(tuningWaitMs, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}
