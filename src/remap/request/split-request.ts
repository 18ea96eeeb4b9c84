import { apart, IoFlags } from '../../block/block-device.ts';
import { asDeviceError, DeviceError, type FailedRange } from '../../block/device-error.ts';
import { Errno, isGone } from '../../block/errno.ts';
import { FlushBehindError } from '../order/write-through.ts';
import type { DevicePlace } from '../path/device-paths.ts';
import type { ProbeDirection } from '../path/probe-round.ts';
import { WaitedTime } from '../path/waited-time.ts';
import type { RemapCore } from '../remap-core.ts';
import { PathWait } from './path-wait.ts';
import { blameTimeout } from './read-timeout.ts';
import { type Piece, planPieces } from './request-plan.ts';
import {
  type ByteRange,
  halves,
  type PendingRange,
  type RangeFailure,
  RequestProgress,
  roundsMax,
  stillThere,
  toVirtual,
} from './request-rounds.ts';

/** What narrowing one request may cost. */
export interface NarrowingBudget {
  /** Failed sub-requests after which ranges are no longer halved. */
  readonly failuresMax: number;
  /** Milliseconds after which they are no longer halved. */
  readonly msMax: number;
}

/** A part of a write whose device gave up on it, and has ended it since. */
interface LateRange {
  readonly range: FailedRange;
  readonly piece: Piece;
  readonly place: DevicePlace;
}

/**
 * One request that is not simply main's: it touches something special, or main has failed it. Each round splits what is
 * pending by place, sends the pieces, narrows what failed to granules and repairs those under their locks.
 *
 *     pending ranges --plan--> pieces --device--> settled
 *           ^                                     failed: halved, sent again, repaired, or given up
 *           +-------------------------------------------+
 */
export abstract class SplitRequest {
  protected readonly core: RemapCore;
  protected readonly offset: number;
  protected readonly progress: RequestProgress;
  readonly #buffer: Uint8Array;
  readonly #budget: NarrowingBudget;
  readonly #startMs: number;
  protected readonly direction: ProbeDirection;
  readonly #pathWait: PathWait;
  readonly #lockWait = new WaitedTime();
  /** Failures of one granule that may be a neighbour's or the path's. */
  readonly #late: LateRange[] = [];
  readonly #alone: { readonly range: FailedRange; readonly place: DevicePlace }[] = [];

  constructor(
    core: RemapCore,
    buffer: Uint8Array,
    offset: number,
    direction: ProbeDirection,
    budget: NarrowingBudget,
  ) {
    this.core = core;
    this.direction = direction;
    this.#pathWait = new PathWait(core, direction);
    this.offset = offset;
    this.progress = new RequestProgress(offset, buffer.length);
    this.#buffer = buffer;
    this.#budget = budget;
    this.#startMs = core.parts.clock.nowMs();
  }

  /** When narrowing ends. Time spent waiting for a device that is away, or for another's move, is not counted. */
  protected get deadlineMs(): number {
    return this.#startMs + this.#budget.msMax + this.#pathWait.waitedMs + this.#lockWait.totalMs;
  }

  /** Sends one piece to its device; `flags` are those of `apart`. A lost piece is the subclass's to answer. */
  protected abstract send(piece: Piece, bytes: Uint8Array, flags: number): Promise<void>;
  /** A failure of one granule that may be a neighbour's, joined with it by the kernel, is tried once more on its own. */
  protected abstract readonly asksAlone: boolean;
  /** Notes a failed or lost range inside one granule, or many once the budget is spent, for `repairAll`. */
  protected abstract repairLater(piece: Piece, range: FailedRange): void;
  /** The budget is spent on a range of several granules. */
  protected abstract budgetSpent(piece: Piece, range: FailedRange): void;
  /** Repairs what was noted; empties the notes. */
  protected abstract repairAll(): Promise<void>;
  protected abstract get repairsWaiting(): boolean;
  protected abstract countFailure(piece: Piece): void;
  /** Notes a piece that must not be sent without its granule's lock, for `repairAll`; false for all others. */
  protected abstract takesOver(piece: Piece): boolean;

