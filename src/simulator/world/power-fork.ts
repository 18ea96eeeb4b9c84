import type { PagedArena } from '../../block/buffer-arena.ts';
import type { DeviceError } from '../../block/device-error.ts';
import { MetadataError } from '../../metadata/metadata-error.ts';
import type { PagedImage } from '../paged-image.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { SimulatedDisk } from '../simulated-disk.ts';
import type { SectorFault } from '../simulated-faults.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { type Judge, JudgeViolation } from './judge.ts';
import { type Excuses, JudgedClient } from './judged-client.ts';
import { looksDead } from './looks-dead.ts';
import { closeStack, newArena, openStack, type StackParts } from './simulated-stack.ts';
import type { WorldGeometry } from './world-geometry.ts';

/** What another machine would find, had the power gone at this operation. */
export interface PowerFork {
  /** The device operation at which, or behind which, it was cut. */
  readonly operation: number;
  /** Chances of the cut and of what comes after it. */
  readonly random: SeededRandom;
  readonly kind: 'power' | 'kill';
  readonly main: PagedImage;
  readonly spare: PagedImage;
  readonly mainBad: ReadonlyMap<number, SectorFault>;
  readonly spareBad: ReadonlyMap<number, SectorFault>;
  readonly judge: Judge;
  /** Sectors that only a new write can make whole again may be refused as a whole: the spare lied about a flush. */
  readonly spareLied: boolean;
}

/** What was done with the forks of one world. */
export interface ForkCounts {
  powerCuts: number;
  kills: number;
  /** Forks that were used, cut again and opened again. */
  secondLives: number;
  /** Spares that lied and were then refused, as documented. */
  refused: number;
  sectorsChecked: number;
}

export interface ForkParts {
  readonly geometry: WorldGeometry;
  /** Shared by all forks: each gives everything back, which is checked. */
  readonly arena: PagedArena;
  /** Memory of `readAllBytes` to read into. */
  readonly memory: Buffer;
}

/** How many of the forks are used for a while, lose their power again and are opened again. */
const secondLives = 1 / 8;

/** Free slots that no write of a second life needs all of. */
const roomForWrites = 8;

/** Only bad sectors are left of what was wrong: a machine that came back has no other excuse. */
const noExcuses: Excuses = {
  allowFailure: (verb: string, error: DeviceError) => {
    throw new JudgeViolation(
      `a ${verb} failed after a restart with nothing wrong but bad sectors: ${error.message}`,
    );
  },
  honest: () => true,
  nowMs: () => 0,
  acknowledged: () => undefined,
  answered: (request) => request,
};

/** Opens what a power cut left and compares every sector. Throws `JudgeViolation`. The original world goes on afterwards. */
export async function checkFork(fork: PowerFork, parts: ForkParts, counts: ForkCounts): Promise<void> {
  const { random } = fork;
  const clock = new VirtualClock(random);
  const again = random.chance(secondLives);
  const life = new ForkedLife(fork, parts, clock, again);
  if (fork.kind === 'power') counts.powerCuts += 1;
  else counts.kills += 1;
  try {
    await clock.run(again ? life.liveTwice() : life.live());
    if (again) counts.secondLives += 1;
  } catch (error) {
    if (!fork.spareLied || !(error instanceof MetadataError)) throw error;
    counts.refused += 1;
  }
  counts.sectorsChecked += fork.judge.sectorsChecked;
}

class ForkedLife {
  readonly #judge: Judge;
  readonly #parts: ForkParts;
  readonly #clock: VirtualClock;
  readonly #random: SeededRandom;
  readonly #main: SimulatedDisk;
  readonly #spare: SimulatedDisk;
  readonly #excuses: Excuses;
  readonly #writeThrough: boolean;
  /** As of the last write. */
  #looksDead = false;

  constructor(fork: PowerFork, parts: ForkParts, clock: VirtualClock, again: boolean) {
    this.#judge = fork.judge;
    this.#parts = parts;
    this.#clock = clock;
    this.#random = fork.random;
    this.#writeThrough = !again;
    this.#main = this.#disk('main', fork.main, fork.mainBad);
    this.#spare = this.#disk('spare', fork.spare, fork.spareBad);
    const mayBeFull = fork.spareBad.size > 0;
    const allowFailure = (verb: string, error: DeviceError): void => {
      const isPath = error.ranges.every(({ kind }) => kind === 'path');
      if (mayBeFull || (verb !== 'read' && isPath && this.#looksDead)) return;
      noExcuses.allowFailure(verb, error, 0);
    };
    this.#excuses = { ...noExcuses, allowFailure };
  }

  /** Opens, reads everything, closes. */
  async live(): Promise<void> {
    const stack = this.#stack();
    const { device } = await openStack(stack);
    await new JudgedClient(device, this.#judge, this.#excuses).readAll(this.#parts.memory);
    await closeStack(device, stack);
  }

  /** As `live`, then works, loses its power before it could close, and is judged again. */
  async liveTwice(): Promise<void> {
    const stack = { ...this.#stack(), arena: newArena() };
    const { device } = await openStack(stack);
    const client = new JudgedClient(device, this.#judge, this.#excuses);
    await client.readAll(this.#parts.memory);
    const block = this.#parts.geometry.logicalBlockBytes / 512;
    const blocks = this.#judge.sectorCount / block;
    for (let write = 0; write < 6; write += 1) {
      const count = 1 + this.#random.below(Math.min(4, blocks));
      const first = this.#random.below(blocks - count + 1);
      const { remappedGranules } = device.status();
      this.#looksDead = looksDead(this.#parts.geometry, this.#main.faults.badSectors(), remappedGranules);
      if (device.status().slotsFree >= roomForWrites)
        await client.write(first * block, count * block, write === 0);
      if (write === 3) await client.flush();
    }
    const { lied } = this.#main.powerCut();
    this.#spare.powerCut();
    this.#judge.powerCut(lied);
    const next = this.#stack();
    const { device: second } = await openStack(next);
    await new JudgedClient(second, this.#judge, this.#excuses).readAll(this.#parts.memory);
    await closeStack(second, next);
  }

  #stack(): StackParts {
    return {
      main: this.#main.open(),
      spare: this.#spare.open(),
      arena: this.#parts.arena,
      clock: this.#clock,
      random: this.#random,
    };
  }

  #disk(
    name: 'main' | 'spare',
    image: PagedImage,
    badSectors: ReadonlyMap<number, SectorFault>,
  ): SimulatedDisk {
    const { geometry } = this.#parts;
    return new SimulatedDisk({
      name,
      sizeBytes: image.sizeBytes,
      logicalBlockBytes: name === 'main' ? geometry.logicalBlockBytes : geometry.spareLogicalBytes,
      physicalBlockBytes: name === 'main' ? geometry.mainPhysicalBytes : geometry.sparePhysicalBytes,
      clock: this.#clock,
      random: this.#random,
      immediate: true,
      writeThrough: this.#writeThrough,
      image,
      badSectors,
      exactRanges: geometry.exactRanges,
      writeCache: name === 'main' ? geometry.mainWriteCache : geometry.spareWriteCache,
      capabilities: { fua: name === 'main' ? geometry.mainFua : geometry.spareFua },
    });
  }
}
