import type { ArenaReserve } from '../../block/buffer-arena.ts';
import type { Clock } from '../../block/clock.ts';
import { type PathProbeParts, type ProbeDirection, ProbeRound } from './probe-round.ts';

const probeReserve: ArenaReserve = 'remap';
/** Granules asked in one round of probing, each from another eighth of the device (R16). */
const probeGranules = 8;
/** Granules of one eighth looked at for one that is not moved or lost: a look into a bitmap each, 0.1 ms for all. */
const candidatesLookedAtMax = 4096;
/** A device that did not work is not asked again for this long: every round to a dead one may cost as much as it waits. */
const failureValidMs = 1000;
/**
 * A round without an answer for this long has failed: whoever waits for it must not hang with the device (R36). A good
 * granule of a busy disk answers within a second; a round called failed too early only makes requests wait.
 */
export const probeRoundMs = 5000;
/**
 * Decides what EIO is about (R15): when known good granules still work, the sector is bad; when none does, the path is,
 * and nothing may be remapped. A read is probed by reading, a write by writing a good granule's own bytes back.
 *
 * "Works" counts for failures seen before the round began, and for no later one: a path that dies half a second after a good
 * round would otherwise have its good sectors remapped, marked unreadable, or declared gone. "Fails" never does harm, so
 * it answers for a second (R16).
 */
export class PathProbe {
  readonly #parts: PathProbeParts;
  readonly #goodGranules: Float64Array = new Float64Array(probeGranules).fill(-1);
  readonly granuleCount: number;
  /** When the device last failed a round, by direction. */
  readonly #failedMs = new Map<ProbeDirection, number>();
  readonly #running = new Map<ProbeDirection, Promise<boolean>>();
  /** The next round, not yet begun: whoever comes now may share it. */
  readonly #queued = new Map<ProbeDirection, Promise<boolean>>();
  /** Requests that the device has answered well. */
  #goodReads = 0;
  #goodWrites = 0;
  /** Granules that gave no answer: asked behind all others from now on, else one of them would hide a good device (R36). */
  readonly #hanging = new Set<number>();
  #rounds = 0;
  /** Rounds that have memory or a lock, also those that nobody waits for any more. */
  readonly #underWay = new Set<Promise<boolean>>();

  constructor(parts: PathProbeParts) {
    this.#parts = parts;
    this.granuleCount = Math.floor(parts.sizeBytes / parts.granuleBytes);
  }

  /** Rounds of probing so far. */
  get rounds(): number {
    return this.#rounds;
  }

  /** A request on this granule of the device has just succeeded. One division and two stores: it is on the hot path. */
  noteGood(granule: number, direction: ProbeDirection): void {
    if (granule >= this.granuleCount) return;
    this.#goodGranules[Math.floor((granule * probeGranules) / this.granuleCount)] = granule;
    if (direction === 'write') this.#goodWrites += 1;
    else this.#goodReads += 1;
  }

  /** True within a second after a round that failed. */
  failedLately(direction: ProbeDirection): boolean {
    const failedMs = this.#failedMs.get(direction);
    return failedMs !== undefined && this.#parts.clock.nowMs() - failedMs < failureValidMs;
  }

  /**
   * True: the device works elsewhere, so a suspect error seen before the call is about its sector. Must not be called under
   * a lock. Writing is only for main: it takes main's granule locks.
   */
  deviceWorks(direction: ProbeDirection): Promise<boolean> {
    return this.failedLately(direction) ? Promise.resolve(false) : this.askAgain(direction);
  }

  /** As `deviceWorks`, whatever an earlier round said. */
  askAgain(direction: ProbeDirection): Promise<boolean> {
    const queued = this.#queued.get(direction);
    if (queued !== undefined) return queued;
    const running = this.#running.get(direction);
    if (running === undefined) return this.#startRound(direction);
    const next = this.#roundAfter(running, direction);
    this.#queued.set(direction, next);
    return next;
  }

  /**
   * Reads, for the holder of a lock, into `memory` of one granule, which stays the caller's until the answer. Such a round
   * takes nothing that another holder could have: it never waits for one of the others, which may wait for memory (I14).
   */
  worksUnderLock(memory: Uint8Array): Promise<boolean> {
    return this.failedLately('read') ? Promise.resolve(false) : this.#judge('read', memory);
  }

