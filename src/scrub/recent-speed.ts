/** Speed is told over so long; what is older does not count. */
const windowMs = 30_000;
/** Sooner it says nothing. */
const leastMs = 1_000;

/** How fast something goes on lately: two windows, one that has ended and one that fills. */
export class RecentSpeed {
  #startMs: number;
  #bytes = 0;
  #lastBytes = 0;
  #lastMs = 0;

  constructor(nowMs: number) {
    this.#startMs = nowMs;
  }

  add(bytes: number, nowMs: number): void {
    this.#turn(nowMs);
    this.#bytes += bytes;
  }

  /** Undefined before there is anything to tell. */
  bytesPerSecond(nowMs: number): number | undefined {
    this.#turn(nowMs);
    const ms = nowMs - this.#startMs + this.#lastMs;
    return ms < leastMs ? undefined : ((this.#bytes + this.#lastBytes) / ms) * 1000;
  }

  #turn(nowMs: number): void {
    const passedMs = nowMs - this.#startMs;
    if (passedMs < windowMs) return;
    this.#lastMs = passedMs;
    this.#lastBytes = this.#bytes;
    this.#startMs = nowMs;
    this.#bytes = 0;
  }
}
