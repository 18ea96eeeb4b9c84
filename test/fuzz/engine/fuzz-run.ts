import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import type { BlockCoverage } from './block-coverage.ts';
import { type FuzzSession, type FuzzTarget, Violation } from './fuzz-target.ts';
import type { HangWatch } from './hang-watch.ts';
import { MemoryWatch } from './memory-watch.ts';
import { mutateBytes } from './mutate-bytes.ts';

/** Milliseconds of the processor that one execution may take. */
const executionMsMaxDefault = 1_000;

/** An input after which something did not hold. */
export class Finding extends Error {
  override readonly name = 'Finding';
  readonly input: Buffer;

  constructor(target: string, input: Buffer, cause: unknown) {
    super(`${target}: ${cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)}`, {
      cause,
    });
    this.input = input;
  }
}

export interface FuzzOptions {
  readonly seed: string;
  readonly corpus: readonly Buffer[];
  /** Without it inputs are mutated blindly. */
  readonly coverage: BlockCoverage | undefined;
  readonly hangWatch: HangWatch | undefined;
  /** Of the processor, for one execution. */
  readonly executionMsMax?: number;
  /** Asked after each look: true to go on. */
  readonly goesOn: (run: FuzzRun) => boolean;
}

/** Feeds one target, and keeps the inputs that reach what none before reached. */
export class FuzzRun {
  readonly kept: Buffer[] = [];
  executions = 0;
  readonly startMs: number = performance.now();
  readonly #target: FuzzTarget;
  readonly #options: FuzzOptions;
  readonly #random: SeededRandom;
  readonly #inputs: Buffer[] = [];
  readonly #memory = new MemoryWatch();
  readonly #executionMsMax: number;
  #session: FuzzSession | undefined;
  /** Errors that nobody awaited: in a device they would end the process. */
  readonly #stray: unknown[] = [];
  readonly #onStray = (error: unknown): void => void this.#stray.push(error);

  constructor(target: FuzzTarget, options: FuzzOptions) {
    this.#target = target;
    this.#options = options;
    this.#executionMsMax = options.executionMsMax ?? executionMsMaxDefault;
    this.#random = new SeededRandom(`${options.seed}/${target.name}`);
  }

  /** What mutations begin with: those of the corpus that reach something, and what was kept. */
  get inputs(): readonly Buffer[] {
    return this.#inputs;
  }

  /** The corpus as it is, where there is none the seeds. Throws `Finding`. */
  async replay(): Promise<void> {
    this.#options.coverage?.skip();
    const { corpus } = this.#options;
    for (const input of corpus.length > 0 ? corpus : this.#target.seeds()) {
      await this.execute(input);
      const isNew = this.#options.coverage?.look(true) ?? true;
      if (isNew || this.#inputs.length === 0) this.#inputs.push(input);
    }
  }

  /** The corpus, then mutations of it while it goes on. Throws `Finding`. */
  async run(): Promise<void> {
    await this.replay();
    while (this.#options.goesOn(this)) {
      const batch = Array.from({ length: this.#target.executionsPerLook }, () => this.#mutated());
      for (const input of batch) await this.execute(input);
      await this.#memory.look();
      await this.#keepNews(batch);
    }
    await this.end();
    await this.#memory.judge();
  }

  /** Throws `Finding`; the next execution begins with a new session then. */
  async execute(input: Buffer): Promise<void> {
    this.executions += 1;
    this.#options.hangWatch?.begin(this.#target.name, input);
    const startMs = performance.now();
    try {
      this.#session ??= await this.#opened();
      await this.#session.run(input);
      if (this.#stray.length > 0) throw asError(this.#stray[0]);
    } catch (error) {
      this.#drop();
      throw new Finding(this.#target.name, input, error);
    } finally {
      this.#options.hangWatch?.end();
    }
    if (performance.now() - startMs > this.#executionMsMax) await this.#judgeSlow(input);
  }

  async end(): Promise<void> {
    await this.#session?.close?.();
    this.#drop();
  }

  #opened(): Promise<FuzzSession> {
    process.on('uncaughtException', this.#onStray);
    process.on('unhandledRejection', this.#onStray);
    return this.#target.open();
  }

  #drop(): void {
    process.off('uncaughtException', this.#onStray);
    process.off('unhandledRejection', this.#onStray);
    this.#session = undefined;
    this.#stray.length = 0;
  }

  /** The machine may be busy, or a garbage collection have fallen into it: what is slow takes a processor so long each time. */
  async #judgeSlow(input: Buffer): Promise<void> {
    let fastestMs = Number.POSITIVE_INFINITY;
    for (let again = 0; again < 2 && fastestMs > this.#executionMsMax; again += 1) {
      const cpu = process.cpuUsage();
      await this.#session?.run(input);
      const { user, system } = process.cpuUsage(cpu);
      fastestMs = Math.min(fastestMs, (user + system) / 1000);
    }
    if (fastestMs <= this.#executionMsMax) return;
    const slow = new Violation(`takes ${fastestMs.toFixed(0)} ms of processor`);
    throw new Finding(this.#target.name, input, slow);
  }

  #mutated(): Buffer {
    const { words, inputBytesMax: bytesMax } = this.#target;
    const random = this.#random;
    // What was found last is looked around most.
    const recent = this.#inputs.slice(-20);
    const input = random.pick(random.chance(0.4) ? recent : this.#inputs);
    return mutateBytes(random, input, { other: random.pick(this.#inputs), words, bytesMax });
  }

  /** When a batch reached something new, each of its inputs is executed again to see which it was. */
  async #keepNews(batch: readonly Buffer[]): Promise<void> {
    const { coverage } = this.#options;
    if (coverage === undefined) return;
    const isAlone = batch.length === 1;
    if (!coverage.look(isAlone)) return;
    for (const input of batch) {
      if (!isAlone) await this.execute(input);
      if (!isAlone && !coverage.look(true)) continue;
      this.#inputs.push(input);
      this.kept.push(input);
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
