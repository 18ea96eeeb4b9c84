import { assert } from '../block/assert.ts';
import { type Capabilities, type Geometry, IoFlags, sectorBytes } from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import type { Clock } from '../block/clock.ts';
import { DeviceError, type FailedRange } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { countByKind, type DiskCounts, zeroDiskCounts } from './disk-counts.ts';
import {
  assertUntouched,
  type DiskRequest,
  exactRanges,
  failedRange,
  forEachSector,
  requestBytes,
} from './disk-request.ts';
import { OperationCounter, type OperationKind, type OperationPhase } from './operation-counter.ts';
import type { PagedImage } from './paged-image.ts';
import type { SeededRandom } from './seeded-random.ts';
import { type DiskBelow, SimulatedDevice } from './simulated-device.ts';
import { type SectorFault, SimulatedFaults } from './simulated-faults.ts';
import { type InterruptedSector, type PowerCutLoss, SimulatedMedia } from './simulated-media.ts';

/** One device operation, as the world hears of it while it happens. */
export interface DiskOperation {
  readonly disk: SimulatedDisk;
  readonly phase: OperationPhase;
  readonly offset: number;
  readonly length: number;
}

/** A fault that is not of the medium has just met a request. */
export interface FaultStrike {
  readonly disk: SimulatedDisk;
  readonly fault: 'transient' | 'partial-write' | 'stuck' | 'delay' | 'path' | 'flush' | 'lying-flush';
  readonly kind: OperationKind;
  readonly offset: number;
  readonly length: number;
  /** What the request is answered; 0 when it is not an error. */
  readonly errno: number;
  /** How long the request is kept, as far as that is known. */
  readonly lastsMs: number;
}

export interface SimulatedDiskOptions {
  readonly name: string;
  /** A multiple of the logical block. */
  readonly sizeBytes: number;
  readonly logicalBlockBytes?: number;
  readonly physicalBlockBytes?: number;
  readonly clock: Clock;
  /** Forked by the disk's name: disks of one world may be given the same one. */
  readonly random: SeededRandom;
  /** `volatile` (default): a write that is not flushed may be lost. `none`: every write is durable when it settles. */
  readonly writeCache?: 'volatile' | 'none';
  readonly capabilities?: Partial<Capabilities>;
  /** Virtual milliseconds of one request; one in 50 takes ten times as long. */
  readonly latencyMinMs?: number;
  readonly latencyMaxMs?: number;
  /** Every request is done and answered before its call returns: no time passes. Default false. */
  readonly immediate?: boolean;
  /** What the media holds; zeros by default. */
  readonly image?: PagedImage;
  readonly badSectors?: ReadonlyMap<number, SectorFault>;
  /** Failed ranges name the bad blocks only. By default the whole request fails, as real disks report it. */
  readonly exactRanges?: boolean;
  readonly onStrike?: (strike: FaultStrike) => void;
  /** Called when a failing flush has thrown away what was not flushed. */
  readonly onCacheDropped?: () => void;
  /** Shared by the disks of a world, so that operation N is one moment in it. */
  readonly counter?: OperationCounter;
  /** Called at every submission and before every settlement; may cut the power then and there. */
  readonly onOperation?: (operationNumber: number, kind: OperationKind, operation: DiskOperation) => void;
}

const capabilitiesOfDisk: Capabilities = {
  write: true,
  flush: true,
  fua: true,
  discard: true,
  writeZeroes: true,
  fastZeroes: false,
  rotational: true,
};

/** How many of the sectors that were under way arrive when a process dies. */
const arrivals = [0, 0.5, 1] as const;

