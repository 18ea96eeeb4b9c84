import { drawPlan } from './plan-drawing.ts';
import { runWorld, type WorldOptions } from './world.ts';

/** Worlds that shrinking runs at most. */
export const shrinkRunsMax = 400;

/** How much may be tried. */
export interface ShrinkLimits {
  /** Default `shrinkRunsMax`. */
  readonly runsMax?: number;
  /** Asked before each run: false ends the shrinking with what is left so far. Whoever knows real time knows when. */
  readonly mayGoOn?: () => boolean;
  /** What runs a world: throws when it fails. Default `runWorld`. */
  readonly run?: (options: WorldOptions) => Promise<unknown>;
}

/** What is left of a failing world, and how it fails. */
export interface ShrunkWorld {
  readonly options: WorldOptions;
  readonly error: unknown;
  readonly runs: number;
}

/**
 * Leaves out what a failure does not need: late sessions, more than one client, then steps, faults among them, in ever
 * smaller parts. What is left fails as well; its failure need not be the same one. `options` must fail.
 */
export async function shrinkWorld(
  options: WorldOptions,
  error: unknown,
  limits: ShrinkLimits = {},
): Promise<ShrunkWorld> {
  const shrinking = new Shrinking(options, error, limits);
  await shrinking.fewerSessions();
  await shrinking.oneClient();
  await shrinking.fewerSteps();
  // With so few steps the power can go everywhere: nothing then depends on which operations are counted.
  await shrinking.everywhere();
  await shrinking.fewerSteps();
  return shrinking.result();
}

class Shrinking {
  #options: WorldOptions;
  #error: unknown;
  readonly #runsMax: number;
  readonly #mayGoOn: () => boolean;
  readonly #run: (options: WorldOptions) => Promise<unknown>;
  #runs = 0;

  constructor(options: WorldOptions, error: unknown, limits: ShrinkLimits) {
    this.#options = options;
    this.#error = error;
    this.#runsMax = limits.runsMax ?? shrinkRunsMax;
    this.#mayGoOn = limits.mayGoOn ?? (() => true);
    this.#run = limits.run ?? runWorld;
  }

  result(): ShrunkWorld {
    return { options: this.#options, error: this.#error, runs: this.#runs };
  }

  async fewerSessions(): Promise<void> {
    const all = this.#options.sessions ?? drawPlan(this.#options.seed).sessions.length;
    for (let sessions = 1; sessions < all; sessions += 1) {
      if (await this.#stillFails({ ...this.#options, sessions })) return;
    }
  }

  async everywhere(): Promise<void> {
    if (this.#options.forkEvery !== 1) await this.#stillFails({ ...this.#options, forkEvery: 1 });
  }

  async oneClient(): Promise<void> {
    if (this.#options.oneClient !== true) await this.#stillFails({ ...this.#options, oneClient: true });
  }

  async fewerSteps(): Promise<void> {
    const plan = drawPlan(this.#options.seed);
    const sessions = this.#options.sessions ?? plan.sessions.length;
    let steps = this.#options.steps ?? plan.steps.map((_step, index) => index);
    steps = steps.filter((index) => plan.steps[index]!.session < sessions);
    let part = Math.ceil(steps.length / 2);
    while (part >= 1) {
      let from = 0;
      while (from < steps.length) {
        if (!this.#allows()) return;
        const fewer = [...steps.slice(0, from), ...steps.slice(from + part)];
        if (await this.#stillFails({ ...this.#options, steps: fewer })) steps = fewer;
        else from += part;
      }
      if (part === 1) break;
      part = Math.ceil(part / 2);
    }
  }

  #allows(): boolean {
    return this.#runs < this.#runsMax && this.#mayGoOn();
  }

  async #stillFails(options: WorldOptions): Promise<boolean> {
    if (!this.#allows()) return false;
    this.#runs += 1;
    try {
      await this.#run(options);
      return false;
    } catch (error) {
      this.#options = options;
      this.#error = error;
      return true;
    }
  }
}
