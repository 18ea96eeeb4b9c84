import { assert } from '../block/assert.ts';
import { type BlockDevice, sectorBytes } from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import type { Clock } from '../block/clock.ts';
import { asDeviceError, deviceError } from '../block/device-error.ts';
import { isGone } from '../block/errno.ts';
import type { MappingRecord } from '../metadata/mapping-state.ts';
import { MetadataError } from '../metadata/metadata-error.ts';
import type { MetadataStore } from '../metadata/metadata-store.ts';
import { relocationBufferBytes } from './move/move-memory.ts';
import { FlushGate } from './order/flush-gate.ts';
import { GranuleLocks } from './order/granule-locks.ts';
import { InFlight } from './order/in-flight.ts';
import { writeThrough } from './order/write-through.ts';
import { DevicePaths, type DevicePlace, type PathChange, type SparePlace } from './path/device-paths.ts';
import { PathProbe } from './path/path-probe.ts';
import { PathState } from './path/path-state.ts';
import type { ProbeDirection } from './path/probe-round.ts';
import { type Policies, policiesOf } from './policies.ts';
import { newCounters, type RemapCounters } from './remap-counters.ts';
import type { RemapObserver } from './remap-observer.ts';
import { DiscardPermits } from './request/discard-permits.ts';
import { MainCache } from './request/main-cache.ts';
import { OptionalCommands } from './request/optional-commands.ts';
import type { Piece } from './request/request-plan.ts';
import { ZeroMemory } from './request/zero-memory.ts';
import { MemberDevice } from './spare/member-device.ts';
import { SlotPool } from './spare/slot-pool.ts';
import { SpareUnit, SpareUnits } from './spare/spare-unit.ts';
import { FreshMap } from './table/fresh-map.ts';
import type { FreshRegions } from './table/fresh-regions.ts';
import { type GranuleState, type GranuleTable, healthyState } from './table/granule-table.ts';
import { LiveTable, retiredRecord } from './table/live-table.ts';
import type { SlotAllocator } from './table/slot-allocator.ts';
import type { SpecialMap } from './table/special-map.ts';

/** The journal and the spare's flushes, as remap sees them: a part of `MetadataStore`. */
export type MetadataPort = Pick<
  MetadataStore,
  'commit' | 'flushSpare' | 'flushEpoch' | 'poisonFlushes' | 'quiet' | 'recover' | 'updateProperties'
>;

/**
 * Retired slots that go along with one commit: the caller's record and these are kept or lost together, and far fewer than
 * a commit can take. The others follow with the next one.
 */
const retiredPerCommitMax = 64;

/** As many as a move has slots to try (R5). */
const markAttemptsMax = 4;

/** Takes over what reads could not decide in their time (R18). */
export interface UndecidedTaker {
  /** True while it has the granule: nobody else asks main for it meanwhile. */
  has(granule: number): boolean;
  /** Granules that wait. */
  readonly waiting: number;
  /** Sectors of one granule, a map. */
  add(granule: number, mask: number): void;
}

export interface RemapCoreParts {
  readonly main: BlockDevice;
  readonly spare: BlockDevice;
  readonly metadata: MetadataPort;
  readonly allocator: SlotAllocator;
  /** Bytes of the virtual device; main may have grown since. */
  readonly sizeBytes: number;
  readonly granuleBytes: number;
  /** Granules without a slot that the metadata has room for (M18). */
  readonly lostGranulesMax: number;
  readonly arena: BufferArena;
  readonly clock: Clock;
  /** R24: reading back from the spare proves something. What is read back, and when, is the policy's. */
  readonly verifySlots: boolean;
  /** R13: bytes of main that were fresh at creation. Default 0. */
  readonly freshSizeBytes?: number;
  /** As the superblock has them, names included that only a later program knows. Default: none of them. */
  readonly storedPolicies?: Readonly<Record<string, string>>;
  /** Default: what `storedPolicies` say, else `defaultPolicies`. */
  readonly policies?: Policies;
}