/** What a read leaves in bytes that it could not read: nothing that anyone could take for data. */
const unreadableFill = 0xee;

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
  readonly #random: SeededRandom;
  readonly #options: SimulatedDiskOptions;
  readonly #counter: OperationCounter;
  readonly #inFlight = new Set<DiskRequest>();
  readonly #stuck = new Set<DiskRequest>();
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
    this.#media = new SimulatedMedia(options.sizeBytes, this.#random.fork('media'), options.image);
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
    this.faults.counts.powerCutLostSectors += loss.sectors;
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
    const probability = random.pick(arrivals);
    for (const { sector, bytes } of this.#interruptedSectors()) {
      if (random.chance(probability)) image.write(bytes, sector * sectorBytes);
    }
    return image;
  }

  /** The process dies: its requests stay pending for ever, the disk's cache survives. */
  kill(): void {
    const interrupted = this.#interruptedSectors();
    this.#abandon();
    this.faults.counts.kills += 1;
    const owner = { settled: true };
    // The kernel has the requests queued: they are done whole, not at all, or in part.
    const probability = this.#random.pick(arrivals);
    for (const { sector, bytes } of interrupted) {
      if (this.#random.chance(probability)) this.#media.cacheSector(sector, bytes, owner);
    }
    if (this.#options.writeCache === 'none') this.#media.commit(this.#media.sequence);
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
      if (failure.partly) this.#writeSome(request);
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
    if (request.kind === 'flush') return;
    if (request.kind === 'read') this.#sample(request);
    // Contents are undefined after a discard: some sectors read as zeros, some as before.
    else if (request.kind === 'discard') this.#writeSome(request);
    else this.#write(request);
  }

  #sample(request: DiskRequest): void {
    this.#media.read(request.bytes, request.offset);
    const failed = this.#strike(request, 'read');
    if (failed.size === 0) return;
    this.faults.counts.badSectorReads += 1;
    request.failedRanges = this.#failedRanges(request, failed);
    // Good sectors of a request that fails as a whole may have arrived or not.
    const deliverGood = this.#options.exactRanges === true || this.#random.chance(0.5);
    forEachSector(request, (sector, bytes) => {
      if (failed.has(sector) || !deliverGood) bytes.fill(unreadableFill);
    });
  }

  #write(request: DiskRequest): void {
    const failed = this.#strike(request, 'write');
    if (failed.size > 0) {
      this.faults.counts.badSectorWrites += 1;
      request.failedRanges = this.#failedRanges(request, failed);
    }
    const all = failed.size === 0 || this.#options.exactRanges === true;
    forEachSector(request, (sector, bytes) => {
      if (failed.has(sector)) return;
      if (all || this.#random.chance(0.5)) this.#media.cacheSector(sector, bytes, request);
    });
  }

  /** Fails without a bad sector, and has written some sectors all the same. */
  #writeSome(request: DiskRequest): void {
    forEachSector(request, (sector, bytes) => {
      if (this.#random.chance(0.5) && this.faults.isWritable(sector)) {
        this.#media.cacheSector(sector, bytes, request);
      }
    });
  }

  #strike(request: DiskRequest, kind: 'read' | 'write'): Map<number, number> {
    const failed = new Map<number, number>();
    const first = request.offset / sectorBytes;
    if (this.faults.isClean(first, request.length / sectorBytes)) return failed;
    forEachSector(request, (sector) => {
      const errno = this.faults.strike(kind, sector);
      if (errno !== undefined) failed.set(sector, errno);
    });
    return failed;
  }

  #failedRanges(request: DiskRequest, failed: ReadonlyMap<number, number>): FailedRange[] {
    if (this.#options.exactRanges === true) {
      return exactRanges(failed, this.geometry.logicalBlockBytes);
    }
    const [errno] = failed.values();
    return [failedRange(request.offset, request.length, errno!)];
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
    } else if (kind === 'flush' && request.failedRanges.length === 0) this.#flush(request);
    else this.#makeDurable(request);
    if (kind === 'read' && request.buffer !== undefined) this.#deliver(request, request.buffer);
    this.#answer(request);
    request.done();
  }

  #flush(request: DiskRequest): void {
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
    this.faults.counts.droppedSectors += this.#media.dropSome();
    this.#options.onCacheDropped?.();
    request.failedRanges = [failedRange(request.offset, request.length, errno)];
  }

  #strikes(request: DiskRequest, fault: FaultStrike['fault'], errno: number, lastsMs = 0): void {
    const { kind, offset, length } = request;
    this.#options.onStrike?.({ disk: this, fault, kind, offset, length, errno, lastsMs });
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
    if (request.answered) return;
    if (request.failedRanges.length === 0) {
      request.resolve();
      return;
    }
    this.counts.failed += 1;
    request.reject(new DeviceError(this.name, request.failedRanges));
  }

  #abandon(): void {
    for (const request of this.#inFlight) request.dead = true;
    this.#inFlight.clear();
    this.#stuck.clear();
    for (const device of this.#devices) device.abandon();
    this.#devices = [];
  }

  /** Writes that have not taken effect: each of their sectors may or may not get there. */
  #interruptedSectors(): InterruptedSector[] {
    const sectors: InterruptedSector[] = [];
    for (const request of this.#inFlight) {
      if (request.effected || request.kind === 'read' || request.kind === 'flush') continue;
      forEachSector(request, (sector, bytes) => {
        if (this.faults.isWritable(sector)) sectors.push({ sector, bytes });
      });
    }
    return sectors;
  }
}
