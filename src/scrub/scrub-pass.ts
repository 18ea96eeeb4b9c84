import type { Clock } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import type { ScrubAccess, ScrubPart, ScrubTrouble } from '../remap/scrub/scrub-access.ts';
import type { ScrubFinding } from '../remap/scrub/scrub-read.ts';
import type { ReadBaseline } from './read-baseline.ts';
import { RecentSpeed } from './recent-speed.ts';
import { newScrubCounts, type ScrubCounts } from './scrub-counts.ts';
import {
  busyReadBytes,
  emptyChunksPerTurn,
  failedInRowMax,
  idleReadBytes,
  troublePauseMs,
  troublePauseMsMax,
} from './scrub-limits.ts';
import type { ScrubPace } from './scrub-pace.ts';
import type { OpenPass } from './scrub-record.ts';
import type { ScrubSleep } from './scrub-sleep.ts';
import { type MoveBudget, SlowBlocks, type SlowBlocksFound } from './slow-blocks.ts';

/** What the metadata says when all of its replicas are read again. Rejects when the spare does not answer. */
export type VerifyReplicas = () => Promise<{ readonly bad: number; readonly repaired: number }>;

export interface ScrubPassParts {
  readonly access: ScrubAccess;
  readonly clock: Clock;
  readonly sleep: ScrubSleep;
  readonly pace: ScrubPace;
  readonly baseline: ReadBaseline;
  readonly budget: MoveBudget;
  readonly verifyReplicas: VerifyReplicas;
  /** Somewhere between two reads: the position may be worth storing. */
  readonly onStep: () => void;
  readonly onSlow: (found: SlowBlocksFound) => void;
}

/**
 * - `finished`  all of main, all slots and all replicas were read
 * - `stopped`   somebody said so
 * - `storm`     reading on would harm more than it finds
 * - `closed`    the device has closed
 */
export type PassOutcome = 'finished' | 'stopped' | 'storm' | 'closed';

/** What a running pass waits for; empty while it reads. */
export type PassWait = ScrubTrouble | 'memory' | '';

/** Moves have all the memory: it is asked for again after this long. */
const memoryPauseMs = 100;

/**
 * One pass over the device from its position on, one read at a time (R36): what main holds from main, what was moved from its
 * slot, then the replicas of the metadata.
 */
export class ScrubPass {
  readonly startedUnixSeconds: number;
  readonly counts: ScrubCounts;
  positionBytes: number;
  waitsFor: PassWait = '';
  readonly #parts: ScrubPassParts;
  readonly #slow: SlowBlocks;
  readonly #reading: RecentSpeed;
  readonly #progress: RecentSpeed;
  #failedInRow = 0;
  #troublePauseMs = troublePauseMs;
  #emptyChunks = 0;
  #stopped: () => boolean = () => false;

  constructor(parts: ScrubPassParts, from: OpenPass | undefined) {
    const { clock, access } = parts;
    this.#parts = parts;
    this.counts = { ...(from?.counts ?? newScrubCounts()) };
    this.startedUnixSeconds = from?.startedUnixSeconds ?? Math.floor(clock.unixMs() / 1000);
    const { granuleBytes, sizeBytes } = access;
    // A dump that somebody edited may say anything: a read begins with a granule.
    const positionBytes = Math.floor((from?.positionBytes ?? 0) / granuleBytes) * granuleBytes;
    this.positionBytes = from?.positionBytes === sizeBytes ? sizeBytes : Math.min(positionBytes, sizeBytes);
    this.#slow = new SlowBlocks({ ...parts, counts: this.counts, tell: parts.onSlow });
    this.#reading = new RecentSpeed(clock.nowMs());
    this.#progress = new RecentSpeed(clock.nowMs());
  }

  get bytesPerSecond(): number | undefined {
    return this.#reading.bytesPerSecond(this.#parts.clock.nowMs());
  }

  /** When it goes on like the last half minute; undefined while nobody can tell. */
  get secondsLeft(): number | undefined {
    const speed = this.#progress.bytesPerSecond(this.#parts.clock.nowMs());
    if (speed === undefined || speed === 0) return undefined;
    return (this.#parts.access.sizeBytes - this.positionBytes) / speed;
  }

  /** Goes on until the end, or until somebody says stop; may be called again then. */
  async run(stopped: () => boolean): Promise<PassOutcome> {
    const { access, onStep } = this.#parts;
    this.#failedInRow = 0;
    this.#stopped = stopped;
    while (this.positionBytes < access.sizeBytes) {
      if (stopped()) return 'stopped';
      const outcome = await this.#step();
      if (outcome !== undefined) return outcome;
      onStep();
      if (this.#slow.isDue) await this.#slow.lookAgain(stopped);
    }
    await this.#slow.lookAgain(stopped);
    return await this.#readReplicas(stopped);
  }

  async #step(): Promise<PassOutcome | undefined> {
    const { access, pace } = this.#parts;
    const trouble = access.trouble();
    if (trouble === 'storm') return 'storm';
    if (trouble !== undefined) return await this.#waitFor(trouble);
    this.waitsFor = '';
    const isIdle = pace.isIdle;
    const chunkBytes = this.#chunkBytes(isIdle);
    const start = Math.floor(this.positionBytes / chunkBytes) * chunkBytes;
    const length = Math.min(access.sizeBytes, start + chunkBytes) - this.positionBytes;
    const { part, endBytes } = access.next(this.positionBytes, length);
    if (part !== undefined) return await this.#readPart(part, isIdle, chunkBytes);
    await this.#pass(endBytes);
    return undefined;
  }

  #chunkBytes(isIdle: boolean): number {
    const { access } = this.#parts;
    const bytes = access.largestReadBytes(isIdle ? idleReadBytes : busyReadBytes);
    return Math.floor(bytes / access.granuleBytes) * access.granuleBytes;
  }