/** What the parts of the remap target share: the live table with its locks, and the two devices with their flushes. */
export class RemapCore {
  readonly parts: RemapCoreParts;
  /** What records say, and the two parts of it that every request looks into. */
  readonly live: LiveTable;
  readonly table: GranuleTable;
  readonly specials: SpecialMap;
  readonly inFlight: InFlight = new InFlight();
  readonly locks: GranuleLocks = new GranuleLocks(this.inFlight);
  readonly mainFlush: FlushGate;
  readonly spareFlush: FlushGate;
  readonly probe: PathProbe;
  readonly spareProbe: PathProbe;
  /** The spares as one row of slots; the home, which `spareFlush` and `spareProbe` are about, is the first. */
  readonly spares: SpareUnits;
  readonly slots: SlotPool;
  /** Which ways to the devices are open, and who waits for one that is not (R5, R17). */
  readonly paths: DevicePaths;
  readonly optional: OptionalCommands;
  /** Discards of all clients, by the disk that they go to. */
  readonly discards: DiscardPermits = new DiscardPermits();
  readonly zeroMemory: ZeroMemory;
  /** Goes on with what reads could not decide (R18). */
  salvager: UndecidedTaker = { waiting: 0, has: () => false, add: () => undefined };
  readonly mainCache: MainCache;
  /** Replaced as a whole; every request reads it anew. */
  policies: Policies;
  /** What the superblock has of them now. */
  storedPolicies: Readonly<Record<string, string>>;
  /** Settles when no change of a policy is being stored. */
  policyChange: Promise<void> = Promise.resolve();
  readonly counters: RemapCounters = newCounters();
  /** Hears what becomes of the disks; nothing of it on the healthy path. */
  observer: RemapObserver | undefined;
  /** Failed: a record is in doubt and could not be settled. Writes are refused until `recover` succeeds (M1). */
  readonly metadataPath: PathState;
  /** R13; undefined on a device that was not created fresh. */
  readonly fresh: FreshMap | undefined;
  readonly #doubtfulSlots: number[] = [];
  /** Slots retired since the last commit that took them along. */
  #unrecordedRetired: number[] = [];
  readonly #background = new Set<Promise<void>>();
  /** Records that somebody waits for. */
  readonly #committing = new Set<readonly MappingRecord[]>();
  /** Ways to the devices that are closed now. */
  #pathsFailed = 0;
  /** Epochs of the home that put nothing of any client in doubt. */
  #quietSpareEpochs = 0;
  /** Failed flushes of spares that are none any more: epochs never go back. */
  #droppedEpochs = 0;

