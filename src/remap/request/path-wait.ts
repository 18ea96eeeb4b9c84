import { delay } from '../../block/clock.ts';
import type { FailedRange } from '../../block/device-error.ts';
import type { DevicePlace } from '../path/device-paths.ts';
import { reprobeMaxMs, reprobeMs } from '../path/path-state.ts';
import type { ProbeDirection } from '../path/probe-round.ts';
import type { RemapCore } from '../remap-core.ts';
import type { ByteRange } from './request-rounds.ts';

interface WaitingRange {
  readonly range: FailedRange;
  readonly place: DevicePlace;
}

/**
 * The ranges of one request that wait for their device (R17): their bytes are unanswered, so they are sent again as often
 * as need be, until the path time-out after the request's first such failure.
 */
export class PathWait {
  readonly #core: RemapCore;
  readonly #direction: ProbeDirection;
  #waiting: WaitingRange[] = [];
  #untilMs: number | undefined;
  /** A device that fails this request and works for every probe is asked less and less often. */
  #pauseMs: number = reprobeMs;
  #waitedMs = 0;

  constructor(core: RemapCore, direction: ProbeDirection) {
    this.#core = core;
    this.#direction = direction;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Milliseconds that the request has spent waiting. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  add(range: FailedRange, place: DevicePlace): void {
    this.#waiting.push({ range, place });
  }

  /** Which ranges may be sent again now, and which have waited long enough. */
  async wait(): Promise<{ again: ByteRange[]; failed: FailedRange[] }> {
    const waiting = this.#waiting;
    this.#waiting = [];
    const { clock } = this.#core.parts;
    const startMs = clock.nowMs();
    const isFirst = this.#untilMs === undefined;
    this.#untilMs ??= startMs + this.#core.policies.pathTimeoutMs;
    if (!isFirst) await this.#pause();
    const again: ByteRange[] = [];
    const failed: FailedRange[] = [];
    for (const place of new Set(waiting.map((one) => one.place))) {
      const ranges = waiting.filter((one) => one.place === place).map(({ range }) => range);
      const works = (isFirst || clock.nowMs() < this.#untilMs) && (await this.#works(place));
      for (const range of ranges) {
        if (works) again.push(range);
        else failed.push({ ...range, kind: 'path' });
      }
    }
    this.#waitedMs += clock.nowMs() - startMs;
    return { again, failed };
  }

  async #works(place: DevicePlace): Promise<boolean> {
    const { paths } = this.#core;
    const path = paths.of(place, this.#direction);
    return path.failed || !(await paths.judge(place, this.#direction)) ? await path.whenWorking() : true;
  }

  async #pause(): Promise<void> {
    await delay(this.#core.parts.clock, this.#pauseMs);
    this.#pauseMs = Math.min(reprobeMaxMs, this.#pauseMs * 2);
  }
}
