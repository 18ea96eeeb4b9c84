import { assert } from '../block/assert.ts';
import { sectorBytes } from '../block/block-device.ts';
import { delay } from '../block/clock.ts';
import type { DeviceError } from '../block/device-error.ts';
import { failureKindOfErrno } from '../block/errno.ts';
import { MetadataError } from '../metadata/metadata-error.ts';
import { MessageError } from '../remap/message-error.ts';
import type { RemapDevice } from '../remap/remap-device.ts';
import { SuspendError } from '../remap/suspension.ts';
import type { Stamp } from './contents.ts';
import { Judge, JudgeViolation } from './judge.ts';
import { type Excuses, JudgedClient, readAllBytes } from './judged-client.ts';
import { OperationCounter } from './operation-counter.ts';
import { checkFork, type ForkParts, type PowerFork } from './power-fork.ts';
import { SeededRandom } from './seeded-random.ts';
import { type FaultStrike, SimulatedDisk } from './simulated-disk.ts';
import type { PowerCutLoss, SectorContent } from './simulated-media.ts';
import { closeStack, createMetadata, newArena, openStack, type StackParts } from './simulated-stack.ts';
import { GenerationClock, VirtualClock } from './virtual-clock.ts';
import { countOne, emptyOutcome, noteCounters, noteStates, type WorldOutcome } from './world-outcome.ts';
import {
  cutPlan,
  type DiskName,
  drawPlan,
  type FaultStep,
  type PlanCut,
  type SessionEnd,
  type Step,
  type WorldPlan,
} from './world-plan.ts';

export { JudgeViolation } from './judge.ts';
export { worldLayout } from './world-geometry.ts';
export type { WorldOutcome } from './world-outcome.ts';
export type { PlanCut } from './world-plan.ts';

export interface WorldOptions extends PlanCut {
  /** The power is cut at every n-th device operation, in a fork of the world that is judged and thrown away. 0: never. */
  readonly forkEvery?: number;
}

/** A failed run, with all that repeats it. */
export interface WorldFailure {
  readonly options: WorldOptions;
  readonly error: unknown;
}

/** Virtual milliseconds after the last fault in which a request may still fail for it: probes and retries have pauses. */
const graceMs = 6000;
/** R36: no request is unanswered for longer, whatever the disks of these worlds do. */
const requestMaxMs = 240_000;

/** Runs one world from its seed. Throws `JudgeViolation`, or what the stack throws, when a promise is broken. */
export function runWorld(options: WorldOptions): Promise<WorldOutcome> {
  return new World(options).run();
}

/** One run of the process that has opened the device. */
interface Session {
  readonly clock: GenerationClock;
  readonly stack: StackParts;
  readonly end: SessionEnd;
  device: RemapDevice | undefined;
  readonly clients: JudgedClient[];
  operations: number;
  /** The spare did not do what it was asked, so that the metadata may have failed for good. */
  spareTrouble: boolean;
}

/**
 * Clients on one device, disks with faults, sessions that end by a power cut, a kill or a clean close, and a judge. The
 * stack is the shipped one; only the disks, the clock and chance are simulated. At every device operation, in a fork, the
 * power goes: what is then left is opened and read.
 */
export class World {
  readonly #plan: WorldPlan;
  readonly #forkEvery: number;
  readonly #random: SeededRandom;
  readonly #clock: VirtualClock;
  readonly #counter = new OperationCounter();
  readonly #judge: Judge;
  readonly #main: SimulatedDisk;
  readonly #spare: SimulatedDisk;
  readonly #outcome: WorldOutcome = emptyOutcome();
  readonly #forkParts: ForkParts;
  #forks: PowerFork[] = [];
  /** At which the power could have gone. */
  #moments = 0;
  #session: Session | undefined;
  /** Failures are excused up to here. */
  #troubleUntilMs = -1;
  /** Faults that last until they are lifted. */
  #lasting = 0;
  /** How long the next request that gets stuck stays so. */
  #stuckForMs = 0;
  #violation: JudgeViolation | undefined;
  /** Granules that may have been moved: a spare that lies loses those and no others. */
  readonly #special = new Set<number>();
  /** Granules that something was wrong with. */
  readonly #movable = new Set<number>();