  constructor(parts: RemapCoreParts) {
    this.parts = parts;
    this.storedPolicies = parts.storedPolicies ?? {};
    this.policies = parts.policies ?? policiesOf(this.storedPolicies);
    this.mainCache = new MainCache(parts.main.capabilities.volatileCache ?? true);
    this.optional = new OptionalCommands((place) => this.deviceAt(place));
    this.zeroMemory = new ZeroMemory(parts.arena, relocationBufferBytes(parts.granuleBytes));
    this.live = new LiveTable({
      granuleCount: Math.ceil(parts.sizeBytes / parts.granuleBytes),
      freshSizeBytes: parts.freshSizeBytes ?? 0,
      lostGranulesMax: parts.lostGranulesMax,
      onBadMain: () => this.mainCache.noteMediumError(),
    });
    this.table = this.live.granules;
    this.specials = this.live.specials;
    this.fresh = this.freshRegions.regionCount === 0 ? undefined : this.#freshMap();
    this.mainFlush = new FlushGate(parts.main);
    // What an earlier process had acknowledged and not flushed may still be in main's cache, and a client that came back
    // believes in its first flush. The spare has just been flushed by settling.
    this.mainFlush.wroteUnstable();
    this.spareFlush = new FlushGate({ flush: () => parts.metadata.flushSpare() }, { deviceShares: true });
    this.probe = new PathProbe({
      device: parts.main,
      sizeBytes: parts.sizeBytes,
      granuleBytes: parts.granuleBytes,
      arena: parts.arena,
      clock: parts.clock,
      locks: this.locks,
      isSpecial: (granule) => !this.specials.none(granule, granule),
      onGone: () => this.#noteGone('main'),
    });
    this.spareProbe = new PathProbe({
      device: parts.spare,
      sizeBytes: parts.spare.geometry.sizeBytes,
      granuleBytes: parts.granuleBytes,
      arena: parts.arena,
      clock: parts.clock,
      locks: this.locks,
      isSpecial: () => false,
      onGone: () => this.#noteGone('spare'),
    });
    this.spares = new SpareUnits(this.#homeUnit(), parts.granuleBytes);
    this.slots = new SlotPool(this.spares, (unit) => this.paths.of(unit.place, 'read').failed);
    this.paths = new DevicePaths({
      main: parts.main,
      spare: parts.spare,
      clock: parts.clock,
      holdMs: () => this.policies.pathTimeoutMs,
      probes: { main: this.probe, spare: this.spareProbe },
      poison: (place) => this.#poison(place),
      onChange: (failed, change) => this.#onPathChange(failed, change),
    });
    this.metadataPath = new PathState({
      clock: parts.clock,
      // The store has tried long enough before it gave up: nobody is held.
      holdMs: () => 0,
      probe: () => this.#recoverMetadata(),
      // Writes that were admitted before leave the healthy path: they are refused where all others are sent (M1).
      onChange: (failed) => {
        if (failed) this.locks.disturb();
        else this.locks.calm();
        this.observer?.stateMayHaveChanged();
      },
    });
  }

  #homeUnit(): SpareUnit {
    const { spare, metadata, allocator, granuleBytes } = this.parts;
    return new SpareUnit({
      place: 'spare',
      device: spare,
      firstSlot: 0,
      slotCount: allocator.slotCount,
      granuleBytes,
      allocator,
      probe: this.spareProbe,
      flush: this.spareFlush,
      flushEpoch: () => metadata.flushEpoch,
    });
  }

  /** One more spare beside the home, from `firstSlot` of the row on; nobody has written to its slots. */
  addSpare(place: SparePlace, disk: BlockDevice, firstSlot: number, allocator: SlotAllocator): SpareUnit {
    const { granuleBytes, arena, clock } = this.parts;
    const sizeBytes = allocator.slotCount * granuleBytes;
    const probe = new PathProbe({
      device: disk,
      ...{ sizeBytes, granuleBytes, arena, clock },
      locks: this.locks,
      isSpecial: () => false,
      onGone: () => this.#noteGone(place),
    });
    const flush = new FlushGate(disk);
    const unit = new SpareUnit({
      device: new MemberDevice(disk, firstSlot * granuleBytes),
      slotCount: allocator.slotCount,
      flushEpoch: () => flush.failures,
      ...{ place, firstSlot, granuleBytes, allocator, probe, flush },
    });
    this.paths.addSpare(place, disk, probe);
    this.spares.add(unit);
    return unit;
  }

  /** Before anything was sent to it: it is this disk, or none, in this session. */
  replaceUnitDevice(unit: SpareUnit, disk: BlockDevice): SpareUnit {
    const { place, firstSlot, allocator } = unit;
    this.spares.remove(unit);
    const other = this.addSpare(place, disk, firstSlot, allocator);
    other.leaving = unit.leaving;
    return other;
  }

  /** No slot of it is used, and nothing is under way to it: it is no spare any more. */
  async dropSpare(unit: SpareUnit): Promise<void> {
    assert(unit.allocator.usedSlots === 0, 'a spare that goes holds nothing');
    this.spares.remove(unit);
    this.#droppedEpochs += unit.flush.failures;
    for (const slot of this.live.retired.all()) if (unit.hasSlot(slot)) this.live.retired.delete(slot);
    this.#unrecordedRetired = this.#unrecordedRetired.filter((slot) => !unit.hasSlot(slot));
    await this.paths.dropSpare(unit.place);
  }

  deviceAt(place: DevicePlace): BlockDevice {
    return place === 'main' ? this.parts.main : this.spares.of(place).device;
  }

  /** The device that a piece is on. */
  placeOf(piece: Pick<Piece, 'place' | 'deviceOffset'>): DevicePlace | 'lost' {
    return piece.place === 'spare' ? this.spares.at(piece.deviceOffset).place : piece.place;
  }

