import { MetadataError } from '../../metadata/metadata-error.ts';
import type { OperationCounter } from '../operation-counter.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { JudgeViolation } from './judge.ts';
import { readAllBytes } from './judged-client.ts';
import { checkFork, type ForkParts, type PowerFork } from './power-fork.ts';
import { newArena } from './simulated-stack.ts';
import type { WorldState } from './world-state.ts';

/** How many of the forks are of a process that dies alone. */
const killShare = 0.125;

/** Forks of a world in which the power goes, or the process dies, while the world itself goes on. */
export class WorldForks {
  readonly #world: WorldState;
  readonly #every: number;
  readonly #random: SeededRandom;
  readonly #counter: OperationCounter;
  readonly #parts: ForkParts;
  #waiting: PowerFork[] = [];
  /** At which the power could have gone. */
  #moments = 0;

  /** `every`: of so many moments one is tried; 0: none. */
  constructor(world: WorldState, every: number, random: SeededRandom, counter: OperationCounter) {
    this.#world = world;
    this.#every = every;
    this.#random = random;
    this.#counter = counter;
    this.#parts = {
      geometry: world.plan.geometry,
      arena: newArena(),
      memory: Buffer.allocUnsafeSlow(readAllBytes),
    };
  }

  /** The power could go now: at every device operation, and behind every acknowledgement. */
  moment(): void {
    if (this.#every === 0) return;
    this.#moments += 1;
    if (this.#moments % this.#every === 0) this.#waiting.push(this.#fork(this.#counter.count));
  }

  /** Judges what was forked since the last event. */
  judge(): Promise<void> | undefined {
    return this.#waiting.length === 0 ? undefined : this.#check();
  }

  #fork(operation: number): PowerFork {
    const world = this.#world;
    const random = this.#random.fork(`cut ${this.#moments}`);
    const judge = world.judge.fork();
    const mainBad = world.main.faults.badSectors();
    const spareBad = world.spare.faults.badSectors();
    const common = { operation, random, judge, mainBad, spareBad };
    if (random.chance(killShare)) {
      judge.killed();
      const main = world.main.afterKill(random);
      const { spareLied } = world;
      return { ...common, kind: 'kill', main, spare: world.spare.afterKill(random), spareLied };
    }
    const main = world.main.afterPowerCut(random);
    const spare = world.spare.afterPowerCut(random);
    judge.powerCut(main.loss.lied);
    if (spare.loss.lied.length > 0) world.trouble.excuseSpecial(judge);
    const spareLied = world.spareLied || spare.loss.lied.length > 0;
    return { ...common, kind: 'power', main: main.image, spare: spare.image, spareLied };
  }

  async #check(): Promise<void> {
    const forks = this.#waiting;
    this.#waiting = [];
    for (const fork of forks) {
      try {
        await checkFork(fork, this.#parts, this.#world.outcome.forks);
      } catch (error) {
        throw new JudgeViolation(`${fork.kind} at device operation ${fork.operation}: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
  }
}

function messageOf(error: unknown): string {
  if (error instanceof MetadataError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
