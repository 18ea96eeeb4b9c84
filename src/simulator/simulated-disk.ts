import { assert } from '../block/assert.ts';
import { type Capabilities, type Geometry, IoFlags, sectorBytes } from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { DeviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { countByKind, type DiskCounts, zeroDiskCounts } from './disk-counts.ts';
import { DiskEffects, unreadableFill } from './disk-effects.ts';
import {
  assertUntouched,
  type DiskRequest,
  failedRange,
  forEachSector,
  requestBytes,
} from './disk-request.ts';
import { OperationCounter, type OperationKind, type OperationPhase } from './operation-counter.ts';
import type { PagedImage } from './paged-image.ts';
import type { SeededRandom } from './seeded-random.ts';
import { type DiskBelow, SimulatedDevice } from './simulated-device.ts';
import type { FaultStrike, SimulatedDiskOptions } from './simulated-disk-options.ts';
import { SimulatedFaults } from './simulated-faults.ts';
import { type PowerCutLoss, type SectorContent, SimulatedMedia } from './simulated-media.ts';

export type { DiskOperation, FaultStrike, SimulatedDiskOptions } from './simulated-disk-options.ts';

const capabilitiesOfDisk: Capabilities = {
  write: true,
  flush: true,
  fua: true,
  discard: true,
  writeZeroes: true,
  fastZeroes: false,
  rotational: true,
};

/** Somebody waits for late requests of a range to end. */
interface DrainWaiter {
  readonly offset: number;
  readonly length: number;
  readonly resolve: () => void;
}

/** How many of the sectors that were under way arrive when a process dies. */
const arrivals = [0, 0.5, 1] as const;

/**
 * A disk under virtual time, the worst one that the contract allows. Requests take effect at a moment of their own
 * between submission and answer, so overlapping ones happen in any order; what is not flushed may be lost, torn and
 * reordered by `powerCut`. Everything comes from one seed. `open` gives the devices that processes use.
 */
export class SimulatedDisk implements DiskBelow {
  readonly name: string;
  readonly geometry: Geometry;
  readonly capabilities: Capabilities;
  readonly faults: SimulatedFaults;
  readonly counts: DiskCounts = zeroDiskCounts();
  readonly #media: SimulatedMedia;
  readonly #effects: DiskEffects;
  readonly #random: SeededRandom;
  readonly #options: SimulatedDiskOptions;
  readonly #counter: OperationCounter;
  readonly #inFlight = new Set<DiskRequest>();
  readonly #stuck = new Set<DiskRequest>();
  readonly #drainWaiters = new Set<DrainWaiter>();
  #plugged = true;
  #devices: SimulatedDevice[] = [];

  constructor(options: SimulatedDiskOptions) {
    const logicalBlockBytes = options.logicalBlockBytes ?? sectorBytes;
    assert(options.sizeBytes % logicalBlockBytes === 0, 'SimulatedDisk: the size has whole logical blocks');
    this.name = options.name;
    this.geometry = {
      sizeBytes: options.sizeBytes,
      logicalBlockBytes,
      physicalBlockBytes: options.physicalBlockBytes ?? logicalBlockBytes,
    };
    this.capabilities = { ...capabilitiesOfDisk, ...options.capabilities };
    this.#options = options;
    this.faults = new SimulatedFaults(options.badSectors);
    this.#random = options.random.fork(options.name);
    this.#media = new SimulatedMedia(
      options.sizeBytes,
      this.#random.fork('media'),
      logicalBlockBytes / sectorBytes,
      options.image,
    );
    this.#effects = new DiskEffects({
      media: this.#media,
      faults: this.faults,
      random: this.#random,
      logicalBlockBytes,
      exactRanges: options.exactRanges ?? false,
      onBlindWrite: options.onBlindWrite,
    });
    this.#counter = options.counter ?? new OperationCounter();
  }

  /**
   * A fresh device over what the media and the cache hold now; what a process gets that opens the disk. Buffers of `arena`
   * are held while a request lives, as an engine does (I27).
   */
  open(arena?: BufferArena): SimulatedDevice {
    const device = new SimulatedDevice(this, arena);
    this.#devices.push(device);
    return device;
  }

  /** Requests without an answer, stuck ones included. */
  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  get unflushedSectorCount(): number {
    return this.#media.unflushedSectorCount;
  }

  /** A flush has lied, and a power cut now would show it. */
  get owesLiedWrites(): boolean {
    return this.#media.owesLiedWrites;
  }

  /** The media itself: what survives whatever happens. A copy, for judges. */
  get durableImage(): Uint8Array {
    return this.#media.durable;
  }

  /** What reads would return now, cache included and bad sectors ignored: a copy. */
  cachedImage(offset = 0, length: number = this.geometry.sizeBytes): Uint8Array {
    const image = new Uint8Array(length);
    this.#media.read(image, offset);
    return image;
  }

  /** Contents from before the simulation, durable at once. */
  load(bytes: Uint8Array, offset = 0): void {
    assert(this.#media.unflushedSectorCount === 0, 'SimulatedDisk: load before the first write');
    this.#media.load(bytes, offset);
  }

  /**
   * The power goes: any subset of what was not flushed survives, torn at sectors; requests in flight and all later ones
   * of the devices opened so far stay pending for ever.
   */
  powerCut(): PowerCutLoss {
    const interrupted = this.#interruptedSectors();
    this.#abandon();
    const loss = this.#media.powerCut(interrupted);
    this.faults.counts.powerCuts += 1;
    this.faults.counts.powerCutLostSectors += loss.lost.length;
    this.faults.counts.liedSectors += loss.lied.length;
    return loss;
  }

  /** What a power cut now would leave, with a part of `random`'s chances; nothing happens to this disk. */
  afterPowerCut(random: SeededRandom): { image: PagedImage; loss: PowerCutLoss } {
    return this.#media.afterPowerCut(this.#interruptedSectors(), random);
  }

  /** As `afterPowerCut`, for a process that dies: the cache is whole, what is under way arrives or does not. */
  afterKill(random: SeededRandom): PagedImage {
    const image = this.#media.afterKill();
    for (const { sector, bytes } of this.#arriving(random)) image.write(bytes, sector * sectorBytes);
    return image;
  }

  /** The process dies: its requests stay pending for ever, the disk's cache survives. */
  kill(): void {
    const arriving = this.#arriving(this.#random);
    this.#abandon();
    this.faults.counts.kills += 1;
    const owner = { settled: true };
    for (const { sector, bytes } of arriving) this.#media.cacheSector(sector, bytes, owner);
    if (this.#options.writeCache === 'none') this.#media.commit(this.#media.sequence);
  }

  /**
   * Somebody pulls it out: its cache is lost like in a power cut, requests under way and all to come answer ENODEV, also
   * those of devices opened before it comes back, until they are opened anew (R32).
   */
  unplug(): PowerCutLoss {
    const loss = this.#media.powerCut(this.#interruptedSectors());
    this.faults.counts.unplugs += 1;
    this.#plugged = false;
    for (const device of this.#devices) device.lose();
    for (const request of this.#inFlight) {
      request.effected = true;
      request.failedRanges = [failedRange(request.offset, request.length, Errno.ENODEV)];
      this.#strikes(request, 'path', Errno.ENODEV);
    }
    this.#options.onCacheDropped?.(loss.lost);
    return loss;
  }

  /** It is back, and can be opened. */
  plug(): void {
    this.#plugged = true;
  }

  /** For `SimulatedDevice`: false while the disk is away, or another one is in its place. */
  get plugged(): boolean {
    return this.#plugged;
  }

  /** For `SimulatedDevice`: resolves when no late request is alive on the range (R3). */
  drained(offset: number, length: number): Promise<void> {
    if (!this.#isZombieOn(offset, length)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drainWaiters.add({ offset, length, resolve });
    });
  }

  /** Stuck requests get their answers; writes among them may only now reach the media. */
  releaseStuck(): void {
    const requests = [...this.#stuck];
    this.#stuck.clear();
    for (const request of requests) this.#settle(request);
  }

  /** For `SimulatedDevice`, which has checked the request. */
  submit(
    kind: OperationKind,
    offset: number,
    length: number,
    flags: number,
    buffer: Uint8Array | undefined,
    done: () => void,
  ): Promise<void> {
    this.#count(kind, length);
    return new Promise((resolve, reject) => {
      const request: DiskRequest = {
        kind,
        offset,
        length,
        flags,
        buffer,
        bytes: this.#bytesOf(kind, length, buffer),
        flushSequence: this.#media.sequence,
        resolve,
        reject,
        done,
        effected: false,
        answered: false,
        settled: false,
        dead: false,
        failedRanges: [],
      };
      this.#inFlight.add(request);
      this.#announce(request, 'submit');
      if (!request.dead) this.#start(request);
    });
  }

  /** A read that is answered before its call returns needs no room of its own. */
  #bytesOf(kind: OperationKind, length: number, buffer: Uint8Array | undefined): Uint8Array {
    const inPlace = kind === 'read' && this.#options.immediate === true && buffer !== undefined;
    return inPlace ? buffer : requestBytes(kind, length, buffer);
  }

  #count(kind: OperationKind, length: number): void {
    this.counts[countByKind[kind]] += 1;
    if (kind === 'read') this.counts.bytesRead += length;
    if (kind === 'write' || kind === 'write-zeroes') this.counts.bytesWritten += length;
  }

  #announce(request: DiskRequest, phase: OperationPhase): void {
    const { kind, offset, length } = request;
    this.#options.onOperation?.(this.#counter.next(), kind, { disk: this, phase, offset, length });
  }

  #start(request: DiskRequest): void {
    const { kind, offset, length } = request;
    const failure = this.faults.takeTransient(kind, offset, length);
    if (failure !== undefined) {
      this.#strikes(request, failure.partly ? 'partial-write' : 'transient', failure.errno);
      if (failure.partly) this.#effects.writeSome(request);
      if (kind === 'read') request.bytes.fill(unreadableFill);
      request.effected = true;
      request.failedRanges = [failedRange(offset, length, failure.errno)];
    }
    if (this.faults.takeStuck(kind, offset, length)) {
      this.#strikes(request, 'stuck', 0);
      this.#stuck.add(request);
      this.#scheduleEffect(request, this.#latencyMs(kind));
    } else if (this.#options.immediate === true) {
      this.#settle(request);
    } else {
      this.#scheduleSettlement(request);
    }
  }

  #scheduleSettlement(request: DiskRequest): void {
    const { kind, offset, length } = request;
    const delay = this.faults.takeDelay(kind, offset, length);
    const latencyMs = delay?.doneMs ?? this.#latencyMs(kind);
    if (delay !== undefined) {
      this.#strikes(request, 'delay', delay.answerMs === undefined ? 0 : Errno.ETIMEDOUT, delay.doneMs);
    }
    this.#scheduleEffect(request, latencyMs);
    this.#options.clock.schedule(latencyMs, () => this.#settle(request));
    const answerMs = delay?.answerMs;
    if (answerMs !== undefined) this.#options.clock.schedule(answerMs, () => this.#expire(request));
  }

  /** A deadline answers the caller; the request lives on (R3). */
  #expire(request: DiskRequest): void {
    if (request.dead || request.settled) return;
    request.answered = true;
    const { offset, length } = request;
    this.counts.failed += 1;
    request.reject(
      new DeviceError(this.name, [{ offset, length, kind: 'timed-out', errno: Errno.ETIMEDOUT }]),
    );
  }

  #latencyMs(kind: OperationKind): number {
    const { latencyMinMs = 0.05, latencyMaxMs = 2 } = this.#options;
    const baseMs = this.#random.between(latencyMinMs, latencyMaxMs);
    const slowFactor = this.#random.chance(1 / 50) ? 10 : 1;
    return baseMs * slowFactor * (kind === 'flush' ? 3 : 1);
  }

  /** A request may take effect at once, on its way, or just before its answer. */
  #scheduleEffect(request: DiskRequest, latencyMs: number): void {
    const when = this.#random.below(3);
    if (when === 0) this.#takeEffect(request);
    if (when === 1) {
      const effectMs = this.#random.between(0, latencyMs);
      this.#options.clock.schedule(effectMs, () => this.#takeEffect(request));
    }
  }

  #takeEffect(request: DiskRequest): void {
    if (request.dead || request.effected) return;
    request.effected = true;
    this.#effects.take(request);
  }

  #settle(request: DiskRequest): void {
    if (request.dead) return;
    this.#takeEffect(request);
    this.#announce(request, 'settle');
    // The announcement may have cut the power.
    if (request.dead) return;
    if (request.kind === 'write') assertUntouched(request);
    const { kind, offset, length } = request;
    const pathErrno = this.faults.takePathErrno();
    if (pathErrno !== undefined) {
      this.#strikes(request, 'path', pathErrno);
      request.failedRanges = [failedRange(offset, length, pathErrno)];
    } else if (kind === 'flush') this.#flush(request);
    else this.#makeDurable(request);
    if (kind === 'read' && request.buffer !== undefined) this.#deliver(request, request.buffer);
    this.#answer(request);
    request.done();
  }

  #flush(request: DiskRequest): void {
    // Lost on its way: nothing was flushed, and nothing thrown away.
    if (request.failedRanges.length > 0) return;
    const errno = this.faults.takeFlushErrno();
    if (errno === undefined) {
      if (!this.faults.takeFlushLie()) {
        this.#media.commit(request.flushSequence);
        return;
      }
      this.#media.pretendToCommit(request.flushSequence);
      this.#strikes(request, 'lying-flush', 0);
      return;
    }
    this.#strikes(request, 'flush', errno);
    const dropped = this.#media.dropSome();
    this.faults.counts.droppedSectors += dropped.length;
    this.#options.onCacheDropped?.(dropped);
    request.failedRanges = [failedRange(request.offset, request.length, errno)];
  }

  #strikes(request: DiskRequest, fault: FaultStrike['fault'], errno: number, lastsMs = 0): void {
    const { kind, offset, length } = request;
    this.#options.onStrike?.({ name: this.name, fault, kind, offset, length, errno, lastsMs });
  }

  #makeDurable(request: DiskRequest): void {
    if (request.kind === 'read' || request.kind === 'flush') return;
    const durable = this.#options.writeCache === 'none' || (request.flags & IoFlags.fua) !== 0;
    if (!durable) return;
    this.#media.commitOwner(request, request.offset / sectorBytes, request.length / sectorBytes);
  }

  #deliver(request: DiskRequest, target: Uint8Array): void {
    // Failed as a whole before it had an effect: nothing was sampled.
    const [first] = request.failedRanges;
    if (first?.kind === 'path' || first?.kind === 'transient') target.fill(unreadableFill);
    else if (target !== request.bytes) target.set(request.bytes);
  }

  #answer(request: DiskRequest): void {
    request.settled = true;
    this.#inFlight.delete(request);
    this.counts.settled += 1;
    if (request.answered) {
      this.#notifyDrained();
      return;
    }
    if (request.failedRanges.length === 0) {
      request.resolve();
      return;
    }
    this.counts.failed += 1;
    request.reject(new DeviceError(this.name, request.failedRanges));
  }

  #isZombieOn(offset: number, length: number): boolean {
    for (const request of this.#inFlight) {
      const overlaps = request.offset < offset + length && offset < request.offset + request.length;
      if (request.answered && overlaps) return true;
    }
    return false;
  }

  #notifyDrained(): void {
    for (const waiter of this.#drainWaiters) {
      if (this.#isZombieOn(waiter.offset, waiter.length)) continue;
      this.#drainWaiters.delete(waiter);
      waiter.resolve();
    }
  }

  #abandon(): void {
    this.#drainWaiters.clear();
    for (const request of this.#inFlight) request.dead = true;
    this.#inFlight.clear();
    this.#stuck.clear();
    for (const device of this.#devices) device.abandon();
    this.#devices = [];
  }

  /** The kernel has the requests of a dead process queued: they are done whole, not at all, or in part. */
  #arriving(random: SeededRandom): SectorContent[] {
    const probability = random.pick(arrivals);
    const blockSectors = this.geometry.logicalBlockBytes / sectorBytes;
    let block = -1;
    let arrives = false;
    return this.#interruptedSectors().filter(({ sector }) => {
      const next = Math.floor(sector / blockSectors);
      if (next !== block) arrives = random.chance(probability);
      block = next;
      return arrives;
    });
  }

  /** Writes that have not taken effect: each of their sectors may or may not get there. */
  #interruptedSectors(): SectorContent[] {
    const sectors: SectorContent[] = [];
    for (const request of this.#inFlight) {
      if (request.effected || request.kind === 'read' || request.kind === 'flush') continue;
      forEachSector(request, (sector, bytes) => {
        if (this.faults.isWritable(sector)) sectors.push({ sector, bytes });
      });
    }
    return sectors;
  }
}