  /** The granule of its own disk that has this offset of main, or of the row of spares. */
  ownGranule(place: DevicePlace, deviceOffset: number): number {
    if (place === 'main') return Math.floor(deviceOffset / this.parts.granuleBytes);
    return this.spares.of(place).ownGranule(deviceOffset);
  }

  /** For whom a move waits that found a spare away. */
  get spareToWaitFor(): SparePlace {
    return this.paths.sparesAway[0] ?? 'spare';
  }

  /** R24: whether what is written to a slot for the first time is read back. */
  get verifiesSlots(): boolean {
    return this.parts.verifySlots && this.policies.verify !== 'off';
  }

  /** R24: whether each write to a slot is. */
  get verifiesEachWrite(): boolean {
    return this.parts.verifySlots && this.policies.verify === 'always';
  }

  /** One observer, from now on. */
  observe(observer: RemapObserver): void {
    this.observer = observer;
    this.live.observer = (before, after) => observer.granuleChanged(before, after);
  }

  stateOf(granule: number): GranuleState {
    return this.table.get(granule) ?? healthyState(granule);
  }

  get freshRegions(): FreshRegions {
    return this.live.freshRegions;
  }

  /**
   * Commits and activates in one step. The caller holds the lock of the granules and has flushed the spare since it wrote
   * data there; `dataEpoch` is the flush epoch from before that write. Slots that were retired meanwhile go along.
   * Throws what `MetadataStore.commit` throws; the table is then unchanged.
   */
  async commit(records: readonly MappingRecord[], dataEpoch?: number): Promise<void> {
    const retired = this.#unrecordedRetired.splice(0, retiredPerCommitMax);
    this.#committing.add(records);
    try {
      await this.parts.metadata.commit([...records, ...retired.map(retiredRecord)], {
        dataFlush: false,
        activate: () => this.live.activate(records),
        ...(dataEpoch === undefined ? {} : { dataEpoch }),
      });
    } catch (error) {
      this.#unrecordedRetired.push(...retired);
      if (commitErrorCode(error) === 'METADATA_FAILED') this.metadataPath.noteFailed();
      throw error;
    } finally {
      this.#committing.delete(records);
    }
  }

  /** True while a record of one of these granules is being stored. */
  isCommitting(first: number, last: number): boolean {
    for (const records of this.#committing) {
      for (const record of records) {
        if (record.type !== 'granules') continue;
        if (record.granule <= last && record.granule + record.granuleCount > first) return true;
      }
    }
    return false;
  }