  /** Resolves when no round is under way. */
  async idle(): Promise<void> {
    while (this.#running.size + this.#queued.size + this.#underWay.size > 0) {
      await Promise.all([...this.#running.values(), ...this.#queued.values(), ...this.#underWay]);
    }
  }

  async #roundAfter(running: Promise<boolean>, direction: ProbeDirection): Promise<boolean> {
    await running;
    this.#queued.delete(direction);
    return this.failedLately(direction) ? false : await this.#startRound(direction);
  }

  #startRound(direction: ProbeDirection): Promise<boolean> {
    const round = this.#judge(direction, undefined).finally(() => this.#running.delete(direction));
    this.#running.set(direction, round);
    return round;
  }

  async #judge(direction: ProbeDirection, memory: Uint8Array | undefined): Promise<boolean> {
    this.#rounds += 1;
    const round = new ProbeRound(this.#parts, direction);
    const goodBefore = this.#goodCount(direction);
    // Memory that is lent must come back first, so a holder's round has the deadline of its reads and no other.
    const answer = memory === undefined ? this.#askInOwnMemory(round) : round.ask(this.#candidates(), memory);
    const verdict = await answer;
    this.#noteHanging(round.hanging);
    // A request of anybody that has succeeded meanwhile is as good an answer as a probe's.
    const works = verdict || this.#goodCount(direction) !== goodBefore;
    this.#note(direction, works);
    if (!works && direction === 'write' && !round.someRead) this.#note('read', false);
    return works;
  }

  /** Time counts from when there is memory: that others have it is not the device's fault. */
  async #askInOwnMemory(round: ProbeRound): Promise<boolean> {
    const { arena, clock, granuleBytes } = this.#parts;
    const memory = await arena.whenFree(granuleBytes, probeReserve);
    const answer = round.ask(this.#candidates(), memory).finally(() => {
      arena.release(memory);
      this.#underWay.delete(answer);
    });
    this.#underWay.add(answer);
    return await within(clock, answer, round);
  }

  #note(direction: ProbeDirection, works: boolean): void {
    if (works) this.#failedMs.delete(direction);
    else this.#failedMs.set(direction, this.#parts.clock.nowMs());
  }

  #goodCount(direction: ProbeDirection): number {
    return direction === 'write' ? this.#goodWrites : this.#goodReads + this.#goodWrites;
  }

  /**
   * Granules that worked, then one of each eighth that has none, so that the first request ever can be judged too. One that
   * was moved or lost since is no evidence, and with none at all a dead path would pass for a good one.
   */
  #candidates(): number[] {
    const known: number[] = [];
    const unknown: number[] = [];
    for (let eighth = 0; eighth < probeGranules; eighth += 1) {
      const good = this.#goodGranules[eighth]!;
      if (good >= 0 && !this.#parts.isSpecial(good)) known.push(good);
      else unknown.push(...this.#ordinaryGranule(eighth));
    }
    const hangs = (granule: number): number => (this.#hanging.has(granule) ? 1 : 0);
    return [...known, ...unknown].sort((a, b) => hangs(a) - hangs(b));
  }

  /** One of this eighth, from its middle on, whose bytes are on the device; none when there are too many others. */
  #ordinaryGranule(eighth: number): number[] {
    const first = Math.ceil((eighth * this.granuleCount) / probeGranules);
    const count = Math.ceil(((eighth + 1) * this.granuleCount) / probeGranules) - first;
    for (let at = 0; at < Math.min(count, candidatesLookedAtMax); at += 1) {
      const granule = first + ((Math.floor(count / 2) + at) % count);
      if (!this.#parts.isSpecial(granule)) return [granule];
    }
    return [];
  }

  /** One of each eighth at most: its place is taken by the next one that works there. */
  #noteHanging(granule: number | undefined): void {
    if (granule === undefined) return;
    if (this.#hanging.size >= probeGranules) this.#hanging.clear();
    this.#hanging.add(granule);
  }
}

/** What `round` says, or false when it takes too long: it then asks no further and gives back what it has when it can. */
function within(clock: Clock, answer: Promise<boolean>, round: ProbeRound): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const deadline = clock.schedule(probeRoundMs, () => {
      round.abandon();
      resolve(false);
    });
    answer.then(
      (works) => {
        deadline.cancel();
        resolve(works);
      },
      (error: unknown) => reject(error),
    );
  });
}
