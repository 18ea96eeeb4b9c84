import { assert } from '../block/assert.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { Errno } from '../block/errno.ts';
import type { CompletionHandler, Ring, SubmissionEntry } from '../linux/ring.ts';
import { Operation } from '../linux/uring-numbers.ts';
import { type IoRequest, type RequestLane, RequestState } from './request-lane.ts';
import { RequestScheduler } from './request-scheduler.ts';
import { RingTurner, type TurnWork } from './ring-turner.ts';
import type { SlotMemory } from './slot-memory.ts';
import { SlotTable } from './slot-table.ts';
import { describeCancel, describeRequest, emptyEntry, isSocketOperation } from './submission.ts';

/** `user_data` of cancellations: their answers say nothing that the cancelled request does not say itself. */
const cancelSlot = 0xffff_ffff;

export interface RingSchedulerOptions {
  readonly ring: Ring;
  readonly arena: BufferArena;
  readonly slotMemory: SlotMemory;
  readonly inFlightMax: number;
  readonly spinUs: number;
}

/** Asks the kernel through the ring: `ready` is pushed into the submission queue at the next pass. */
export class RingScheduler extends RequestScheduler implements TurnWork {
  readonly #ring: Ring;
  readonly #turner: RingTurner;
  readonly #slotMemory: SlotMemory;
  readonly #slots: SlotTable;
  readonly #cancels: number[] = [];
  readonly #entry: SubmissionEntry = emptyEntry();

  constructor(options: RingSchedulerOptions) {
    const { arena, inFlightMax } = options;
    super({ arena, pooledMax: inFlightMax, laneDepthMax: inFlightMax });
    this.#ring = options.ring;
    this.#slotMemory = options.slotMemory;
    this.#slots = new SlotTable(options.inFlightMax);
    this.#turner = new RingTurner(options.ring, this, options.spinUs);
  }

  /** Ring passes since the start. */
  get passes(): number {
    return this.#turner.passes;
  }

  /** Asks the kernel to give up every request of a lane; those that it can give up reject with ECANCELED. */
  cancelAll(lane: RequestLane): void {
    this.#cancelWhere((request) => request.lane === lane);
  }

  /** Gives up what may wait for a peer for ever, and resolves when the kernel has answered everything else. */
  override drain(): Promise<void> {
    this.#cancelWhere((request) => isSocketOperation(request.operation));
    return super.drain();
  }

  override close(): void {
    super.close();
    this.#turner.close();
  }

  /** Pushes cancellations and ready requests into the submission queue; a full one is submitted first. */
  fill(): number {
    let pushed = 0;
    while (this.#cancels.length > 0 && this.#roomToPush()) {
      this.#pushCancel(this.#cancels.pop()!);
      pushed += 1;
    }
    for (;;) {
      const request = this.ready.first;
      if (request === undefined || !this.#roomToPush()) return pushed;
      if (!this.#slots.assign(request)) return pushed;
      this.ready.shift();
      this.#push(request);
      pushed += 1;
    }
  }

  readonly complete: CompletionHandler = (slot: number, generation: number, result: number): void => {
    if (slot === cancelSlot) return;
    this.answered(this.#slots.find(slot, generation), result);
  };

  protected override wake(): void {
    this.#turner.wake();
  }

  protected override kernelRequests(): readonly (IoRequest | undefined)[] {
    return this.#slots.requests;
  }

  protected override forget(request: IoRequest): void {
    if (request.operation === Operation.receive) request.lane!.receiving = false;
    else if (request.operation === Operation.sendMessage) request.lane!.sending = false;
    this.#slots.release(request);
  }

  protected override succeeded(request: IoRequest, result: number): void {
    switch (request.operation) {
      case Operation.sendMessage:
        request.done += result;
        if (request.done >= request.length) this.resolve(request, result);
        else if (result === 0) this.rejectAndFinish(request, Errno.EPIPE, false);
        else this.#continueSend(request, result);
        return;
      case Operation.receive:
        // Whoever cancels a receive also shuts the socket down: that end is ours, not the peer's.
        if (result === 0 && request.cancelled) {
          this.rejectAndFinish(request, Errno.ECANCELED, false);
          return;
        }
        if (request.staged !== undefined && !request.abandoned) {
          request.staged.set(this.#slotMemory.staging(request.slot, result));
        }
        this.resolve(request, result);
        return;
      default:
        super.succeeded(request, result);
    }
  }

  #continueSend(request: IoRequest, sent: number): void {
    if (request.cancelled) {
      this.rejectAndFinish(request, Errno.ECANCELED, false);
      return;
    }
    const parts = request.parts!;
    let left = sent + request.partOffset;
    while (left >= parts[request.partIndex]!.length) {
      left -= parts[request.partIndex]!.length;
      request.partIndex += 1;
    }
    request.partOffset = left;
    this.again(request);
  }

  #roomToPush(): boolean {
    if (!this.#ring.full) return true;
    this.#turner.submit();
    return !this.#ring.full;
  }

  #push(request: IoRequest): void {
    const entry = this.#entry;
    describeRequest(request, entry, this.#slotMemory);
    entry.userLow = request.slot;
    entry.userHigh = this.#slots.nextGeneration(request.slot);
    const pushed = this.#ring.push(entry);
    assert(pushed, 'RingScheduler: no room in the submission queue');
    this.noteStarted(request);
  }

  #pushCancel(slot: number): void {
    describeCancel(this.#entry, this.#slots.userData(slot), cancelSlot);
    this.#ring.push(this.#entry);
  }

  #cancelWhere(condition: (request: IoRequest) => boolean): void {
    for (const lane of [...this.lanes]) {
      for (const request of lane.waiting.remove(condition)) {
        lane.active += 1;
        this.rejectAndFinish(request, Errno.ECANCELED, false);
      }
    }
    for (const request of this.ready.remove(condition)) {
      this.rejectAndFinish(request, Errno.ECANCELED, false);
    }
    for (const request of this.#slots.requests) {
      if (request !== undefined && condition(request)) this.#cancel(request);
    }
  }

  #cancel(request: IoRequest): void {
    if (request.cancelled || request.state !== RequestState.inKernel) return;
    request.cancelled = true;
    this.#cancels.push(request.slot);
    this.#turner.wake();
  }
}
