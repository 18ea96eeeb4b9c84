import { sectorBytes } from '../../block/block-device.ts';
import { MetadataError } from '../../metadata/metadata-error.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import { AlignmentFilter } from '../../remap/request/alignment-filter.ts';
import { OperationCounter } from '../operation-counter.ts';
import { SeededRandom } from '../seeded-random.ts';
import { type FaultStrike, SimulatedDisk } from '../simulated-disk.ts';
import { GenerationClock, VirtualClock } from '../virtual-clock.ts';
import { FaultEffects } from './fault-effects.ts';
import { FaultInjector } from './fault-injector.ts';
import { ForeignDisks } from './foreign-disks.ts';
import { Judge, JudgeViolation } from './judge.ts';
import { type DeviceLists, judgeLists, listsOf } from './judge-lists.ts';
import { JudgedClient } from './judged-client.ts';
import { mapMain, WatchedDevice } from './main-targets.ts';
import { drawPlan } from './plan-drawing.ts';
import { SessionSteps } from './session-steps.ts';
import { scrubberIn } from './simulated-scrubs.ts';
import { closeStack, createMetadata, newArena, openStack, type StackParts } from './simulated-stack.ts';
import { graceMs, Trouble } from './trouble.ts';
import { excusesOf, isHonest } from './world-excuses.ts';
import { WorldForks } from './world-forks.ts';
import type { WorldGeometry } from './world-geometry.ts';
import { countOne, emptyOutcome, noteCounters, noteStates, type WorldOutcome } from './world-outcome.ts';
import { cutPlan, type DiskName, type PlanCut, type SessionEnd } from './world-plan.ts';
import { type Session, type WorldState, whileAlive } from './world-state.ts';

export { JudgeViolation } from './judge.ts';
export { worldLayout } from './world-geometry.ts';
export type { WorldOutcome } from './world-outcome.ts';
export type { PlanCut } from './world-plan.ts';

export interface WorldOptions extends PlanCut {
  /** The power is cut at every n-th device operation, in a fork of the world that is judged and thrown away. 0: never. */
  readonly forkEvery?: number;
}

/** Runs one world from its seed. Throws `JudgeViolation`, or what the stack throws, when a promise is broken. */
export function runWorld(options: WorldOptions): Promise<WorldOutcome> {
  return new World(options).run();
}

/**
 * Clients on one device, disks with faults, sessions that end by a power cut, a kill or a clean close, and a judge. The
 * stack is the shipped one; only the disks, the clock and chance are simulated. At every device operation, in a fork, the
 * power goes: what is then left is opened and read.
 */
export class World {
  readonly #random: SeededRandom;
  readonly #counter = new OperationCounter();
  readonly #world: WorldState;
  readonly #effects: FaultEffects;
  readonly #foreign: ForeignDisks;
  readonly #injector: FaultInjector;
  readonly #steps: SessionSteps;
  readonly #forks: WorldForks;

  constructor(options: WorldOptions) {
    const plan = cutPlan(drawPlan(options.seed), options);
    const { geometry } = plan;
    this.#random = new SeededRandom(options.seed);
    const clock = new VirtualClock(this.#random.fork('clock'), { betweenEvents: () => this.#forks.judge() });
    this.#world = {
      plan,
      clock,
      judge: new Judge(geometry.mainSectors, options.seed, geometry.fresh),
      main: this.#newDisk('main', geometry, clock),
      spare: this.#newDisk('spare', geometry, clock),
      trouble: new Trouble(geometry),
      outcome: emptyOutcome(),
      session: undefined,
      violation: undefined,
      spareLied: false,
    };
    this.#effects = new FaultEffects(this.#world);
    this.#foreign = new ForeignDisks(this.#world, this.#random);
    this.#injector = new FaultInjector(this.#world, this.#effects, this.#foreign);
    this.#steps = new SessionSteps(this.#world, this.#injector);
    this.#forks = new WorldForks(this.#world, options.forkEvery ?? 1, this.#random, this.#counter);
  }

