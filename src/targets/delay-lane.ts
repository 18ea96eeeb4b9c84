import { type BlockDevice, sectorBytes } from '../block/block-device.ts';
import type { Clock, ScheduledAction } from '../block/clock.ts';
import { shiftedError } from '../mapping/split-request.ts';
import { escapeWord } from '../mapping/table-syntax.ts';

/** Where requests of one kind go, and after how long. */
export interface DelayPlace {
  readonly path: string;
  readonly below: BlockDevice;
  /** Bytes of the device before the segment. */
  readonly shiftBytes: number;
  readonly delayMs: number;
}

/** Takes a request on: the device below, and the request's place there. */
type Pass = (below: BlockDevice, offset: number) => Promise<void>;

/** Requests of one kind on their way to one device, each waiting the same time before it is sent. */
export class DelayLane {
  readonly below: BlockDevice;
  /** For requests to come. */
  delayMs: number;
  readonly #clock: Clock;
  readonly #deviceName: string;
  readonly #place: DelayPlace;
  /** In the order in which they came. */
  readonly #held = new Map<() => void, ScheduledAction>();
  #holds = true;
  #inFlight = 0;
  #resolveIdle: (() => void) | undefined;

  constructor(clock: Clock, deviceName: string, place: DelayPlace) {
    this.#clock = clock;
    this.#deviceName = deviceName;
    this.#place = place;
    this.below = place.below;
    this.delayMs = place.delayMs;
  }

  get shiftBytes(): number {
    return this.#place.shiftBytes;
  }

  /** How many wait now. */
  get waiting(): number {
    return this.#held.size;
  }

  /** Takes on one request of the segment. */
  async send(offset: number, pass: Pass): Promise<void> {
    const { shiftBytes } = this.#place;
    try {
      await this.hold(() => pass(this.below, offset + shiftBytes));
    } catch (error) {
      throw shiftBytes === 0 ? error : shiftedError(this.#deviceName, error, -shiftBytes);
    }
  }

  /** Calls `pass` after the delay, once; its answer is the request's. */
  async hold(pass: () => Promise<void>): Promise<void> {
    this.#inFlight += 1;
    try {
      if (this.delayMs > 0 && this.#holds) await this.#wait();
      await pass();
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#resolveIdle?.();
    }
  }

  /** Whoever waits is sent now, and nobody waits until `resume`. */
  sendAllNow(): void {
    this.#holds = false;
    for (const [go, scheduled] of [...this.#held]) {
      scheduled.cancel();
      go();
    }
  }

  resume(): void {
    this.#holds = true;
  }

  /** Resolves when every request has its answer. Called once, when no more come. */
  idle(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#resolveIdle = resolve;
    });
  }

  /** Its three words in a table line. */
  describe(): string {
    return `${escapeWord(this.#place.path)} ${this.#place.shiftBytes / sectorBytes} ${this.delayMs}`;
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        this.#held.delete(go);
        resolve();
      };
      this.#held.set(go, this.#clock.schedule(this.delayMs, go));
    });
  }
}
