import { sectorBytes } from '../../src/block/block-device.ts';
import { delay } from '../../src/block/clock.ts';
import { Errno } from '../../src/block/errno.ts';
import { MessageError } from '../../src/remap/message/message-error.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { type FaultStrike, SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { Judge, JudgeViolation } from '../../src/simulator/world/judge.ts';
import { type Excuses, JudgedClient, readAllBytes } from '../../src/simulator/world/judged-client.ts';
import { checkFork, type ForkCounts, type PowerFork } from '../../src/simulator/world/power-fork.ts';
import {
  createMetadata,
  newArena,
  openStack,
  type StackParts,
} from '../../src/simulator/world/simulated-stack.ts';
import { layoutOf, type WorldGeometry, worldLayout } from '../../src/simulator/world/world-geometry.ts';

const granuleSectors = 8;
const granuleBytes = granuleSectors * sectorBytes;
const granuleCount = 64;
/** Few enough that a probe of eight eighths of main finds it well (R16). */
const badGranules: readonly number[] = [2, 11, 29, 50];
/** Requests go to these: the bad ones, and two at which nothing is wrong. */
const hotGranules: readonly number[] = [...badGranules, 20, 40];
/**
 * What late writes go to, each once: the second would make it a bad granule, and those of a third eighth of main would make
 * main a bad device (R14).
 */
const lateGranules: readonly number[] = [16, 17, 18, 19, 20, 21, 22, 23, 40, 41, 42, 43, 44, 45, 46, 47];
/** Each writes sectors of its own in every hot granule, so that what a sector must hold is never in question. */
const ownSectors: readonly (readonly [from: number, to: number])[] = [
  [0, 3],
  [3, 6],
  [6, 8],
];
const stepsPerClient = 30;
const spareBytes = 2 << 20;
/** Slots that the saboteur knows of: they are given out from the lowest on. */
const slotsWatched = 24;
/** Virtual milliseconds in which everything that was late or away has come back. */
const calmMs = 40_000;

/**
 * What goes wrong in one story, beside main's bad granules: one kind, often.
 *
 * - `latent slots`   sectors of used slots can no longer be read
 * - `failing slots`  used slots can no longer be written
 * - `blind slots`    free slots take writes and cannot be read
 * - `late writes`    writes are answered `timed-out` and arrive later
 * - `outages`        everything fails EIO for a while
 * - `operator`       nothing more: granules are moved by hand all the time
 */
export const hotThemes = [
  'latent slots',
  'failing slots',
  'blind slots',
  'late writes',
  'outages',
  'operator',
] as const;
export type HotTheme = (typeof hotThemes)[number];

/** The least time between two acts of the saboteur, virtual milliseconds. */
const sabotageMs: Readonly<Record<HotTheme, number>> = {
  'latent slots': 8,
  'failing slots': 2,
  'blind slots': 100,
  'late writes': 8,
  outages: 40,
  operator: 100,
};

/** What happened: an injection that did not happen proves nothing (I26). */
export interface HotOutcome {
  readonly theme: HotTheme;
  readonly forks: ForkCounts;
  readonly remaps: number;
  readonly goneSectors: number;
  readonly late: number;
  readonly pathErrors: number;
  readonly slotReadErrors: number;
  readonly slotWriteErrors: number;
  readonly verifyMismatches: number;
  readonly sectorsChecked: number;
}

function geometryOf(random: SeededRandom): WorldGeometry {
  return {
    mainSectors: granuleCount * granuleSectors,
    logicalBlockBytes: sectorBytes,
    mainPhysicalBytes: granuleBytes,
    spareLogicalBytes: random.chance(0.3) ? granuleBytes : sectorBytes,
    sparePhysicalBytes: granuleBytes,
    granuleBytes,
    spareBytes,
    layout: worldLayout,
    mainWriteCache: 'volatile',
    spareWriteCache: 'volatile',
    mainFua: random.chance(0.7),
    spareFua: random.chance(0.7),
    fresh: false,
    exactRanges: random.chance(0.5),
  };
}

