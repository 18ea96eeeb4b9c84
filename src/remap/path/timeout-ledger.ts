/** R14: timeouts in so many regions within this time are the device's, whatever its probes say. */
export const deviceTimeoutRegions = 3;
export const deviceTimeoutWindowMs = 60_000;
/** Timeouts of one granule, each with good probes before and after, that make it bad. */
export const granuleTimeouts = 2;
/** Two timeouts that lie further apart have nothing to do with each other. */
export const granuleTimeoutWindowMs = 600_000;
/** Granules and timeouts remembered; the oldest go first. */
export const rememberedMax = 64;
const regions = 8;

interface Timeouts {
  count: number;
  lastMs: number;
}

/** Which granules of one device gave no answer in time. A drive without ERC answers every bad sector so (R14). */
export class TimeoutLedger {
  readonly #granuleCount: number;
  readonly #granules = new Map<number, Timeouts>();
  #recent: { readonly atMs: number; readonly region: number }[] = [];

  constructor(granuleCount: number) {
    this.#granuleCount = granuleCount;
  }

  /** A request there has timed out. True: there were others elsewhere, so it is the device; all is forgotten then. */
  isDevices(granule: number, nowMs: number): boolean {
    const region = Math.floor((granule * regions) / this.#granuleCount);
    const young = this.#recent.filter(({ atMs }) => nowMs - atMs < deviceTimeoutWindowMs);
    this.#recent = [...young.slice(1 - rememberedMax), { atMs: nowMs, region }];
    if (new Set(this.#recent.map((one) => one.region)).size < deviceTimeoutRegions) return false;
    this.#recent = [];
    this.#granules.clear();
    return true;
  }

  /** The device has worked elsewhere, before and after. True: not for the first time, so it is the granule. */
  isGranules(granule: number, nowMs: number): boolean {
    const known = this.#granules.get(granule);
    const isOld = known === undefined || nowMs - known.lastMs > granuleTimeoutWindowMs;
    const count = isOld ? 1 : known.count + 1;
    // Behind all others: the first of a Map is the oldest.
    this.#granules.delete(granule);
    if (count >= granuleTimeouts) return true;
    this.#granules.set(granule, { count, lastMs: nowMs });
    const [oldest] = this.#granules.keys();
    if (this.#granules.size > rememberedMax && oldest !== undefined) this.#granules.delete(oldest);
    return false;
  }
}