  /** Nothing to read there: it is lost. */
  async #pass(endBytes: number): Promise<void> {
    this.#moveTo(endBytes);
    this.#emptyChunks += 1;
    if (this.#emptyChunks % emptyChunksPerTurn === 0) await this.#parts.sleep.sleep(0);
  }

  #moveTo(endBytes: number): void {
    this.#progress.add(endBytes - this.positionBytes, this.#parts.clock.nowMs());
    this.positionBytes = endBytes;
  }

  async #readPart(part: ScrubPart, isIdle: boolean, chunkBytes: number): Promise<PassOutcome | undefined> {
    const { access, clock, pace, sleep } = this.#parts;
    const memory = access.borrow(part.length);
    if (memory === undefined) {
      this.waitsFor = 'memory';
      await sleep.sleep(memoryPauseMs);
      return undefined;
    }
    const startMs = clock.nowMs();
    const finding = await access.read(part, memory).finally(() => access.giveBack(memory));
    if (finding === undefined) return 'closed';
    const tookMs = clock.nowMs() - startMs;
    if (finding.isAway) {
      this.#countLost(finding);
      return await this.#waitFor(part.place);
    }
    this.#troublePauseMs = troublePauseMs;
    this.#count(finding);
    this.#moveTo(part.offset + part.length);
    if (this.#isStorm(finding)) return 'storm';
    if (finding.mainMs !== undefined && isIdle && pace.isIdle) {
      this.#slow.note(part.offset, part.length, finding.mainMs, part.length === chunkBytes);
    }
    const pauseMs = pace.pauseMs(part.length, tookMs);
    if (pauseMs > 0) await sleep.sleep(pauseMs);
    return undefined;
  }

  #count(finding: ScrubFinding): void {
    const { counts } = this;
    counts.mainBytes += finding.mainBytes;
    counts.spareBytes += finding.spareBytes;
    counts.foundGranules += finding.foundGranules;
    counts.savedGranules += finding.savedGranules;
    counts.movedGranules += finding.movedGranules;
    counts.lostSectors += finding.lostSectors;
    counts.undecidedSectors += finding.undecidedSectors;
    this.#reading.add(finding.mainBytes + finding.spareBytes, this.#parts.clock.nowMs());
  }

  /** The rest is read again when the disk answers, and counted then; what is lost is not. */
  #countLost({ lostSectors, foundGranules }: ScrubFinding): void {
    if (lostSectors === 0) return;
    this.counts.lostSectors += lostSectors;
    this.counts.foundGranules += foundGranules;
  }

  #isStorm(finding: ScrubFinding): boolean {
    const cameWhole = finding.lostSectors + finding.undecidedSectors === 0;
    const cameNothing = finding.mainBytes + finding.spareBytes === 0;
    if (cameWhole) this.#failedInRow = 0;
    else if (cameNothing) this.#failedInRow += 1;
    return this.#failedInRow >= failedInRowMax;
  }

  async #waitFor(trouble: ScrubTrouble): Promise<undefined> {
    const { access } = this.#parts;
    this.waitsFor = trouble;
    if ((await access.whenWorking(trouble)) || this.#stopped()) return;
    await this.#pauseForTrouble(trouble);
  }

  async #pauseForTrouble(trouble: ScrubTrouble): Promise<void> {
    this.waitsFor = trouble;
    await this.#parts.sleep.sleep(this.#troublePauseMs);
    this.#troublePauseMs = Math.min(troublePauseMsMax, this.#troublePauseMs * 2);
  }

  async #readReplicas(stopped: () => boolean): Promise<PassOutcome> {
    const { access, verifyReplicas } = this.#parts;
    for (;;) {
      if (stopped()) return 'stopped';
      const trouble = access.trouble();
      if (trouble === 'storm') return 'storm';
      if (trouble !== undefined) {
        await this.#waitFor(trouble);
        continue;
      }
      this.waitsFor = '';
      try {
        const { bad, repaired } = await verifyReplicas();
        this.counts.badReplicas += bad;
        this.counts.repairedReplicas += repaired;
        return stopped() ? 'stopped' : 'finished';
      } catch (error) {
        asDeviceError(error);
      }
      await access.spareWorks();
      await this.#pauseForTrouble('spare');
    }
  }
}