/** Runs one story. Throws `JudgeViolation`, which names the seed, or what the stack throws, when a promise is broken. */
export async function hotStory(seed: number): Promise<HotOutcome> {
  try {
    return await new HotStory(seed).run();
  } catch (error) {
    if (!(error instanceof JudgeViolation)) throw error;
    throw new JudgeViolation(`hotStory(${seed}): ${error.message}`, { cause: error });
  }
}

/**
 * Three writers, a reader and an operator on the same few granules, which are bad, and on slots that go bad under them: what
 * worlds with every kind of fault come to only now and then happens here all the time. The judge knows only what was sent,
 * acknowledged and flushed, and which sectors were made unreadable.
 */
class HotStory {
  readonly #random: SeededRandom;
  readonly #theme: HotTheme;
  readonly #geometry: WorldGeometry;
  readonly #clock: VirtualClock;
  readonly #judge: Judge;
  readonly #main: SimulatedDisk;
  readonly #spare: SimulatedDisk;
  readonly #excuses: Excuses;
  readonly #forks: ForkCounts = { powerCuts: 0, kills: 0, secondLives: 0, refused: 0, sectorsChecked: 0 };
  #nextForks: PowerFork[] = [];
  #moments = 0;
  #clientsAtWork = 0;
  /** The one whose writes are late just now. */
  #lateGranule: number | undefined;
  #lateWrites = 0;
  #outages = 0;
  /** Outages that met a granule of a disk, by the disk's name and the granule. */
  readonly #met = new Map<string, Set<number>>();
  /** Granules that may be moved though nothing is wrong with them. */
  readonly #suspected = new Set<number>();

