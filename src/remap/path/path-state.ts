import type { Clock, ScheduledAction } from '../../block/clock.ts';

/** The first probe of an outage comes this soon, each later one after twice the time, up to `reprobeMaxMs` (R17). */
export const reprobeMs = 100;
export const reprobeMaxMs = 2000;
/** Once the hold window is over, whoever comes is answered at once, except for one a second who asks the device again. */
export const lateProbeMs = 1000;

export interface PathStateParts {
  readonly clock: Clock;
  /** How long requests are held from the first failure on; asked anew each time (R17). */
  readonly holdMs: () => number;
  /** Asks the device again, past what an earlier probe said. */
  readonly probe: () => Promise<boolean>;
  /** An outage has begun, or ended after `awayMs`. */
  readonly onChange: (failed: boolean, awayMs: number) => void;
}

/**
 * Whether a device can be reached, for one direction of requests, and those who wait for it.
 *
 *     works --noteFailed--> held: probes with back-off --window over--> refused: one probe a second, while somebody comes
 *       ^                       |                                          |
 *       +--- noteWorked --------+------------------------------------------+
 *
 * Whoever waits holds no lock, no ticket and no memory of ours. Nothing runs while nobody waits (I24).
 */
export class PathState {
  readonly #parts: PathStateParts;
  readonly #waiting: ((works: boolean) => void)[] = [];
  /** When the outage began; undefined: there is none. */
  #sinceMs: number | undefined;
  /** When the last one did, whatever windows an operator opened since. */
  #outageMs = 0;
  #refused = false;
  /** The device has said in this outage that it has gone. */
  #goneNoted = false;
  #closed = false;
  #asking = false;
  #lastAskedMs = 0;
  #backOffMs: number = reprobeMs;
  #nextProbe: ScheduledAction | undefined;
  #windowEnd: ScheduledAction | undefined;
  #outages = 0;

  constructor(parts: PathStateParts) {
    this.#parts = parts;
  }

  get failed(): boolean {
    return this.#sinceMs !== undefined;
  }

  /** Requests are not held but refused, until a probe is good. */
  get refused(): boolean {
    return this.#refused;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  get outages(): number {
    return this.#outages;
  }

  /** A probe has failed, or the device said that it is gone. */
  noteFailed(): void {
    if (this.#sinceMs !== undefined) return;
    this.#sinceMs = this.#parts.clock.nowMs();
    this.#outageMs = this.#sinceMs;
    this.#lastAskedMs = this.#sinceMs;
    this.#backOffMs = reprobeMs;
    this.#outages += 1;
    this.#parts.onChange(true, 0);
  }

  /**
   * The device says that it has gone. Where it was away already something else is wrong from now on, perhaps that somebody
   * changes the cable: who comes has a whole window, once in an outage. Those who wait keep theirs.
   */
  noteGone(): void {
    this.noteFailed();
    if (this.#refused || this.#goneNoted) return;
    this.#goneNoted = true;
    this.#sinceMs = this.#parts.clock.nowMs();
    this.#backOffMs = reprobeMs;
  }

  /** As `noteFailed`, and nobody is held: there is nothing that waiting could mend (R16). */
  refuse(): void {
    this.noteFailed();
    this.#refused = true;
    this.#answer(false);
  }

  /** The device has answered as it should: everybody who waits goes on. */
  noteWorked(): void {
    if (this.#sinceMs === undefined) return;
    const awayMs = this.#parts.clock.nowMs() - this.#outageMs;
    this.#sinceMs = undefined;
    this.#refused = false;
    this.#goneNoted = false;
    this.#parts.onChange(false, awayMs);
    this.#answer(true);
  }

  /** True when the device works, at once or after waiting; false when the window is over and it does not. */
  whenWorking(): Promise<boolean> {
    if (this.#sinceMs === undefined) return Promise.resolve(true);
    if (this.#closed) return Promise.resolve(false);
    const leftMs = this.#refused ? 0 : this.#sinceMs + this.#parts.holdMs() - this.#parts.clock.nowMs();
    if (leftMs <= 0) return this.#askLate();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#windowEnd ??= this.#parts.clock.schedule(leftMs, () => this.#answer(false));
      if (!this.#asking) this.#armProbe();
    });
  }

  /** An operator says that it may work again: a new window, and a probe at once. */
  async retry(): Promise<boolean> {
    if (this.#sinceMs === undefined || this.#closed) return true;
    this.#sinceMs = this.#parts.clock.nowMs();
    this.#refused = false;
    return await this.#ask();
  }

  /** Nobody waits any more: the device closes (I6). */
  close(): void {
    this.#closed = true;
    this.#answer(false);
  }

  #armProbe(): void {
    this.#nextProbe ??= this.#parts.clock.schedule(this.#backOffMs, () => void this.#askForWaiting());
  }

  async #askForWaiting(): Promise<void> {
    this.#nextProbe = undefined;
    this.#backOffMs = Math.min(reprobeMaxMs, this.#backOffMs * 2);
    await this.#ask();
  }

  async #askLate(): Promise<boolean> {
    const tooSoon = this.#parts.clock.nowMs() - this.#lastAskedMs < lateProbeMs;
    return this.#asking || tooSoon ? false : await this.#ask();
  }

  async #ask(): Promise<boolean> {
    this.#asking = true;
    this.#lastAskedMs = this.#parts.clock.nowMs();
    const works = await this.#parts.probe();
    this.#asking = false;
    if (works) this.noteWorked();
    else if (this.#waiting.length > 0) this.#armProbe();
    return works;
  }

  #answer(works: boolean): void {
    this.#nextProbe?.cancel();
    this.#nextProbe = undefined;
    this.#windowEnd?.cancel();
    this.#windowEnd = undefined;
    for (const resolve of this.#waiting.splice(0)) resolve(works);
  }
}