  async run(): Promise<WorldOutcome> {
    await this.#create();
    try {
      for (const [index, end] of this.#world.plan.sessions.entries()) await this.#runSession(index, end);
      await this.#lastSession();
    } catch (error) {
      // The world ends early: a spare that forgot what it had promised is refused rather than believed.
      if (!this.#world.spareLied || !(error instanceof MetadataError)) throw error;
      this.#world.outcome.refusedSpares += 1;
    }
    return this.#finish();
  }

  // The disks.

  #newDisk(name: DiskName, geometry: WorldGeometry, clock: VirtualClock): SimulatedDisk {
    const isMain = name === 'main';
    return new SimulatedDisk({
      name,
      sizeBytes: isMain ? geometry.mainSectors * sectorBytes : geometry.spareBytes,
      logicalBlockBytes: isMain ? geometry.logicalBlockBytes : geometry.spareLogicalBytes,
      physicalBlockBytes: isMain ? geometry.mainPhysicalBytes : geometry.sparePhysicalBytes,
      clock,
      random: this.#random,
      writeCache: isMain ? geometry.mainWriteCache : geometry.spareWriteCache,
      capabilities: {
        fua: isMain ? geometry.mainFua : geometry.spareFua,
        fastZeroes: isMain && this.#random.fork('fast zeroes').chance(0.3),
      },
      exactRanges: geometry.exactRanges,
      counter: this.#counter,
      onOperation: () => this.#onOperation(),
      ...(isMain ? {} : { onBlindWrite: (sector, bytes) => this.#effects.blindWrite(sector, bytes) }),
      onStrike: (strike) => this.#onStrike(strike),
      onCacheDropped: (loss) => this.#effects.cacheDropped(name, loss),
    });
  }

  async #create(): Promise<void> {
    const { mainSectors } = this.#world.plan.geometry;
    this.#world.main.load(this.#world.judge.contents.make(0, 0, mainSectors));
    await this.#world.clock.run(createMetadata(this.#newStack(this.#world.clock), this.#world.plan.geometry));
  }

  #newStack(clock: VirtualClock | GenerationClock): StackParts {
    const arena = newArena();
    return {
      main: this.#world.main.open(arena),
      spare: this.#world.spare.open(arena),
      arena,
      clock,
      random: this.#random.fork(`stack ${this.#counter.count}`),
    };
  }

  // Sessions.

  async #runSession(index: number, end: SessionEnd): Promise<void> {
    const session = this.#newSession(end);
    let done = false;
    const work = this.#sessionWork(session, index).finally(() => {
      done = true;
    });
    // A failure is thrown by the await below; until then it must not count as unhandled.
    work.catch(() => undefined);
    await this.#world.clock.runUntil(
      () => done || this.#world.session !== session || this.#world.violation !== undefined,
    );
    if (this.#world.violation !== undefined) throw this.#world.violation;
    if (done) await work;
    if (this.#world.session === session) this.#world.session = undefined;
    this.#calm();
  }

  async #sessionWork(session: Session, index: number): Promise<void> {
    const device = await this.#open(session);
    await this.#client(session, device).readAll();
    const steps = this.#world.plan.steps.filter((planned) => planned.session === index);
    const clients = new Set(steps.map(({ client }) => client));
    await Promise.all(
      [...clients].map(async (client) => {
        const judged = this.#client(session, device);
        let inSectors: JudgedClient | undefined;
        for (const { client: doer, step } of steps) {
          if (doer !== client) continue;
          const isInSectors = (step.verb === 'read' || step.verb === 'write') && step.inSectors === true;
          if (isInSectors) inSectors ??= this.#client(session, new AlignmentFilter(device));
          await this.#steps.do(session, isInSectors && inSectors !== undefined ? inSectors : judged, step);
        }
      }),
    );
    await this.#end(session, device);
  }

  /** After everything has healed, everything works: whatever state it was in (liveness). */
  async #lastSession(): Promise<void> {
    const session = this.#newSession({ how: 'close', afterOperations: Number.POSITIVE_INFINITY });
    await this.#world.clock.runFor(graceMs);
    const device = await this.#world.clock.run(this.#open(session));
    const client = this.#client(session, device);
    await this.#world.clock.run(client.readAll());
    const { logicalBlockBytes, mainSectors } = this.#world.plan.geometry;
    const step = Math.max(logicalBlockBytes / sectorBytes, 16);
    for (let sector = 0; sector < mainSectors; sector += step) {
      await this.#world.clock.run(client.write(sector, Math.min(step, mainSectors - sector), false));
    }
    await this.#world.clock.run(client.flush());
    await this.#world.clock.run(judgeLists(this.#world, session, device, client));
    const lists = await this.#world.clock.run(listsOf(this.#world, session, device));
    await this.#world.clock.run(this.#end(session, device));
    await this.#reopenedTheSame(lists);
  }

  /** A clean stop keeps every line of the lists. */
  async #reopenedTheSame(lists: DeviceLists): Promise<void> {
    const session = this.#newSession({ how: 'close', afterOperations: Number.POSITIVE_INFINITY });
    const device = await this.#world.clock.run(this.#open(session));
    const { moved, lost } = await this.#world.clock.run(listsOf(this.#world, session, device));
    if (moved !== lists.moved) throw changedList('list', lists.moved, moved);
    if (lost !== lists.lost) throw changedList('lost', lists.lost, lost);
    await this.#world.clock.run(this.#client(session, device).readAll());
    const status = device.status();
    this.#world.outcome.remappedGranules += status.remappedGranules;
    this.#world.outcome.lostSectors += status.unreadableSectors + status.goneSectors;
    await this.#world.clock.run(this.#end(session, device));
  }

  #newSession(end: SessionEnd): Session {
    const clock = new GenerationClock(this.#world.clock);
    const stack = this.#newStack(clock);
    this.#world.session = {
      clock,
      stack,
      end,
      targets: undefined,
      device: undefined,
      metadata: undefined,
      scrubber: undefined,
      clients: [],
      operations: 0,
      spareTrouble: false,
    };
    return this.#world.session;
  }

  async #open(session: Session): Promise<RemapDevice> {
    const { mainSegments } = this.#world.plan;
    if (mainSegments !== undefined) {
      const { main, clock, random } = session.stack;
      session.targets = await mapMain(main, mainSegments, clock, random);
      const watched = new WatchedDevice(session.targets, (kind, error) =>
        this.#effects.targetFailed(kind, error),
      );
      session.stack = { ...session.stack, main: watched };
    }
    const opened = await openStack(session.stack);
    const { device, metadata } = opened;
    this.#world.spareLied = false;
    session.device = device;
    session.metadata = metadata;
    if (this.#world.plan.isScrubbed) session.scrubber = scrubberIn(this.#world, session.stack, opened);
    return device;
  }

  #client(session: Session, device: RemapDevice | AlignmentFilter): JudgedClient {
    const client = new JudgedClient(
      device,
      this.#world.judge,
      excusesOf(this.#world, session, () => this.#forks.moment()),
      this.#world.plan.geometry.logicalBlockBytes / sectorBytes,
    );
    session.clients.push(client);
    return client;
  }

  async #end(session: Session, device: RemapDevice): Promise<void> {
    if (session.end.how !== 'close') return this.#cut(session);
    session.scrubber?.close();
    const token = this.#world.judge.flushBegun();
    const { flushEpoch } = device;
    noteStates(this.#world.outcome, device.status());
    noteCounters(this.#world.outcome, device.status());
    await whileAlive(this.#world, session, closeStack(device, session.stack));
    countOne(this.#world.outcome.sessionEnds, 'close');
    // A close cannot say that its flush failed: then it promises nothing.
    if (device.flushEpoch === flushEpoch && !this.#world.trouble.met(this.#world.clock.nowMs())) {
      this.#world.judge.flushAcknowledged(token, isHonest(this.#world));
    }
  }

  /** The session ends here and now, in the middle of whatever it does. */
  #cut(session: Session): void {
    if (this.#world.session !== session) return;
    const { how } = session.end;
    this.#world.session = undefined;
    session.clock.end();
    if (session.device !== undefined) {
      noteStates(this.#world.outcome, session.device.status());
      noteCounters(this.#world.outcome, session.device.status());
    }
    countOne(this.#world.outcome.sessionEnds, how);
    if (how === 'kill') {
      this.#world.main.kill();
      this.#world.spare.kill();
      this.#world.judge.killed();
      return;
    }
    const spareLoss = this.#world.spare.powerCut();
    this.#world.judge.powerCut(this.#world.main.powerCut().lied);
    if (spareLoss.lied.length > 0) this.#effects.spareLied();
  }

  /** A machine that starts again finds its disks as they are, without what hung or was unplugged. */
  #calm(): void {
    for (const disk of [this.#world.main, this.#world.spare]) {
      disk.faults.calm();
      disk.plug();
      disk.releaseStuck();
    }
    this.#world.trouble.calm();
  }

  // What the disks tell.

  #onOperation(): void {
    const session = this.#world.session;
    if (session === undefined) return;
    session.operations += 1;
    this.#world.outcome.deviceOperations += 1;
    if (session.operations >= session.end.afterOperations && session.end.how !== 'close') this.#cut(session);
    else this.#forks.moment();
  }

  #onStrike(strike: FaultStrike): void {
    this.#effects.struck(strike);
    if (strike.fault === 'stuck') {
      this.#injector.stuck(strike.name === 'main' ? this.#world.main : this.#world.spare);
    }
  }

  #finish(): WorldOutcome {
    const outcome = this.#world.outcome;
    this.#foreign.judge();
    this.#foreign.count(outcome);
    outcome.overlaps = this.#world.judge.overlapsJudged;
    outcome.sectorsChecked = this.#world.judge.sectorsChecked;
    Object.assign(outcome.mainFaults, this.#world.main.faults.counts);
    Object.assign(outcome.spareFaults, this.#world.spare.faults.counts);
    return outcome;
  }
}

function changedList(name: string, before: string, after: string): JudgeViolation {
  return new JudgeViolation(`${name} before a clean stop:\n${before}\nand after it:\n${after}`);
}