  constructor(seed: number) {
    this.#random = new SeededRandom(seed).fork('hot story');
    this.#theme = hotThemes[seed % hotThemes.length]!;
    this.#geometry = geometryOf(this.#random);
    this.#clock = new VirtualClock(this.#random.fork('clock'), { betweenEvents: () => this.#judgeForks() });
    this.#judge = new Judge(this.#geometry.mainSectors, seed);
    const counter = new OperationCounter();
    this.#main = this.#disk('main', counter);
    this.#spare = this.#disk('spare', counter);
    this.#excuses = {
      // Whether requests may fail is for the worlds; here it counts what is answered.
      allowFailure: () => undefined,
      honest: () => true,
      nowMs: () => this.#clock.nowMs(),
      acknowledged: () => this.#maybeFork(0.15),
      answered: (request) => request,
    };
  }

  #disk(name: 'main' | 'spare', counter: OperationCounter): SimulatedDisk {
    const geometry = this.#geometry;
    const isMain = name === 'main';
    return new SimulatedDisk({
      name,
      sizeBytes: isMain ? geometry.mainSectors * sectorBytes : geometry.spareBytes,
      logicalBlockBytes: isMain ? geometry.logicalBlockBytes : geometry.spareLogicalBytes,
      physicalBlockBytes: granuleBytes,
      clock: this.#clock,
      random: this.#random,
      capabilities: { fua: isMain ? geometry.mainFua : geometry.spareFua },
      exactRanges: geometry.exactRanges,
      counter,
      onOperation: () => this.#maybeFork(0.02),
      onStrike: (strike) => this.#metOutage(strike),
    });
  }

  async run(): Promise<HotOutcome> {
    const clock = this.#clock;
    this.#main.load(this.#judge.contents.make(0, 0, this.#geometry.mainSectors));
    await clock.run(createMetadata(this.#stack(), this.#geometry));
    this.#hurtMain();
    if (this.#theme === 'blind slots') this.#blindFreeSlots();
    const { device } = await clock.run(openStack(this.#stack()));
    const clients = ownSectors.map((own) => this.#write(device, own));
    await clock.run(
      Promise.all([...clients, this.#read(device), this.#operate(device), this.#sabotage(device)]),
    );
    await this.#calm();
    await clock.run(this.#readAll(device));
    await clock.run(this.#readAll(device));
    await clock.run(this.#checkMoved(device));
    const outcome = this.#outcome(device);
    await this.#reopen();
    return outcome;
  }

  /** The power goes: what was flushed must be there, and nothing that nobody wrote. */
  async #reopen(): Promise<void> {
    this.#main.powerCut();
    this.#spare.powerCut();
    this.#judge.powerCut([]);
    const { device } = await this.#clock.run(openStack(this.#stack()));
    await this.#clock.run(this.#readAll(device));
    await this.#clock.run(this.#readAll(device));
    await this.#clock.run(device.close());
  }

  #stack(): StackParts {
    const arena = newArena();
    return {
      main: this.#main.open(arena),
      spare: this.#spare.open(arena),
      arena,
      clock: this.#clock,
      random: this.#random.fork(`stack ${this.#moments}`),
    };
  }

  #client(device: RemapDevice): JudgedClient {
    return new JudgedClient(device, this.#judge, this.#excuses);
  }

  // Who uses the device.

  async #write(device: RemapDevice, [from, to]: readonly [number, number]): Promise<void> {
    const random = this.#random.fork(`writer ${from}`);
    const client = this.#client(device);
    this.#clientsAtWork += 1;
    for (let step = 0; step < stepsPerClient; step += 1) {
      const first = from + random.below(to - from);
      const count = 1 + random.below(to - first);
      const sector = this.#hotGranule(random) * granuleSectors + first;
      const dice = random.below(100);
      if (dice < 80) await client.write(sector, count, dice < 15);
      else if (dice < 88) await client.flush();
      else if (dice < 94) await client.discard(sector, count);
      else await client.read(sector, count);
      if (random.chance(0.5)) await delay(this.#clock, random.below(this.#theme === 'outages' ? 20 : 6));
    }
    this.#clientsAtWork -= 1;
  }

  #hotGranule(random: SeededRandom): number {
    if (this.#lateGranule !== undefined && random.chance(0.7)) return this.#lateGranule;
    // Slots that fail under one granule while others write to it are what this theme is about.
    return this.#theme === 'failing slots' ? random.pick(badGranules.slice(0, 2)) : random.pick(hotGranules);
  }

  /** Reads what the others are writing; in one granule, so that a failure is about one moment. */
  async #read(device: RemapDevice): Promise<void> {
    const random = this.#random.fork('reader');
    const client = this.#client(device);
    while (this.#clientsAtWork > 0) {
      const first = random.below(granuleSectors);
      const count = 1 + random.below(granuleSectors - first);
      await client.read(this.#hotGranule(random) * granuleSectors + first, count);
      await delay(this.#clock, 1 + random.below(6));
    }
  }

  async #operate(device: RemapDevice): Promise<void> {
    const random = this.#random.fork('operator');
    const pauseMs = this.#theme === 'operator' ? 4 : 60;
    while (this.#clientsAtWork > 0) {
      await delay(this.#clock, 1 + random.below(pauseMs));
      const verb = random.pick(['unremap', 'verify', 'remap', 'retry', 'retry', 'unremap'] as const);
      const sector = random.pick(badGranules) * granuleSectors;
      try {
        await device.message([verb, String(sector), String(granuleSectors)]);
      } catch (error) {
        if (!(error instanceof MessageError)) throw error;
      }
    }
  }

  async #readAll(device: RemapDevice): Promise<void> {
    await this.#client(device).readAll();
  }

  // What goes wrong.

  /** Every sector of the bad granules fails writes; of half of them reads, too: what they hold is lost at once. */
  #hurtMain(): void {
    for (const granule of badGranules) {
      const sector = granule * granuleSectors;
      const on = this.#random.chance(0.5) ? 'both' : 'write';
      this.#main.faults.addBadSectors(sector, granuleSectors, { on });
      if (on === 'write') continue;
      for (let at = sector; at < sector + granuleSectors; at += 1) this.#judge.wentBad(at);
    }
  }

  #blindFreeSlots(): void {
    const first = this.#firstSlotSector();
    for (let slot = 0; slot < slotsWatched; slot += 1) {
      if (!this.#random.chance(0.4)) continue;
      const { from, count } = this.#partOfSlot(first + slot * granuleSectors, this.#random);
      this.#spare.faults.addBadSectors(from, count, { on: 'read' });
    }
  }

  /** The lowest slot begins where the first replica's reserved ranges end; found by asking an empty device would cost one. */
  #firstSlotSector(): number {
    const layout = layoutOf(this.#geometry);
    const reserved = layout.reservedRanges();
    let offset = 0;
    const isReserved = (): boolean =>
      reserved.some((range) => offset >= range.offset && offset < range.offset + range.length);
    while (isReserved()) offset += granuleBytes;
    return offset / sectorBytes;
  }

  /** A part of a slot that can go bad alone: at least one block of the spare. */
  #partOfSlot(slotSector: number, random: SeededRandom): { from: number; count: number } {
    if (this.#geometry.spareLogicalBytes === granuleBytes) return { from: slotSector, count: granuleSectors };
    const first = random.below(granuleSectors);
    return { from: slotSector + first, count: 1 + random.below(granuleSectors - first) };
  }

  async #sabotage(device: RemapDevice): Promise<void> {
    const random = this.#random.fork('saboteur');
    while (this.#clientsAtWork > 0) {
      await delay(this.#clock, sabotageMs[this.#theme] * (1 + random.below(3)));
      if (this.#theme === 'late writes') this.#delayWrite(random);
      else if (this.#theme === 'outages') await this.#outage(random);
      else if (this.#theme === 'latent slots' || this.#theme === 'failing slots')
        await this.#hurtSlot(device, random);
    }
  }

  async #hurtSlot(device: RemapDevice, random: SeededRandom): Promise<void> {
    const runs = await usedSlots(device);
    if (runs.length === 0) return;
    const { main, spare } = random.pick(runs);
    const { from, count } = this.#partOfSlot(spare - (spare % granuleSectors), random);
    const { faults } = this.#spare;
    if (this.#theme === 'failing slots') {
      faults.addBadSectors(from, count, { on: 'write' });
      return;
    }
    // Zeros on the spare say of no sector that they are its bytes: so all of the granule may be lost.
    const first = main - (main % granuleSectors);
    for (let sector = first; sector < first + granuleSectors; sector += 1) this.#judge.wentBad(sector);
    this.#nowUnreadable(from, count);
    faults.addBadSectors(from, count, { on: 'read', healOnWrite: true });
  }

  /** Whose bytes these sectors of the spare hold: they may be lost, and nobody else's. */
  #nowUnreadable(first: number, count: number): void {
    for (let at = first; at < first + count; at += 1) {
      const stamp = this.#judge.contents.stampOf(this.#spare.cachedImage(at * sectorBytes, sectorBytes));
      if (stamp !== undefined && this.#judge.mayBe(stamp.sector, stamp.version))
        this.#judge.wentBad(stamp.sector);
    }
  }

  /** What the next write of a granule brings arrives long after its answer, when newer writes have been sent (R3). */
  #delayWrite(random: SeededRandom): void {
    const granule = lateGranules[this.#lateWrites];
    if (granule === undefined) return;
    this.#lateWrites += 1;
    this.#lateGranule = granule;
    const answerMs = 2 + random.below(10);
    const late = { answerMs, doneMs: answerMs + 20 + random.below(100) };
    const scope = {
      kinds: ['write'],
      sector: granule * granuleSectors,
      sectorCount: granuleSectors,
    } as const;
    this.#main.faults.delayNext(1, late, scope);
  }

  async #outage(random: SeededRandom): Promise<void> {
    const { faults } = random.chance(0.5) ? this.#main : this.#spare;
    this.#outages += 1;
    faults.setPathError(Errno.EIO);
    await delay(this.#clock, random.pick([2, 5, 10, 30, 200]));
    faults.setPathError(undefined);
  }

  /** What fails in two outages, with a good probe between them, may rightly count as bad (R17). */
  #metOutage({ name, fault, kind, offset, length }: FaultStrike): void {
    if (fault !== 'path' || kind === 'flush') return;
    const last = Math.floor((offset + length - 1) / granuleBytes);
    for (let granule = Math.floor(offset / granuleBytes); granule <= last; granule += 1) {
      const key = `${name} ${granule}`;
      const outages = this.#met.get(key) ?? new Set();
      this.#met.set(key, outages.add(this.#outages));
      if (outages.size < 2) continue;
      const first = granule * granuleSectors;
      if (name === 'spare') this.#nowUnreadable(first, granuleSectors);
      else {
        this.#suspected.add(granule);
        for (let at = first; at < first + granuleSectors; at += 1) this.#judge.wentBad(at);
      }
    }
  }

  async #calm(): Promise<void> {
    this.#main.faults.calm();
    this.#spare.faults.calm();
    await this.#clock.runFor(calmMs);
  }

  // What is judged.

  /** I17: nothing was ever wrong with the others. */
  async #checkMoved(device: RemapDevice): Promise<void> {
    if (this.#theme === 'late writes') return;
    for (const line of lines(await device.message(['list', 'blocks']))) {
      const granule = Math.floor(Number.parseInt(line, 10) / granuleSectors);
      if (badGranules.includes(granule) || this.#suspected.has(granule)) continue;
      throw new JudgeViolation(
        `I17: nothing was ever wrong with granule ${granule}, and it was moved: ${line}`,
      );
    }
  }

  #maybeFork(chance: number): void {
    this.#moments += 1;
    if (this.#clientsAtWork > 0 && this.#random.chance(chance)) this.#nextForks.push(this.#fork());
  }

  #fork(): PowerFork {
    const random = this.#random.fork(`cut ${this.#moments}`);
    const judge = this.#judge.fork();
    const main = this.#main.afterPowerCut(random).image;
    const spare = this.#spare.afterPowerCut(random).image;
    judge.powerCut([]);
    const mainBad = this.#main.faults.badSectors();
    const spareBad = this.#spare.faults.badSectors();
    return {
      operation: this.#moments,
      random,
      kind: 'power',
      main,
      spare,
      mainBad,
      spareBad,
      judge,
      spareLied: false,
    };
  }

  async #judgeForks(): Promise<void> {
    const forks = this.#nextForks;
    if (forks.length === 0) return;
    this.#nextForks = [];
    const parts = {
      geometry: this.#geometry,
      arena: newArena(),
      memory: Buffer.allocUnsafeSlow(readAllBytes),
    };
    for (const fork of forks) await checkFork(fork, parts, this.#forks);
  }

  #outcome(device: RemapDevice): HotOutcome {
    const { counters, goneSectors } = device.status();
    const { faults } = this.#spare;
    return {
      theme: this.#theme,
      forks: this.#forks,
      remaps: counters.remaps,
      goneSectors,
      late: this.#main.faults.counts.late + faults.counts.late,
      pathErrors: this.#main.faults.counts.path + faults.counts.path,
      slotReadErrors: faults.counts.badSectorReads,
      slotWriteErrors: faults.counts.badSectorWrites,
      verifyMismatches: counters.verifyMismatches,
      sectorsChecked: this.#judge.sectorsChecked + this.#forks.sectorsChecked,
    };
  }
}

/** Runs of sectors that the spare holds: their first sectors on both. */
async function usedSlots(device: RemapDevice): Promise<{ main: number; spare: number }[]> {
  return lines(await device.message(['list', 'blocks'])).map((line) => {
    const [main, , spare] = line.split(' ').map(Number);
    return { main: main!, spare: spare! };
  });
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
