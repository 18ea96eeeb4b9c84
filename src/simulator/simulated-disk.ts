import { assert } from '../block/assert.ts';
import { type Capabilities, type Geometry, sectorBytes } from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { Errno } from '../block/errno.ts';
import { countByKind, type DiskCounts, zeroDiskCounts } from './disk-counts.ts';
import { DiskEffects } from './disk-effects.ts';
import { DiskQueue } from './disk-queue.ts';
import { type DiskRequest, failedRange, requestBytes } from './disk-request.ts';
import { DiskService } from './disk-service.ts';
import { OperationCounter, type OperationKind, type OperationPhase } from './operation-counter.ts';
import type { PagedImage } from './paged-image.ts';
import type { SeededRandom } from './seeded-random.ts';
import { type DiskBelow, SimulatedDevice } from './simulated-device.ts';
import type { SimulatedDiskOptions } from './simulated-disk-options.ts';
import { SimulatedFaults } from './simulated-faults.ts';
import { type PowerCutLoss, SimulatedMedia } from './simulated-media.ts';

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
  readonly #queue: DiskQueue;
  readonly #service: DiskService;
  #plugged = true;
  #otherInItsPlace: DiskBelow | undefined;
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
    const effects = new DiskEffects({
      media: this.#media,
      faults: this.faults,
      random: this.#random,
      logicalBlockBytes,
      exactRanges: options.exactRanges ?? false,
      writeThrough: options.writeThrough ?? false,
      onBlindWrite: options.onBlindWrite,
    });
    this.#queue = new DiskQueue({
      name: options.name,
      counts: this.counts,
      blockSectors: logicalBlockBytes / sectorBytes,
      isWritable: (sector) => this.faults.isWritable(sector),
    });
    this.#service = new DiskService({
      options,
      faults: this.faults,
      effects,
      media: this.#media,
      queue: this.#queue,
      random: this.#random,
      announceSettled: (request) => this.#announce(request, 'settle'),
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
    return this.#queue.size;
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
    const interrupted = this.#queue.interruptedSectors();
    this.#abandon();
    const loss = this.#media.powerCut(interrupted);
    this.faults.counts.powerCuts += 1;
    this.faults.counts.powerCutLostSectors += loss.lost.length;
    this.faults.counts.liedSectors += loss.lied.length;
    return loss;
  }

  /** What a power cut now would leave, with a part of `random`'s chances; nothing happens to this disk. */
  afterPowerCut(random: SeededRandom): { image: PagedImage; loss: PowerCutLoss } {
    return this.#media.afterPowerCut(this.#queue.interruptedSectors(), random);
  }

  /** As `afterPowerCut`, for a process that dies: the cache is whole, what is under way arrives or does not. */
  afterKill(random: SeededRandom): PagedImage {
    const image = this.#media.afterKill();
    for (const { sector, bytes } of this.#queue.arriving(random)) image.write(bytes, sector * sectorBytes);
    return image;
  }

  /** The process dies: its requests stay pending for ever, the disk's cache survives. */
  kill(): void {
    const arriving = this.#queue.arriving(this.#random);
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
    const loss = this.#media.powerCut(this.#queue.interruptedSectors());
    this.faults.counts.unplugs += 1;
    this.#plugged = false;
    for (const device of this.#devices) device.lose();
    for (const request of this.#queue.requests()) {
      request.effected = true;
      request.failedRanges = [failedRange(request.offset, request.length, Errno.ENODEV)];
      this.#service.strikes(request, 'path', Errno.ENODEV);
    }
    this.#options.onCacheDropped?.(loss);
    return loss;
  }

  /** Somebody puts another disk where this one was pulled out. */
  putInItsPlace(other: DiskBelow): void {
    assert(!this.#plugged, 'SimulatedDisk: there is room for one disk');
    this.#otherInItsPlace = other;
  }

  /** For `SimulatedDevice`. */
  get otherInItsPlace(): DiskBelow | undefined {
    return this.#otherInItsPlace;
  }

  /** It is back, and can be opened. */
  plug(): void {
    this.#otherInItsPlace = undefined;
    this.#plugged = true;
  }

  /** For `SimulatedDevice`: false while the disk is away, or another one is in its place. */
  get plugged(): boolean {
    return this.#plugged;
  }

  /** For `SimulatedDevice`: resolves when no late request is alive on the range (R3). */
  drained(offset: number, length: number): Promise<void> {
    return this.#queue.drained(offset, length);
  }

  /** Stuck requests get their answers; writes among them may only now reach the media. */
  releaseStuck(): void {
    for (const request of this.#queue.takeStuck()) this.#service.settle(request);
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
      this.#queue.add(request);
      this.#announce(request, 'submit');
      if (!request.dead) this.#service.start(request);
    });
  }

  /** A read that is answered before its call returns needs no room of its own. */
  #bytesOf(kind: OperationKind, length: number, buffer: Uint8Array | undefined): Uint8Array {
    const { immediate = false, writeThrough = false } = this.#options;
    const inPlace = kind === 'read' ? immediate : kind === 'write' && immediate && writeThrough;
    return inPlace && buffer !== undefined ? buffer : requestBytes(kind, length, buffer);
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

  #abandon(): void {
    this.#queue.abandon();
    for (const device of this.#devices) device.abandon();
    this.#devices = [];
  }
}