  constructor(options: WorldOptions) {
    this.#plan = cutPlan(drawPlan(options.seed), options);
    this.#forkEvery = options.forkEvery ?? 1;
    this.#random = new SeededRandom(options.seed);
    this.#clock = new VirtualClock(this.#random.fork('clock'), { betweenEvents: () => this.#judgeForks() });
    const { geometry } = this.#plan;
    this.#judge = new Judge(geometry.mainSectors, options.seed, geometry.fresh);
    this.#main = this.#newDisk('main');
    this.#spare = this.#newDisk('spare');
    this.#forkParts = {
      geometry,
      arena: newArena(),
      memory: Buffer.allocUnsafeSlow(readAllBytes),
    };
  }

  async run(): Promise<WorldOutcome> {
    await this.#create();
    for (const [index, end] of this.#plan.sessions.entries()) await this.#runSession(index, end);
    await this.#lastSession();
    return this.#finish();
  }

  // The disks.

  #newDisk(name: DiskName): SimulatedDisk {
    const { geometry } = this.#plan;
    const isMain = name === 'main';
    return new SimulatedDisk({
      name,
      sizeBytes: isMain ? geometry.mainSectors * sectorBytes : geometry.spareBytes,
      logicalBlockBytes: isMain ? geometry.logicalBlockBytes : geometry.spareLogicalBytes,
      physicalBlockBytes: isMain ? geometry.mainPhysicalBytes : geometry.sparePhysicalBytes,
      clock: this.#clock,
      random: this.#random,
      writeCache: isMain ? geometry.mainWriteCache : geometry.spareWriteCache,
      capabilities: { fua: isMain ? geometry.mainFua : geometry.spareFua },
      exactRanges: geometry.exactRanges,
      counter: this.#counter,
      onOperation: () => this.#onOperation(),
      ...(isMain ? {} : { onBlindWrite: (sector, bytes) => this.#onBlindWrite(sector, bytes) }),
      onStrike: (strike) => this.#onStrike(strike),
      onCacheDropped: (lost) => this.#onCacheDropped(name, lost),
    });
  }

  async #create(): Promise<void> {
    const { mainSectors } = this.#plan.geometry;
    this.#main.load(this.#judge.contents.make(0, 0, mainSectors));
    await this.#clock.run(createMetadata(this.#newStack(this.#clock), this.#plan.geometry));
  }

  #newStack(clock: VirtualClock | GenerationClock): StackParts {
    const arena = newArena();
    return {
      main: this.#main.open(arena),
      spare: this.#spare.open(arena),
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
    await this.#clock.runUntil(() => done || this.#session !== session || this.#violation !== undefined);
    if (this.#violation !== undefined) throw this.#violation;
    if (done) await work;
    if (this.#session === session) this.#session = undefined;
    this.#calm();
  }

  async #sessionWork(session: Session, index: number): Promise<void> {
    const device = await this.#open(session);
    await this.#client(session, device).readAll();
    const steps = this.#plan.steps.filter((planned) => planned.session === index);
    const clients = new Set(steps.map(({ client }) => client));
    await Promise.all(
      [...clients].map(async (client) => {
        const judged = this.#client(session, device);
        for (const planned of steps) {
          if (planned.client === client) await this.#do(session, judged, planned.step);
        }
      }),
    );
    await this.#end(session, device);
  }

  /** After everything has healed, everything works: whatever state it was in (liveness). */
  async #lastSession(): Promise<void> {
    const session = this.#newSession({ how: 'close', afterOperations: Number.POSITIVE_INFINITY });
    await this.#clock.runFor(graceMs);
    const device = await this.#clock.run(this.#open(session));
    const client = this.#client(session, device);
    await this.#clock.run(client.readAll());
    const { logicalBlockBytes, mainSectors } = this.#plan.geometry;
    const step = Math.max(logicalBlockBytes / sectorBytes, 16);
    for (let sector = 0; sector < mainSectors; sector += step) {
      await this.#clock.run(client.write(sector, Math.min(step, mainSectors - sector), false));
    }
    await this.#clock.run(client.flush());
    await this.#clock.run(client.readAll());
    await this.#clock.run(this.#checkMoved(session, device));
    const { remappedGranules } = device.status();
    await this.#clock.run(this.#end(session, device));
    await this.#reopenedTheSame(remappedGranules);
  }

  async #reopenedTheSame(remappedGranules: number): Promise<void> {
    const session = this.#newSession({ how: 'close', afterOperations: Number.POSITIVE_INFINITY });
    const device = await this.#clock.run(this.#open(session));
    await this.#clock.run(this.#client(session, device).readAll());
    const status = device.status();
    this.#outcome.remappedGranules += status.remappedGranules;
    this.#outcome.lostSectors += status.unreadableSectors + status.goneSectors;
    if (status.remappedGranules !== remappedGranules) {
      throw new JudgeViolation(
        `${remappedGranules} remaps before a clean stop, ${status.remappedGranules} after it`,
      );
    }
    await this.#clock.run(this.#end(session, device));
  }

  #newSession(end: SessionEnd): Session {
    const clock = new GenerationClock(this.#clock);
    const stack = this.#newStack(clock);
    this.#session = { clock, stack, end, device: undefined, clients: [], operations: 0, spareTrouble: false };
    return this.#session;
  }

  async #open(session: Session): Promise<RemapDevice> {
    const device = await openStack(session.stack);
    session.device = device;
    return device;
  }

  #client(session: Session, device: RemapDevice): JudgedClient {
    const client = new JudgedClient(device, this.#judge, this.#excusesOf(session));
    session.clients.push(client);
    return client;
  }

  async #end(session: Session, device: RemapDevice): Promise<void> {
    if (session.end.how !== 'close') return this.#cut(session);
    const token = this.#judge.flushBegun();
    const { flushEpoch } = device;
    noteStates(this.#outcome, device.status());
    noteCounters(this.#outcome, device.status());
    await this.#alive(session, closeStack(device, session.stack));
    countOne(this.#outcome.sessionEnds, 'close');
    // A close cannot say that its flush failed: then it promises nothing.
    if (device.flushEpoch === flushEpoch && !this.#inTrouble(this.#clock.nowMs())) {
      this.#judge.flushAcknowledged(token, this.#honest());
    }
  }

  /** The session ends here and now, in the middle of whatever it does. */
  #cut(session: Session): void {
    if (this.#session !== session) return;
    const { how } = session.end;
    this.#session = undefined;
    session.clock.end();
    if (session.device !== undefined) {
      noteStates(this.#outcome, session.device.status());
      noteCounters(this.#outcome, session.device.status());
    }
    countOne(this.#outcome.sessionEnds, how);
    if (how === 'kill') {
      this.#main.kill();
      this.#spare.kill();
      this.#judge.killed();
      return;
    }
    const spareLoss = this.#spare.powerCut();
    this.#judge.powerCut(this.#main.powerCut().lied);
    if (spareLoss.lied.length > 0) this.#excuseSpecial(this.#judge);
  }

  /** A machine that starts again finds its disks as they are, without what hung or was unplugged. */
  #calm(): void {
    for (const disk of [this.#main, this.#spare]) {
      disk.faults.calm();
      disk.plug();
      disk.releaseStuck();
    }
    this.#lasting = 0;
    this.#troubleUntilMs = -1;
  }

  // Steps.

  async #do(session: Session, client: JudgedClient, step: Step): Promise<void> {
    if (this.#violation !== undefined) await new Promise<never>(() => {});
    switch (step.verb) {
      case 'write':
        await client.write(step.sector, step.sectorCount, step.fua);
        break;
      case 'read':
        await client.read(step.sector, step.sectorCount);
        break;
      case 'discard':
        await client.discard(step.sector, step.sectorCount);
        break;
      case 'write-zeroes':
        await client.writeZeroes(step.sector, step.sectorCount);
        break;
      case 'flush':
        await client.flush();
        break;
      case 'pause':
        await delay(session.clock, step.forMs);
        break;
      case 'message':
        await this.#message(session, step.words);
        break;
      case 'suspend':
        await this.#suspend(session, step.flush, step.forMs);
        break;
      case 'fault':
        this.#inject(step.disk, step.what);
        break;
    }
    countOne(this.#outcome.requests, step.verb);
    if (session.device !== undefined) noteStates(this.#outcome, session.device.status());
  }

  async #message(session: Session, words: readonly string[]): Promise<void> {
    const { device } = session;
    assert(device !== undefined, 'messages are for a device that is open');
    const [verb = ''] = words;
    const [sector = 0, count = 1] = words.map(Number).filter((word) => !Number.isNaN(word));
    if (verb === 'remap' || verb === 'import') {
      this.#markSpecial(sector, count);
      this.#mayMove(sector, count);
    }
    const filled = verb === 'fill' ? this.#judge.newVersion() : undefined;
    if (filled !== undefined) {
      this.#judge.contents.makeZeroes(filled);
      this.#judge.writeBegun(sector, count, filled);
    }
    try {
      await this.#answered(session, device.message(words));
      countOne(this.#outcome.requests, `message ${verb}`);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      countOne(this.#outcome.failedRequests, `message ${verb}`);
    }
    if (filled !== undefined) this.#judge.filled(sector, count, filled);
  }

  async #suspend(session: Session, flush: boolean, forMs: number): Promise<void> {
    const { device } = session;
    assert(device !== undefined, 'a device that is open is suspended');
    const sinceMs = this.#clock.nowMs();
    try {
      await this.#alive(session, device.suspend({ flush }));
      if (device.suspended) countOne(this.#outcome.states, 'suspended');
    } catch (error) {
      if (!(error instanceof SuspendError)) throw error;
      // Another client may have resumed it.
      if (!this.#inTrouble(sinceMs) && error.code !== 'SUSPEND_ENDED') throw error;
      countOne(this.#outcome.failedRequests, 'suspend');
    }
    await delay(session.clock, forMs);
    await this.#alive(session, device.resume());
  }

  #inject(name: DiskName, what: FaultStep): void {
    const disk = name === 'main' ? this.#main : this.#spare;
    const { faults } = disk;
    switch (what.fault) {
      case 'bad': {
        // A sector that only fails reads heals when it is written: else an acknowledged write could be lost in silence.
        const fault = { on: what.on, healOnWrite: what.on === 'read' && !what.blind };
        if (what.on !== 'write') this.#lostIfRead(disk, what.sector, what.sectorCount);
        faults.addBadSectors(what.sector, what.sectorCount, fault);
        if (name === 'main') {
          this.#markSpecial(what.sector, what.sectorCount);
          this.#mayMove(what.sector, what.sectorCount);
        }
        break;
      }
      case 'fail':
        faults.failNext(what.count, { kinds: what.kinds, errno: what.errno });
        break;
      case 'partial-write':
        faults.failNext(1, { kinds: ['write'], errno: what.errno, partly: true });
        break;
      case 'stuck':
        this.#stuckForMs = what.forMs;
        faults.stickNext(1, { kinds: what.kinds });
        break;
      case 'delay':
        faults.delayNext(1, what.delay, { kinds: what.kinds });
        break;
      case 'path':
        this.#lasting += 1;
        faults.setPathError(what.errno);
        this.#lift(what.forMs, () => faults.setPathError(undefined));
        break;
      case 'unplugged':
        if (!disk.plugged) break;
        this.#lasting += 1;
        if (disk === this.#spare) this.#spareTrouble();
        this.#lied(disk, disk.unplug());
        this.#lift(what.forMs, () => disk.plug());
        break;
      case 'failing-flush':
        faults.failFlush('once');
        break;
      case 'lying-flush':
        faults.lieOnFlush(what.count);
        break;
    }
  }

  /** Ends a fault that lasts. A restart may have done so before. */
  #lift(forMs: number, heal: () => void): void {
    const session = this.#session;
    this.#clock.schedule(forMs, () => {
      if (this.#session !== session) return;
      heal();
      this.#lasting -= 1;
      this.#troubleUntilMs = Math.max(this.#troubleUntilMs, this.#clock.nowMs() + graceMs);
    });
  }

  // What the disks tell.

  #onOperation(): void {
    const session = this.#session;
    if (session === undefined) return;
    session.operations += 1;
    this.#outcome.deviceOperations += 1;
    if (session.operations >= session.end.afterOperations && session.end.how !== 'close') this.#cut(session);
    else this.#maybeFork();
  }

  /** At every device operation, and behind every acknowledgement. */
  #maybeFork(): void {
    if (this.#forkEvery === 0) return;
    this.#moments += 1;
    if (this.#moments % this.#forkEvery === 0) this.#forks.push(this.#fork(this.#counter.count));
  }

  #onStrike(strike: FaultStrike): void {
    const { fault, kind, offset, length, errno, lastsMs } = strike;
    const disk = strike.name === 'main' ? this.#main : this.#spare;
    if (disk === this.#spare && fault !== 'lying-flush') this.#spareTrouble();
    if (fault === 'stuck') {
      this.#lasting += 1;
      this.#lift(this.#stuckForMs, () => disk.releaseStuck());
    }
    const untilMs = this.#clock.nowMs() + lastsMs + graceMs;
    if (fault !== 'lying-flush') this.#troubleUntilMs = Math.max(this.#troubleUntilMs, untilMs);
    if (disk === this.#main && kind === 'write' && errno !== 0) {
      this.#markSpecial(offset / sectorBytes, length / sectorBytes);
    }
    // A request that fails once more and then works, or that never comes back, may rightly count as a bad sector (R14, R17).
    if (disk === this.#main && fault !== 'path' && errno !== 0 && kind !== 'flush') {
      this.#mayMove(offset / sectorBytes, length / sectorBytes);
    }
    // An error that may be about the sector, or an answer that never came: the device may rightly give the sector up.
    const aboutSector = errno !== 0 && failureKindOfErrno(errno) === 'suspect';
    if (kind === 'read' && aboutSector) this.#lostIfRead(disk, offset / sectorBytes, length / sectorBytes);
  }

  #spareTrouble(): void {
    if (this.#session !== undefined) this.#session.spareTrouble = true;
  }

  /** A disk lost its power alone. What its flushes had lied about is lost with it. */
  #lied(disk: SimulatedDisk, loss: PowerCutLoss): void {
    if (loss.lied.length === 0) return;
    if (disk === this.#spare) this.#excuseSpecial(this.#judge);
    else this.#judge.lied(loss.lied);
  }

  /**
   * A write in place to a sector of the spare that took it, silently, and cannot be read again. In a slot that was read back
   * when it was new nobody can know (R24: `first`); in a new slot reading back finds it.
   */
  #onBlindWrite(sector: number, bytes: Uint8Array): void {
    const after = this.#judge.contents.stampOf(bytes);
    const before = this.#judge.contents.stampOf(this.#spare.cachedImage(sector * sectorBytes, sectorBytes));
    if (after === undefined || before?.sector !== after.sector) return;
    if (this.#judge.mayBe(before.sector, before.version)) this.#judge.wentBad(after.sector);
  }

  #onCacheDropped(disk: DiskName, lost: readonly SectorContent[]): void {
    this.#judge.flushFailed();
    let acknowledged = false;
    for (const { sector, bytes } of lost) {
      const stamp = this.#judge.contents.stampOf(bytes);
      // Zeros on the spare are of somebody who wrote zeros: of whom, nobody can say.
      const owner = disk === 'main' ? sector : stamp?.sector;
      if (owner === undefined) continue;
      if (stamp !== undefined && !this.#judge.mayBe(stamp.sector, stamp.version)) continue;
      if (stamp !== undefined && this.#isElsewhere(disk, stamp)) continue;
      if (this.#judge.cacheDropped(owner, stamp?.version)) acknowledged = true;
    }
    if (!acknowledged) return;
    for (const client of this.#session?.clients ?? []) client.owedFailure = true;
  }

  /** The other disk has it, durably: what was lost was left from before a move. */
  #isElsewhere(disk: DiskName, lost: Stamp): boolean {
    const image = (disk === 'main' ? this.#spare : this.#main).durableImage;
    for (let at = 0; at < image.length; at += sectorBytes) {
      const stamp = this.#judge.contents.stampOf(image, at);
      if (stamp?.sector === lost.sector && stamp.version === lost.version) return true;
    }
    return false;
  }

  /** These sectors of a disk fail reads from now on: whose bytes they hold may be lost, and nobody else's. */
  #lostIfRead(disk: SimulatedDisk, firstSector: number, sectorCount: number): void {
    for (let at = firstSector; at < firstSector + sectorCount; at += 1) {
      const bytes = disk.cachedImage(at * sectorBytes, sectorBytes);
      const stamp = this.#judge.contents.stampOf(bytes);
      if (stamp !== undefined && this.#judge.mayBe(stamp.sector, stamp.version))
        this.#judge.wentBad(stamp.sector);
      else if (stamp === undefined && disk === this.#main) this.#judge.wentBad(at);
    }
  }

  /** I17: no other granule is ever moved. */
  #mayMove(firstSector: number, sectorCount: number): void {
    const perGranule = this.#plan.geometry.granuleBytes / sectorBytes;
    const last = Math.floor((firstSector + sectorCount - 1) / perGranule);
    for (let granule = Math.floor(firstSector / perGranule); granule <= last; granule += 1) {
      this.#movable.add(granule);
    }
  }

  /** I17: what is on the spare had a reason to go there. */
  async #checkMoved(session: Session, device: RemapDevice): Promise<void> {
    const perGranule = this.#plan.geometry.granuleBytes / sectorBytes;
    const list = await this.#answered(session, device.message(['list']));
    for (const line of list.split('\n')) {
      const granule = Math.floor(Number.parseInt(line, 10) / perGranule);
      // Past the narrowing budget whole granules go, listed as such (R19).
      if (line === '' || line.endsWith(' unverified') || this.#movable.has(granule)) continue;
      throw new JudgeViolation(
        `I17: nothing was ever wrong with granule ${granule}, and it was moved: ${line}`,
      );
    }
  }

  #markSpecial(firstSector: number, sectorCount: number): void {
    const perGranule = this.#plan.geometry.granuleBytes / sectorBytes;
    const last = Math.floor((firstSector + sectorCount - 1) / perGranule);
    for (let granule = Math.floor(firstSector / perGranule); granule <= last; granule += 1) {
      this.#special.add(granule);
    }
  }

  #excuseSpecial(judge: Judge): void {
    const perGranule = this.#plan.geometry.granuleBytes / sectorBytes;
    for (const granule of this.#special) {
      const end = Math.min((granule + 1) * perGranule, judge.sectorCount);
      for (let sector = granule * perGranule; sector < end; sector += 1) judge.excuse(sector);
    }
  }

  // Excuses.

  #excusesOf(session: Session): Excuses {
    return {
      allowFailure: (verb, error, sinceMs) => this.#allowFailure(session, verb, error, sinceMs),
      honest: () => this.#honest(),
      nowMs: () => this.#clock.nowMs(),
      acknowledged: () => this.#maybeFork(),
      answered: (request) => this.#answered(session, request),
    };
  }

  #allowFailure(session: Session, verb: string, error: DeviceError, sinceMs: number): void {
    countOne(this.#outcome.failedRequests, verb);
    if (this.#inTrouble(sinceMs)) return;
    const status = session.device?.status();
    const aboutSectors = error.ranges.every(({ kind }) => kind === 'medium' || kind === 'suspect');
    const mayBeFull = status?.slotsFree === 0 || this.#spare.faults.badSectorCount > 0;
    if (verb !== 'read' && verb !== 'flush' && aboutSectors && mayBeFull) return;
    const isReadOnly = status?.slotsFree === 0 && status.policies['on-spare-full'] === 'read-only';
    if (verb !== 'read' && isReadOnly && error.ranges.every(({ kind }) => kind === 'refused')) return;
    if (verb !== 'read' && session.spareTrouble && status?.state === 'metadata-failed') return;
    throw new JudgeViolation(
      `a ${verb} failed with nothing wrong but bad sectors, at ${this.#clock.nowMs()} ms: ${error.message}`,
    );
  }

  /** True when a fault may have met a request that began then. */
  #inTrouble(sinceMs: number): boolean {
    return this.#lasting > 0 || this.#troubleUntilMs >= sinceMs;
  }

  #honest(): boolean {
    return !this.#main.owesLiedWrites && !this.#spare.owesLiedWrites;
  }

  /**
   * An answer that the client really gets, in time. The power can go while microtasks are still carrying an answer upwards:
   * such a one never leaves the machine.
   */
  async #answered<T>(session: Session, request: Promise<T>): Promise<T> {
    const watchdog = this.#clock.schedule(requestMaxMs, () => {
      if (this.#session !== session) return;
      this.#violation ??= new JudgeViolation(`R36: a request is not answered after ${requestMaxMs} ms`);
    });
    try {
      return await this.#alive(session, request);
    } finally {
      watchdog.cancel();
    }
  }

  async #alive<T>(session: Session, request: Promise<T>): Promise<T> {
    try {
      return await request;
    } finally {
      if (this.#session !== session) await new Promise<never>(() => {});
    }
  }

  // Forks.

  #fork(operation: number): PowerFork {
    const random = this.#random.fork(`cut ${this.#moments}`);
    const judge = this.#judge.fork();
    const mainBad = this.#main.faults.badSectors();
    const spareBad = this.#spare.faults.badSectors();
    const common = { operation, random, judge, mainBad, spareBad };
    if (random.chance(0.125)) {
      judge.killed();
      const main = this.#main.afterKill(random);
      return { ...common, kind: 'kill', main, spare: this.#spare.afterKill(random), spareLied: false };
    }
    const main = this.#main.afterPowerCut(random);
    const spare = this.#spare.afterPowerCut(random);
    judge.powerCut(main.loss.lied);
    const spareLied = spare.loss.lied.length > 0;
    if (spareLied) this.#excuseSpecial(judge);
    return { ...common, kind: 'power', main: main.image, spare: spare.image, spareLied };
  }

  #judgeForks(): Promise<void> | undefined {
    return this.#forks.length === 0 ? undefined : this.#checkForks();
  }

  async #checkForks(): Promise<void> {
    const forks = this.#forks;
    this.#forks = [];
    for (const fork of forks) {
      try {
        await checkFork(fork, this.#forkParts, this.#outcome.forks);
      } catch (error) {
        throw new JudgeViolation(`${fork.kind} at device operation ${fork.operation}: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
  }

  #finish(): WorldOutcome {
    const outcome = this.#outcome;
    outcome.sectorsChecked = this.#judge.sectorsChecked;
    Object.assign(outcome.mainFaults, this.#main.faults.counts);
    Object.assign(outcome.spareFaults, this.#spare.faults.counts);
    return outcome;
  }
}

function messageOf(error: unknown): string {
  if (error instanceof MetadataError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