  /**
   * Runs to the end. `mainFailed` is main's answer to the whole request, when it was sent there already. Throws a
   * `DeviceError` that names every failed range.
   */
  async run(name: string, mainFailed?: DeviceError): Promise<void> {
    const { progress } = this;
    if (mainFailed !== undefined) {
      progress.take();
      const whole = { place: 'main', deviceOffset: this.offset, ...this.#whole() } as const;
      this.#classify(whole, mainFailed, IoFlags.none);
    }
    let rounds = 0;
    while (rounds < roundsMax && this.#unfinished()) {
      await Promise.all(progress.take().map((range) => this.#sendRange(range)));
      await this.#askAlone();
      await this.#askLate();
      await this.repairAll();
      // Waiting has a limit of its own.
      if (this.#pathWait.isEmpty) rounds += 1;
      else await this.#waitForPaths();
    }
    progress.giveUp();
    if (progress.failed.length > 0) throw new DeviceError(name, progress.sortedFailures());
  }

  /** The request's bytes of a range of the virtual device. */
  protected bytesOf(range: ByteRange): Uint8Array {
    const from = range.offset - this.offset;
    return this.#buffer.subarray(from, from + range.length);
  }

  /** Fails a range, or sends it again when its device answers. */
  protected fail(failure: RangeFailure): void {
    if (failure.waitsFor === undefined) this.progress.failed.push(failure);
    else this.#pathWait.add(failure, failure.waitsFor);
  }

  #unfinished(): boolean {
    const { pending } = this.progress;
    return (
      pending.length > 0 ||
      this.#alone.length > 0 ||
      this.#late.length > 0 ||
      this.repairsWaiting ||
      !this.#pathWait.isEmpty
    );
  }

  async #waitForPaths(): Promise<void> {
    const { again, failed } = await this.#pathWait.wait();
    for (const range of again) this.progress.again(range);
    this.progress.failed.push(...failed);
  }

  /**
   * A failure of one granule is tried once more on its own, and one that may be the path's only after the device has worked
   * elsewhere: bad is what fails on both sides of a good probe (R17).
   */
  async #askAlone(): Promise<void> {
    const { paths, parts } = this.core;
    const askOne = async ({ range, place }: { range: FailedRange; place: DevicePlace }): Promise<void> => {
      const works = range.kind !== 'suspect' || (await paths.judge(place, this.direction));
      if (works) this.progress.again(range, apart(Math.floor(range.offset / parts.granuleBytes)));
      else this.fail({ ...range, waitsFor: place });
    };
    // All at once: they share the rounds of probing.
    await Promise.all(this.#alone.splice(0).map(askOne));
  }

  #whole(): ByteRange {
    return { offset: this.offset, length: this.#buffer.length };
  }

  async #sendRange(range: PendingRange): Promise<void> {
    const { inFlight, locks, table, parts } = this.core;
    const first = Math.floor(range.offset / parts.granuleBytes);
    const last = Math.floor((range.offset + range.length - 1) / parts.granuleBytes);
    while (locks.blocked(first, last)) await this.#waitForLock(first, last);
    // M1: the move that was waited for may be in doubt; its record must not come to shadow these bytes after a crash.
    if (this.direction === 'write' && this.core.metadataPath.failed) {
      this.progress.failed.push({
        offset: range.offset,
        length: range.length,
        kind: 'path',
        errno: Errno.EIO,
      });
      return;
    }
    // From the plan to the ticket nothing is awaited: a move that begins later waits for this ticket (R1).
    const plan = planPieces(table, parts.granuleBytes, range.offset, range.length);
    const pieces = this.#withoutClosed(plan).filter((piece) => !this.takesOver(piece));
    if (pieces.length === 0) return;
    const ticket = inFlight.begin(first, last);
    let failures: (DeviceError | undefined)[];
    try {
      failures = await Promise.all(pieces.map((piece) => this.#sendPiece(piece, range.flags)));
    } finally {
      inFlight.end(ticket);
    }
    for (const [index, failure] of failures.entries()) {
      if (failure !== undefined) this.#classify(pieces[index]!, failure, range.flags);
    }
  }

  async #waitForLock(first: number, last: number): Promise<void> {
    const { locks, parts } = this.core;
    this.#lockWait.begin(parts.clock.nowMs());
    await locks.whenUnblocked(first, last);
    this.#lockWait.end(parts.clock.nowMs());
  }

  /** Pieces for a device that is known to be away are not sent. */
  #withoutClosed(pieces: Piece[]): Piece[] {
    const { paths } = this.core;
    return pieces.filter((piece) => {
      const place = this.core.placeOf(piece);
      if (place === 'lost' || !paths.of(place, this.direction).failed) return true;
      this.#pathWait.add({ ...piece, kind: 'path', errno: Errno.EIO }, place);
      return false;
    });
  }

  async #sendPiece(piece: Piece, flags: number): Promise<DeviceError | undefined> {
    try {
      await this.send(piece, this.bytesOf(piece), flags);
      this.core.noteWorked(piece, this.direction);
      return undefined;
    } catch (error) {
      return asDeviceError(error);
    }
  }

