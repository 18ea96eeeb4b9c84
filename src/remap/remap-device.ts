import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type Geometry,
  IoFlags,
  rejectInvalid,
} from '../block/block-device.ts';
import { asDeviceError, DeviceError, deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { RequestGate } from '../block/request-gate.ts';
import type { MappingStateSource } from '../metadata/mapping-state.ts';
import type { MetadataStatus } from '../metadata/metadata-store.ts';
import type { ScrubAnswer } from './message/message-context.ts';
import { MessageError } from './message/message-error.ts';
import { answerMessage } from './message/remap-messages.ts';
import { worksSuspended } from './message/suspended-messages.ts';
import { Salvager } from './move/salvager.ts';
import { zeroLostSectors } from './move/zero-lost.ts';
import { DeviceFlush } from './order/device-flush.ts';
import { type SuspendOptions, Suspension } from './order/suspension.ts';
import type { DevicePlace } from './path/device-paths.ts';
import { RawView } from './raw-view.ts';
import type { RemapCore } from './remap-core.ts';
import type { RemapObserver } from './remap-observer.ts';
import { type RemapState, type RemapStatus, stateOf, statusOf } from './remap-status.ts';
import type { PartWriter } from './request/alignment-filter.ts';
import { discardRange } from './request/discard-request.ts';
import { writePartOfBlock } from './request/part-write.ts';
import { ReadRequest } from './request/read-request.ts';
import { extentsOf } from './request/remapped-extents.ts';
import { WriteRequest } from './request/write-request.ts';
import { ZeroRequest } from './request/zero-request.ts';
import { phaseOf, type RemapPhase } from './request-phase.ts';
import { ScrubAccess } from './scrub/scrub-access.ts';
import type { LeaveChoices } from './spare/leave-spare.ts';
import type { SpareMember, SpareMembers } from './spare/spare-members.ts';
import type { SpareMigration } from './spare/spare-migration.ts';
import { SpareReplacement, type SpareReplacementParts } from './spare/spare-replacement.ts';
import { type SpareUse, spareUsesOf } from './spare-use.ts';
import type { FreshMap } from './table/fresh-map.ts';

/** What the device needs of the metadata beyond commits. */
export interface MetadataLife {
  status(): MetadataStatus;
  close(): Promise<void>;
}

/**
 * The virtual device: main, with the granules that main cannot keep on the spare.
 *
 * A healthy request costs a look into the bitmap, a ticket and main's own promise. Everything else, splitting, locks,
 * repairs, lives in `ReadRequest` and `WriteRequest`.
 */
export class RemapDevice implements PartWriter {
  readonly name: string;
  readonly geometry: Geometry;
  readonly #core: RemapCore;
  readonly #metadata: MetadataLife;
  readonly #gate = new RequestGate();
  readonly #suspension: Suspension;
  readonly #salvager: Salvager;
  readonly #flush: DeviceFlush;
  readonly #members: SpareMembers | undefined;
  #closing: Promise<void> | undefined;
  #scrub: ScrubAnswer | undefined;

  constructor(
    name: string,
    geometry: Geometry,
    core: RemapCore,
    metadata: MetadataLife,
    members?: SpareMembers,
  ) {
    this.name = name;
    this.geometry = geometry;
    this.#core = core;
    this.#metadata = metadata;
    this.#members = members;
    this.#flush = new DeviceFlush(core, name, geometry.sizeBytes);
    this.#salvager = new Salvager(core, this.#gate);
    core.salvager = this.#salvager;
    this.#suspension = new Suspension({
      clock: core.parts.clock,
      gate: this.#gate,
      flush: async () => {
        await core.backgroundDone();
        await this.#flush.both();
        // A checkpoint that the last records began.
        await core.parts.metadata.quiet();
      },
    });
  }

  /** What main stops knowing is cleared here. Zeroes are always known: they can be written. */
  get capabilities(): Capabilities {
    const { optional, parts } = this.#core;
    const { write, rotational } = parts.main.capabilities;
    return {
      write,
      flush: true,
      fua: true,
      discard: optional.knows('main', 'discard'),
      writeZeroes: write,
      fastZeroes: optional.fastZeroes,
      rotational,
    };
  }

  /** The live table, for a copy of it on the host (M13). */
  get mappingState(): MappingStateSource {
    return this.#core.live;
  }

  /** Requests under way (I7). */
  get inFlight(): number {
    return this.#gate.inFlight;
  }

  get flushEpoch(): number {
    return this.#flush.epoch;
  }

  read(target: Uint8Array, offset: number): Promise<void> {
    const refusal = rejectInvalid(this, offset, target.length);
    if (refusal !== undefined) return refusal;
    if (!this.#gate.enter()) return this.#hold(offset, target.length, () => this.read(target, offset));
    const { granuleBytes } = this.#core.parts;
    const first = Math.floor(offset / granuleBytes);
    const last = Math.floor((offset + target.length - 1) / granuleBytes);
    return this.#core.locks.idle && this.#core.specials.none(first, last)
      ? this.#readHealthy(target, offset, first, last)
      : this.#readSpecial(target, offset);
  }

  write(source: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    const refusal = rejectInvalid(this, offset, source.length) ?? this.#writesRefused(offset, source.length);
    if (refusal !== undefined) return refusal;
    if (!this.#gate.enter()) {
      return this.#hold(offset, source.length, () => this.write(source, offset, flags));
    }
    return this.#core.metadataPath.failed
      ? this.#writeOnceRecovered(source, offset, flags)
      : this.#writeAdmitted(source, offset, flags);
  }

  #writeAdmitted(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const { granuleBytes } = this.#core.parts;
    const first = Math.floor(offset / granuleBytes);
    const last = Math.floor((offset + source.length - 1) / granuleBytes);
    const { fresh } = this.#core;
    return fresh === undefined
      ? this.#writeNow(source, offset, flags, first, last)
      : this.#writeAfter(fresh, source, offset, flags, first, last);
  }

  async flush(): Promise<void> {
    while (!this.#gate.enter()) await this.#untilReopened(0, 0);
    try {
      await this.flushAdmitted();
    } finally {
      this.#gate.leave();
    }
  }

  /** As `flush`, also while the gate is shut: for the owner that closes the device. */
  flushAdmitted(): Promise<void> {
    return this.#flush.forClient();
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#enterToWrite(offset, length);
    try {
      await discardRange(this.#core, offset, length);
    } finally {
      this.#gate.leave();
    }
  }

  async writeZeroes(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    await this.#enterToWrite(offset, length);
    try {
      const { fresh, parts } = this.#core;
      const last = Math.floor((offset + length - 1) / parts.granuleBytes);
      await fresh?.whenWritable(Math.floor(offset / parts.granuleBytes), last);
      await new ZeroRequest(this.#core, this.name, offset, length, flags).run();
    } finally {
      this.#gate.leave();
    }
  }

  /** For `AlignmentFilter`. */
  async readPartBase(block: Uint8Array, offset: number): Promise<void> {
    const refusal = rejectInvalid(this, offset, block.length);
    if (refusal !== undefined) await refusal;
    while (!this.#gate.enter()) await this.#untilReopened(offset, block.length);
    try {
      await new ReadRequest(this.#core, block, offset).run(this.name);
    } finally {
      this.#gate.leave();
    }
  }

  /** For `AlignmentFilter`. */
  async writePart(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const block = this.geometry.logicalBlockBytes;
    await this.#enterToWrite(offset - (offset % block), block);
    try {
      const granule = Math.floor(offset / this.#core.parts.granuleBytes);
      await this.#core.fresh?.whenWritable(granule, granule);
      const failed = await writePartOfBlock(this.#core, source, offset, flags);
      if (failed !== undefined) throw new DeviceError(this.name, [failed]);
    } finally {
      this.#gate.leave();
    }
  }

  async extents(offset: number, length: number): Promise<readonly Extent[]> {
    const refusal = rejectInvalid(this, offset, length);
    if (refusal !== undefined) await refusal;
    while (!this.#gate.enter()) await this.#untilReopened(offset, length);
    try {
      return await extentsOf(this.#core, offset, length);
    } finally {
      this.#gate.leave();
    }
  }

  /** Main beside this device, read-only (R29). To be closed before it. */
  rawView(): BlockDevice {
    return new RawView(`${this.name} raw`, this.geometry, this.#core);
  }

  /** For whoever scrubs this device, and from now on answers the message `scrub`. */
  scrubbedBy(scrub: ScrubAnswer): void {
    this.#scrub = scrub;
  }

  scrubAccess(): ScrubAccess {
    return new ScrubAccess(this.#core, this.#gate, this.name);
  }

  /** I6: no new requests, none in flight, flush, metadata closed. The two devices stay open: their owner closes them. */
  close(): Promise<void> {
    this.#closing ??= this.#closeInOrder();
    return this.#closing;
  }

  /**
   * R30: no request is admitted any more, what was admitted is answered, what was answered is durable, within
   * its deadline; without `flush` only the first. New requests wait for `resume`, or are refused by `close`.
   * Rejects with `SuspendError`, and serves on.
   */
  suspend(options: SuspendOptions): Promise<void> {
    return this.#suspension.begin(options);
  }

  /**
   * The end of `suspend`: what waited goes on. The owner has made sure that the two disks are still the same. Every way to
   * them that had failed is tried again, `main-writes-failed` too (R16), and has its answer when this resolves, unless a disk
   * takes longer than `resumeDeadlineMs` for it.
   */
  async resume(): Promise<void> {
    await this.#suspension.end(() => this.#core.recover());
  }

  /** R32: opens a disk anew that has gone, whether or not a request met with that. What was not flushed is in doubt. */
  async openAnew(place: DevicePlace): Promise<void> {
    if (this.#core.paths.noteGone(place)) await this.#core.paths.retry();
  }

  /** Another disk in place of the spare, while this device serves: not begun yet. One at a time. */
  spareReplacement(parts: Omit<SpareReplacementParts, 'core' | 'gate' | 'suspension'>): SpareReplacement {
    return new SpareReplacement({
      ...parts,
      core: this.#core,
      gate: this.#gate,
      suspension: this.#suspension,
    });
  }

  /** The spares beside the home; undefined where there is nobody who could open them. */
  get members(): SpareMembers | undefined {
    return this.#members;
  }

  /** Empties one of them while this device serves: not begun yet. */
  spareMigration(member: SpareMember, choices: LeaveChoices): SpareMigration | undefined {
    return this.#members?.migration(member, this.#gate, choices);
  }

  /** How each spare is, the home first. */
  spareUses(): readonly SpareUse[] {
    return spareUsesOf(this.#core);
  }

  /** Somebody else has the spare, and so the device (M11): no more writes, to main either. Reads go on. */
  refuseWrites(): void {
    this.#core.metadataPath.refuse();
  }

  get suspended(): boolean {
    return this.#gate.suspended;
  }

  /** The owner is about to close a suspended device: what waits, and all to come, is refused once, with `closed`. */
  refuseHeld(): void {
    if (this.#gate.suspended) void this.#gate.close();
  }

  /** `observer` hears what becomes of the two disks from now on; there is one. */
  observe(observer: RemapObserver): void {
    this.#core.observe(observer);
  }

  /** As `status().state`, for little. */
  get state(): RemapState {
    return stateOf(this.#core);
  }

  /** As `status().slotsTotal` and `slotsFree`, for little. */
  get slots(): { readonly total: number; readonly free: number } {
    const { usableSlots: total, freeSlots: free } = this.#core.slots;
    return { total, free };
  }

  status(): RemapStatus {
    return statusOf(this.#core, this.#metadata.status(), this.#gate.inFlight);
  }

  /** Where a request is that this device has not answered (I22). */
  phaseOf(kind: 'read' | 'write' | 'flush', offset: number, length: number): RemapPhase {
    const gateHolds = this.#gate.suspended && this.#gate.held > 0;
    return phaseOf(this.#core, { kind, offset, length, gateHolds });
  }

  /** Answers one message; the words are those after the sector. Rejects with `MessageError`. */
  async message(words: readonly string[]): Promise<string> {
    const stopped = (): boolean => this.#gate.closed || this.#gate.suspended;
    const context = { core: this.#core, status: () => this.status(), stopped, scrub: this.#scrub };
    if (this.#gate.suspended && worksSuspended(words)) return await answerMessage(context, words);
    // A message may move blocks: closing waits for it like for any request (I6).
    if (!this.#gate.enter()) {
      const why = this.#gate.suspended ? `is suspended: resume it before '${words[0] ?? ''}'` : 'is closed';
      const code = this.#gate.suspended ? 'MESSAGE_SUSPENDED' : 'MESSAGE_FAILED';
      throw new MessageError(code, `the device ${why}`);
    }
    try {
      return await answerMessage(context, words);
    } finally {
      this.#gate.leave();
    }
  }

  async #readHealthy(target: Uint8Array, offset: number, first: number, last: number): Promise<void> {
    const { inFlight, parts } = this.#core;
    const ticket = inFlight.begin(first, last);
    let failure: DeviceError | undefined;
    try {
      await parts.main.read(target, offset);
      this.#core.mainWorked(first, 'read');
    } catch (error) {
      failure = asDeviceError(error);
    } finally {
      inFlight.end(ticket);
      if (failure === undefined) this.#gate.leave();
    }
    if (failure !== undefined) await this.#readSpecial(target, offset, failure);
  }

  /** Neither is `async`, nor is anything awaited: a move that begins later waits for the ticket (R1). */
  #writeNow(source: Uint8Array, offset: number, flags: number, first: number, last: number): Promise<void> {
    return this.#core.locks.idle && this.#core.specials.none(first, last)
      ? this.#writeHealthy(source, offset, flags, first, last)
      : this.#writeSpecial(source, offset, flags);
  }

  /** R13: that the range is no longer fresh is durable before the first byte is sent. */
  async #writeAfter(
    fresh: FreshMap,
    source: Uint8Array,
    offset: number,
    flags: number,
    first: number,
    last: number,
  ): Promise<void> {
    try {
      await fresh.whenWritable(first, last);
    } catch (error) {
      this.#gate.leave();
      throw error;
    }
    await this.#writeNow(source, offset, flags, first, last);
  }

  async #writeHealthy(
    source: Uint8Array,
    offset: number,
    flags: number,
    first: number,
    last: number,
  ): Promise<void> {
    const { inFlight } = this.#core;
    const ticket = inFlight.begin(first, last);
    let failure: DeviceError | undefined;
    try {
      await this.#core.writeMain(source, offset, flags);
      this.#core.mainWorked(first, 'write');
    } catch (error) {
      failure = asDeviceError(error);
    } finally {
      inFlight.end(ticket);
      if (failure === undefined) this.#gate.leave();
    }
    if (failure !== undefined) await this.#writeSpecial(source, offset, flags, failure);
  }

  async #readSpecial(target: Uint8Array, offset: number, failure?: DeviceError): Promise<void> {
    try {
      await new ReadRequest(this.#core, target, offset).run(this.name, failure);
    } catch (error) {
      if (this.#core.policies.onLost !== 'zero') throw error;
      const left = zeroLostSectors(this.#core, target, offset, asDeviceError(error));
      if (left !== undefined) throw left;
    } finally {
      this.#gate.leave();
    }
  }

  async #writeSpecial(
    source: Uint8Array,
    offset: number,
    flags: number,
    failure?: DeviceError,
  ): Promise<void> {
    try {
      await new WriteRequest(this.#core, source, offset, flags).run(this.name, failure);
    } catch (error) {
      this.#core.counters.failedWrites += 1;
      throw error;
    } finally {
      this.#gate.leave();
    }
  }

  async #closeInOrder(): Promise<void> {
    const { mainFlush, spares } = this.#core;
    this.#salvager.close();
    const drained = this.#gate.close();
    // Nobody is held any longer for a device that is away.
    this.#core.paths.close();
    this.#core.metadataPath.close();
    await drained;
    await this.#core.paths.idle();
    await this.#core.backgroundDone();
    await Promise.allSettled([mainFlush.flush(), ...spares.all.map(({ flush }) => flush.flush())]);
    await this.#members?.close();
    await this.#metadata.close();
  }

  /** M1: writes are refused while a record is in doubt; one a second tries to settle it. The request is admitted. */
  async #writeOnceRecovered(source: Uint8Array, offset: number, flags: number): Promise<void> {
    try {
      await this.#recovered(offset, source.length);
    } catch (error) {
      this.#gate.leave();
      throw error;
    }
    await this.#writeAdmitted(source, offset, flags);
  }

  async #recovered(offset: number, length: number): Promise<void> {
    const { metadataPath } = this.#core;
    if (!metadataPath.failed || (await metadataPath.whenWorking())) return;
    const detail = 'the metadata on the spare cannot be written, no more writes are accepted';
    throw deviceError(this.name, 'path', offset, length, Errno.EIO, detail);
  }

  #writesRefused(offset: number, length: number): Promise<never> | undefined {
    const { slots, policies } = this.#core;
    if (policies.onSpareFull === 'fail-writes' || slots.freeSlots > 0) return undefined;
    const detail = 'the spare is full, and the policy on-spare-full is read-only';
    return Promise.reject(deviceError(this.name, 'refused', offset, length, Errno.EROFS, detail));
  }

  /** R30: a request that was not admitted is sent `again` when the device is resumed, and refused when it is closed. */
  async #hold(offset: number, length: number, again: () => Promise<void>): Promise<void> {
    await this.#untilReopened(offset, length);
    await again();
  }

  async #untilReopened(offset: number, length: number): Promise<void> {
    if (!(await this.#gate.reopened())) await this.#rejectClosed(offset, length);
  }

  #rejectClosed(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'closed', offset, length, Errno.ESHUTDOWN));
  }

  /** Admission of what changes sectors without bytes of the client's; the caller leaves the gate. */
  async #enterToWrite(offset: number, length: number): Promise<void> {
    const refusal = rejectInvalid(this, offset, length) ?? this.#writesRefused(offset, length);
    if (refusal !== undefined) await refusal;
    if (!this.#core.parts.main.capabilities.write) await this.#rejectReadOnly(offset, length);
    while (!this.#gate.enter()) await this.#untilReopened(offset, length);
    try {
      await this.#recovered(offset, length);
    } catch (error) {
      this.#gate.leave();
      throw error;
    }
  }

  #rejectReadOnly(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'refused', offset, length, Errno.EROFS));
  }
}
