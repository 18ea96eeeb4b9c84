import { performance } from 'node:perf_hooks';
import { drawPlan } from '../../src/simulator/world/plan-drawing.ts';
import { shrinkWorld } from '../../src/simulator/world/shrink-plan.ts';
import { runWorld, type WorldOptions } from '../../src/simulator/world/world.ts';

/** A failing world, as small as it could be made. */
export interface FailedWorld {
  readonly error: unknown;
  /** What happens in it, a step a line. */
  readonly steps: readonly string[];
  /** The one line that repeats it. */
  readonly line: string;
}

/** Shrinking goes on for so long: far from the time-out of any test file, whose line would then never be printed. */
export const shrinkMs = 20_000;

/** Shrinks a world that failed; undefined when it does not fail again. */
export async function failedWorld(
  options: WorldOptions,
  run: (options: WorldOptions) => Promise<unknown> = runWorld,
  limitMs: number = shrinkMs,
): Promise<FailedWorld | undefined> {
  // Whatever becomes of the shrinking: this line repeats the failure as well.
  console.error(replayLine(options));
  let error: unknown;
  try {
    await run(options);
    return undefined;
  } catch (caught) {
    error = caught;
  }
  const startMs = performance.now();
  const mayGoOn = (): boolean => performance.now() - startMs < limitMs;
  const shrunk = await shrinkWorld(options, error, { run, mayGoOn });
  const plan = drawPlan(options.seed);
  const kept = shrunk.options.steps ?? plan.steps.map((_step, index) => index);
  const steps = kept.map((index) => JSON.stringify(plan.steps[index]));
  return { error: shrunk.error, steps, line: replayLine(shrunk.options) };
}

/** What to type to see it again. */
export function replayLine(options: WorldOptions): string {
  return `to repeat it: npm run simulate -- --replay '${JSON.stringify(options)}'`;
}

/** The world that `--replay` names; undefined when the words are not what `replayLine` printed. */
export function optionsOfReplay(text: string): WorldOptions | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const {
    seed,
    forkEvery = 1,
    steps,
    sessions,
    oneClient = false,
  } = value as Readonly<Record<string, unknown>>;
  if (!isWhole(seed) || !isWhole(forkEvery) || typeof oneClient !== 'boolean') return undefined;
  if (sessions !== undefined && !isWhole(sessions)) return undefined;
  if (steps !== undefined && !(Array.isArray(steps) && steps.every(isWhole))) return undefined;
  // A line of another version of the plans may name steps that are not there.
  const planned = drawPlan(seed).steps.length;
  if (steps?.some((index) => index < 0 || index >= planned) === true) return undefined;
  return {
    seed,
    forkEvery,
    oneClient,
    ...(sessions === undefined ? {} : { sessions }),
    ...(steps === undefined ? {} : { steps }),
  };
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