  #classify(piece: Piece, failure: DeviceError, flags: number): void {
    this.countFailure(piece);
    // Sectors known to be lost were not asked for: they cost nothing.
    if (piece.place !== 'lost') this.progress.failures += 1;
    for (const range of toVirtual(piece, failure)) {
      if (failure instanceof FlushBehindError) this.progress.failed.push(range);
      else this.#classifyRange(piece, range, flags);
    }
  }

  #classifyRange(piece: Piece, range: FailedRange, flags: number): void {
    if (range.kind === 'medium' && piece.place === 'main') this.core.mainCache.noteMediumError();
    if (range.kind === 'transient') this.progress.retryOrFail(range);
    else if (range.kind === 'lost') this.repairLater(piece, range);
    else if (range.kind === 'timed-out') this.#timedOut(piece, range);
    else if (range.kind !== 'medium' && range.kind !== 'suspect') this.#giveUp(piece, range);
    else if (stillThere(this.core, piece, range)) this.#narrow(piece, range, flags);
    else this.progress.again(range);
  }

  /** A deadline may answer a read. A write has no deadline for its client: its answer came when the kernel's had (R3). */
  #timedOut(piece: Piece, range: FailedRange): void {
    const place = this.core.placeOf(piece);
    if (this.direction === 'write' && place !== 'lost') {
      this.#late.push({ range, piece, place });
      return;
    }
    this.progress.failed.push(range);
    if (piece.place === 'main') this.core.beside(blameTimeout(this.core, range));
  }

  /** R14: whose fault it was that writes had no answer in time. */
  async #askLate(): Promise<void> {
    await Promise.all(this.#late.splice(0).map((late) => this.#askLateRange(late)));
  }

  async #askLateRange({ range, piece, place }: LateRange): Promise<void> {
    const deviceOffset = piece.deviceOffset + range.offset - piece.offset;
    const first = this.core.ownGranule(place, deviceOffset);
    const last = this.core.ownGranule(place, deviceOffset + range.length - 1);
    const fault = await this.core.paths.judgeTimeout(place, this.direction, first, last);
    if (fault === 'device') this.fail({ ...range, waitsFor: place });
    else if (!stillThere(this.core, piece, range)) this.progress.again(range);
    else if (fault === 'granule') this.repairLater(piece, { ...range, kind: 'medium' });
    else if (first === last) this.progress.again(range);
    else this.#narrow(piece, range, IoFlags.none);
  }

  #giveUp(piece: Piece, range: FailedRange): void {
    const place = this.core.placeOf(piece);
    if (range.kind === 'no-space' && place !== 'lost') this.core.noteNoRoom(place);
    if (range.kind !== 'path' || place === 'lost') this.progress.failed.push(range);
    else {
      if (isGone(range.errno)) this.core.paths.noteGone(place);
      this.#pathWait.add(range, place);
    }
  }

  #narrow(piece: Piece, range: FailedRange, flags: number): void {
    // While the device is away an error that may be the path's says nothing about a sector.
    const place = this.core.placeOf(piece);
    if (range.kind === 'suspect' && place !== 'lost') {
      if (this.core.paths.of(place, this.direction).failed) {
        this.#pathWait.add(range, place);
        return;
      }
    }
    const { granuleBytes, clock } = this.core.parts;
    const halfRanges = halves(range, granuleBytes);
    const spent = this.progress.failures > this.#budget.failuresMax || clock.nowMs() > this.deadlineMs;
    if (halfRanges !== undefined) {
      if (spent) this.budgetSpent(piece, range);
      // Even and odd by turns, so that no two neighbours have the same: also those of another request are halves.
      else for (const [index, half] of halfRanges.entries()) this.progress.again(half, apart(index));
    } else if (this.asksAlone && place !== 'lost' && flags === IoFlags.none && !spent) {
      this.#alone.push({ range, place });
    } else {
      this.repairLater(piece, range);
    }
  }
}
