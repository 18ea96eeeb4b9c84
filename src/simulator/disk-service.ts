import { IoFlags, sectorBytes } from '../block/block-device.ts';
import { Errno } from '../block/errno.ts';
import { type DiskEffects, unreadableFill } from './disk-effects.ts';
import type { DiskQueue } from './disk-queue.ts';
import { assertUntouched, type DiskRequest, failedRange } from './disk-request.ts';
import type { OperationKind } from './operation-counter.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { FaultStrike, SimulatedDiskOptions } from './simulated-disk-options.ts';
import type { SimulatedFaults } from './simulated-faults.ts';
import type { SimulatedMedia } from './simulated-media.ts';

export interface DiskServiceParts {
  readonly options: SimulatedDiskOptions;
  readonly faults: SimulatedFaults;
  readonly effects: DiskEffects;
  readonly media: SimulatedMedia;
  readonly queue: DiskQueue;
  readonly random: SeededRandom;
  /** Called before an answer; may cut the power. */
  readonly announceSettled: (request: DiskRequest) => void;
}

/** What happens to one request and when: its effect, the faults that meet it, its answer. */
export class DiskService {
  readonly #parts: DiskServiceParts;

  constructor(parts: DiskServiceParts) {
    this.#parts = parts;
  }

  /** Begins with a request that has just arrived. */
  start(request: DiskRequest): void {
    const { kind, offset, length } = request;
    const failure = this.#parts.faults.takeTransient(kind, offset, length);
    if (failure !== undefined) {
      this.strikes(request, failure.partly ? 'partial-write' : 'transient', failure.errno);
      if (failure.partly) this.#parts.effects.writeSome(request);
      if (kind === 'read') request.bytes.fill(unreadableFill);
      request.effected = true;
      request.failedRanges = [failedRange(offset, length, failure.errno)];
    }
    if (this.#parts.faults.takeStuck(kind, offset, length)) {
      this.strikes(request, 'stuck', 0);
      this.#parts.queue.stick(request);
      this.#scheduleEffect(request, this.#latencyMs(kind));
    } else if (this.#parts.options.immediate === true) {
      this.settle(request);
    } else {
      this.#scheduleSettlement(request);
    }
  }

  #scheduleSettlement(request: DiskRequest): void {
    const { kind, offset, length } = request;
    const delay = this.#parts.faults.takeDelay(kind, offset, length);
    const latencyMs = delay?.doneMs ?? this.#latencyMs(kind);
    if (delay !== undefined) {
      this.strikes(request, 'delay', delay.answerMs === undefined ? 0 : Errno.ETIMEDOUT, delay.doneMs);
    }
    this.#scheduleEffect(request, latencyMs);
    this.#parts.options.clock.schedule(latencyMs, () => this.settle(request));
    const answerMs = delay?.answerMs;
    if (answerMs !== undefined)
      this.#parts.options.clock.schedule(answerMs, () => this.#parts.queue.expire(request));
  }

  #latencyMs(kind: OperationKind): number {
    const { latencyMinMs = 0.05, latencyMaxMs = 2 } = this.#parts.options;
    const baseMs = this.#parts.random.between(latencyMinMs, latencyMaxMs);
    const slowFactor = this.#parts.random.chance(1 / 50) ? 10 : 1;
    return baseMs * slowFactor * (kind === 'flush' ? 3 : 1);
  }

  /** A request may take effect at once, on its way, or just before its answer. */
  #scheduleEffect(request: DiskRequest, latencyMs: number): void {
    const when = this.#parts.random.below(3);
    if (when === 0) this.#takeEffect(request);
    if (when === 1) {
      const effectMs = this.#parts.random.between(0, latencyMs);
      this.#parts.options.clock.schedule(effectMs, () => this.#takeEffect(request));
    }
  }

  #takeEffect(request: DiskRequest): void {
    if (request.dead || request.effected) return;
    request.effected = true;
    this.#parts.effects.take(request);
  }

  /** Ends it, unless its process is gone: it has its effect at the latest now, and is answered. */
  settle(request: DiskRequest): void {
    if (request.dead) return;
    this.#takeEffect(request);
    this.#parts.announceSettled(request);
    // The announcement may have cut the power.
    if (request.dead) return;
    if (request.kind === 'write' && request.buffer !== request.bytes) assertUntouched(request);
    const { kind, offset, length } = request;
    const pathErrno = this.#parts.faults.takePathErrno();
    if (pathErrno !== undefined) {
      this.strikes(request, 'path', pathErrno);
      request.failedRanges = [failedRange(offset, length, pathErrno)];
    } else if (kind === 'flush') this.#flush(request);
    else this.#makeDurable(request);
    if (kind === 'read' && request.buffer !== undefined) this.#deliver(request, request.buffer);
    this.#parts.queue.answer(request);
    request.done();
  }

  #flush(request: DiskRequest): void {
    // Lost on its way: nothing was flushed, and nothing thrown away.
    if (request.failedRanges.length > 0) return;
    const errno = this.#parts.faults.takeFlushErrno();
    if (errno === undefined) {
      if (!this.#parts.faults.takeFlushLie()) {
        this.#parts.media.commit(request.flushSequence);
        return;
      }
      this.#parts.media.pretendToCommit(request.flushSequence);
      this.strikes(request, 'lying-flush', 0);
      return;
    }
    this.strikes(request, 'flush', errno);
    const loss = this.#parts.media.dropSome();
    this.#parts.faults.counts.droppedSectors += loss.lost.length;
    this.#parts.options.onCacheDropped?.(loss);
    request.failedRanges = [failedRange(request.offset, request.length, errno)];
  }

  /** Tells of a fault that has met a request. */
  strikes(request: DiskRequest, fault: FaultStrike['fault'], errno: number, lastsMs = 0): void {
    const { kind, offset, length } = request;
    this.#parts.options.onStrike?.({
      name: this.#parts.options.name,
      fault,
      kind,
      offset,
      length,
      errno,
      lastsMs,
    });
  }

  #makeDurable(request: DiskRequest): void {
    if (request.kind === 'read' || request.kind === 'flush') return;
    const durable = this.#parts.options.writeCache === 'none' || (request.flags & IoFlags.fua) !== 0;
    if (!durable) return;
    this.#parts.media.commitOwner(request, request.offset / sectorBytes, request.length / sectorBytes);
  }

  #deliver(request: DiskRequest, target: Uint8Array): void {
    // Failed as a whole before it had an effect: nothing was sampled.
    const [first] = request.failedRanges;
    if (first?.kind === 'path' || first?.kind === 'transient') target.fill(unreadableFill);
    else if (target !== request.bytes) target.set(request.bytes);
  }
}
