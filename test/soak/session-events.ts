import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlClient } from '../../src/control/client.ts';
import type { SeededRandom } from '../../src/simulator/seeded-random.ts';
import type { SoakLog } from './soak-log.ts';
import type { MainTrouble } from './soak-plan.ts';
import type { SoakScale } from './soak-scale.ts';
import type { WearingMain } from './wearing-main.ts';

const suspendedMsMax = 1500;
const unremapSectors = 2048;

export interface EventParts {
  readonly control: ControlClient;
  readonly main: WearingMain;
  readonly log: SoakLog;
  readonly scale: SoakScale;
  readonly random: SeededRandom;
}

/** What happens to a device in a session besides its load, one thing after the other: a suspended device takes no message. */
export class SessionEvents {
  readonly #parts: EventParts;

  constructor(parts: EventParts) {
    this.#parts = parts;
  }

  /** Until told to stop; then main is there and nothing is suspended. */
  async run(trouble: MainTrouble, stop: AbortSignal): Promise<void> {
    const { scale, random } = this.#parts;
    for (let index = 0; !stop.aborted; index += 1) {
      await rest(random.below(scale.eventIntervalMsMax), stop);
      if (stop.aborted) return;
      // The first ones in turn, so that a short session has all.
      const drawn = index < 4 ? 1 - (index + 1) / 4 : random.between(0, 1);
      await (trouble === 'outages' ? this.#nextWithOutages(drawn, stop) : this.#next(drawn, stop));
    }
  }

  async #next(drawn: number, stop: AbortSignal): Promise<void> {
    const { control, main, log, scale } = this.#parts;
    if (drawn < 0.08) await this.#suspend(stop);
    else if (drawn < 0.3) log.event('unremap', await this.#unremap());
    else if (drawn < 0.51) log.event('verify', (await control.message(0, ['verify'])).reply);
    else log.event('bad-sectors', await main.grow(control, scale.badRunsPerEvent));
  }

  async #nextWithOutages(drawn: number, stop: AbortSignal): Promise<void> {
    if (drawn < 0.08) await this.#suspend(stop);
    else if (drawn >= 0.6) await this.#goAway(stop);
  }

  async #unremap(): Promise<string> {
    const { control, main, random } = this.#parts;
    const first = random.below(main.sectorCount - unremapSectors);
    return (await control.message(0, ['unremap', String(first), String(unremapSectors)])).reply;
  }

  async #goAway(stop: AbortSignal): Promise<void> {
    const { control, main, log, scale, random } = this.#parts;
    const startMs = performance.now();
    await main.goAway(control);
    await rest(random.between(scale.awayMsMax / 4, scale.awayMsMax), stop);
    await main.comeBack(control);
    log.event('outages', `${Math.round(performance.now() - startMs)} ms`);
    // Main is asked every 2 s at last (R17). Two outages between which nobody asks are one, and may be longer than path-timeout.
    await rest(scale.awayMsMax / 2, stop);
  }

  async #suspend(stop: AbortSignal): Promise<void> {
    const { control, log, random } = this.#parts;
    const flush = random.chance(0.7);
    await control.suspend(flush);
    await rest(random.below(suspendedMsMax), stop);
    await control.resume();
    log.event('suspend', flush ? 'with a flush' : 'without a flush');
  }
}

/** Returns early when told to stop. */
export async function rest(milliseconds: number, stop: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal: stop }).catch(() => undefined);
}