  /** As `commit`, for records without new data on the spare: a commit that is definitely not durable is simply tried again. */
  async commitMarks(records: readonly MappingRecord[]): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.commit(records);
        return;
      } catch (error) {
        if (commitErrorCode(error) === 'METADATA_FAILED' || attempt === markAttemptsMax) throw error;
      }
    }
  }

  /**
   * Activates at once and stores in the background: only for `unreadable` marks, which may be lost without harm because
   * main is the only truth and will be asked again (R4). The caller holds the lock.
   */
  commitLazily(records: readonly MappingRecord[]): void {
    this.live.activate(records);
    const commit = this.parts.metadata.commit(records, { dataFlush: false }).catch((error: unknown) => {
      if (commitErrorCode(error) === 'METADATA_FAILED') this.metadataPath.noteFailed();
      this.counters.lazyCommitsFailed += 1;
    });
    this.beside(commit);
  }

  /** Work that nobody waits for, but closing. It rejects for our own bugs only, and that ends the process (R35). */
  beside(work: Promise<void>): void {
    this.#background.add(work);
    void work.finally(() => this.#background.delete(work));
  }

  /** Resolves when nothing goes on beside requests. */
  async backgroundDone(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  /** A record in doubt names this slot: nobody gets it until the metadata has recovered without that record (M1). */
  doubtSlot(slot: number): void {
    this.#doubtfulSlots.push(slot);
  }

  /** R15: a disk refused a write for want of room. That says nothing about a sector; somebody should hear of it all the same. */
  noteNoRoom(place: DevicePlace): void {
    this.counters.writesWithoutRoom += 1;
    this.observer?.roomRefused(place);
  }

  /** A slot that proved bad: recorded with the next commit (M9). */
  retireSlot(slot: number): void {
    if (this.live.retired.has(slot)) return;
    this.slots.retire(slot);
    this.live.retired.add(slot);
    this.#unrecordedRetired.push(slot);
    this.observer?.slotRetired(slot);
  }

  /** The home is about to be another disk, whose slots have proved nothing. Returns what `restoreRetired` takes. */
  forgetRetired(): readonly number[] {
    const { home } = this.spares;
    const slots = this.live.retired.all().filter((slot) => home.hasSlot(slot));
    for (const slot of slots) {
      this.live.retired.delete(slot);
      this.slots.revive(slot);
    }
    this.#unrecordedRetired = this.#unrecordedRetired.filter((slot) => !home.hasSlot(slot));
    return slots;
  }

  restoreRetired(slots: readonly number[]): void {
    for (const slot of slots) {
      if (this.slots.claim(slot, 1)) this.retireSlot(slot);
    }
  }

  /** The spare is another disk from now on: what is known of the old one does not count. */
  spareReplaced(): void {
    this.paths.noteSpareReplaced();
    this.#freeDoubtful();
  }

  /** Flushes of the spare that failed since this `flushEpoch` put no client's bytes in doubt: all were flushed before (R7). */
  excuseFlushes(sinceEpoch: number): void {
    this.#quietSpareEpochs += this.parts.metadata.flushEpoch - sinceEpoch;
  }

  /** What clients wrote to the old spare and nobody flushed is in doubt (R7). */
  spareGivenUp(): void {
    this.#poison('spare');
  }

  /** On open: takes the retired slots of the stored table out of use. A slot that is also mapped stays mapped. */
  claimRetired(): void {
    for (const slot of this.live.retired.all()) {
      if (this.slots.claim(slot, 1)) this.slots.retire(slot);
      else this.live.retired.delete(slot);
    }
  }

  /** Writes to main and remembers that a flush is due. FUA holds on a main that knows only flushes, too. */
  writeMain(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const all = flags | this.mainCache.writeFlags(this.policies.mainCache);
    return writeThrough(this.parts.main, this.mainFlush, source, offset, all);
  }

  /** As `writeMain`, for the spare that has this offset of the row. */
  writeSpare(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const { device, flush } = this.spares.at(offset);
    return writeThrough(device, flush, source, offset, flags);
  }

  /** `offset` is of the row of spares. */
  readSpare(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.spares.at(offset).device.read(target, offset, flags);
  }

  /** Bytes of a granule that exist on main: the last one may be cut. */
  bytesOfGranule(granule: number): number {
    const { granuleBytes, sizeBytes } = this.parts;
    return Math.min(granuleBytes, sizeBytes - granule * granuleBytes);
  }

  /**
   * M18: a checkpoint has room for every slot and for so many granules without one. A granule that keeps marks keeps its slot
   * too when all that room is taken, so that the table can never outgrow a checkpoint.
   */
  roomWithoutSlot(state: GranuleState): boolean {
    return (state.unreadable | state.gone) === 0 || this.live.roomForMarks();
  }

  /** The main device has just done what it was asked, at this granule. On the hot path. */
  mainWorked(granule: number, direction: ProbeDirection): void {
    this.probe.noteGood(granule, direction);
    if (this.#pathsFailed > 0 || this.paths.storm.begun) this.paths.noteWorked('main', direction);
  }

  /** A piece of a request was answered as it should be. */
  noteWorked({ place, deviceOffset }: Piece, direction: ProbeDirection): void {
    if (place === 'main') this.mainWorked(Math.floor(deviceOffset / this.parts.granuleBytes), direction);
    else if (place === 'spare') {
      const unit = this.spares.at(deviceOffset);
      unit.probe.noteGood(unit.ownGranule(deviceOffset), direction);
      if (this.#pathsFailed > 0) this.paths.noteWorked(unit.place, direction);
    }
  }

  /** Somebody found a device away who may not wait for an answer: it is asked beside him. */
  notePathFailed(place: DevicePlace): void {
    this.beside(this.paths.judge(place, 'read').then(() => undefined));
  }

  /** Grows when something that clients wrote to a spare is in doubt (R7). */
  get spareEpoch(): number {
    let failures = this.parts.metadata.flushEpoch - this.#quietSpareEpochs + this.#droppedEpochs;
    for (const unit of this.spares.all) if (unit !== this.spares.home) failures += unit.flush.failures;
    return failures;
  }

  /** R6, R17: a flush that is due waits for its device like a write, and has then not failed. */
  flushMain(): Promise<void> {
    return this.#flush('main', this.mainFlush, this.paths.mainWrites);
  }

  /** As `flushMain`, for what clients wrote to the spares: each is asked, whatever another one says. */
  async flushSpares(): Promise<void> {
    const flushes = this.spares.all.map(({ place, flush }) =>
      this.#flush(place, flush, this.paths.of(place, 'write')),
    );
    for (const result of await Promise.allSettled(flushes)) {
      if (result.status === 'rejected') throw result.reason;
    }
  }

  async #flush(place: DevicePlace, gate: FlushGate, path: PathState): Promise<void> {
    if (gate.due && path.failed && !(await path.whenWorking())) {
      const { name, geometry } = this.deviceAt(place);
      throw deviceError(name, 'path', 0, geometry.sizeBytes);
    }
    try {
      await gate.flush();
    } catch (error) {
      if (isGone(asDeviceError(error).errno)) this.#noteGone(place);
      throw error;
    }
  }

  #noteGone(place: DevicePlace): void {
    this.paths.noteGone(place);
  }

  #onPathChange(failed: boolean, change: PathChange): void {
    this.#pathsFailed += failed ? 1 : -1;
    if (failed) this.locks.disturb();
    else this.locks.calm();
    // A spare that is none any more has not come back.
    const { disk } = change;
    if (disk === 'main' || this.spares.all.some(({ place }) => place === disk)) {
      this.observer?.pathChanged(failed, change);
    } else this.observer?.stateMayHaveChanged();
  }

  /** An operator says that what failed may work again: every closed way is tried, and what is in doubt is settled. */
  async recover(): Promise<void> {
    await this.paths.retry();
    await this.metadataPath.retry();
  }

  async #recoverMetadata(): Promise<boolean> {
    try {
      await this.parts.metadata.recover();
      // No record of theirs has ever been: they are nobody's.
      this.#freeDoubtful();
      return true;
    } catch (error) {
      commitErrorCode(error);
      return false;
    }
  }

  #freeDoubtful(): void {
    for (const slot of this.#doubtfulSlots.splice(0)) this.slots.free(slot);
  }

  #poison(place: DevicePlace): void {
    if (place === 'main') {
      this.mainFlush.poison();
      return;
    }
    if (place !== 'spare') {
      this.spares.of(place).flush.poison();
      return;
    }
    const { metadata } = this.parts;
    const before = metadata.flushEpoch;
    metadata.poisonFlushes();
    // Moves and records have a flush of their own before anybody is told: clients hear only of their own writes (R6).
    if (!this.spareFlush.due) this.#quietSpareEpochs += metadata.flushEpoch - before;
  }

  #freshMap(): FreshMap {
    return new FreshMap({
      regions: this.freshRegions,
      granuleBytes: this.parts.granuleBytes,
      deviceName: this.parts.main.name,
      commit: (records) => this.commitMarks(records),
    });
  }
}

/** What a failed commit means for its caller; anything else than a failed commit is our bug and is thrown on. */
export function commitErrorCode(error: unknown): 'METADATA_NOT_COMMITTED' | 'METADATA_FAILED' {
  if (!(error instanceof MetadataError)) throw error;
  return error.code === 'METADATA_NOT_COMMITTED' ? error.code : 'METADATA_FAILED';
}

/** Sectors are 512 bytes in records and messages. */
export function sectorsPerGranule(granuleBytes: number): number {
  return granuleBytes / sectorBytes;
}
