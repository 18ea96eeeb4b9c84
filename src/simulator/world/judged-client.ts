import { IoFlags, sectorBytes } from '../../block/block-device.ts';
import { asDeviceError, type DeviceError, type FailedRange } from '../../block/device-error.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import type { AlignmentFilter } from '../../remap/request/alignment-filter.ts';
import { type FlushToken, type Judge, JudgeViolation } from './judge.ts';
import type { ReadToken } from './read-token.ts';

/** What the world knows about why a request may fail. */
export interface Excuses {
  /** Throws when nothing was wrong that could make this request fail. `sinceMs`: when it began. */
  allowFailure(verb: string, error: DeviceError, sinceMs: number): void;
  /** No disk has lied about a flush. */
  honest(): boolean;
  /** The time requests begin at. */
  nowMs(): number;
  /** A write was just acknowledged: whatever happens now, it counts. */
  acknowledged(): void;
  /** Wraps every request: a watchdog, or an answer that never arrives. */
  answered<T>(request: Promise<T>): Promise<T>;
}

/** What an export serves: the device, or its sectors for those who never asked for block sizes (R11). */
export type ServedDevice = RemapDevice | AlignmentFilter;

/** Sectors of one read when everything is read. */
const readSectors = 256;
export const readAllBytes: number = readSectors * sectorBytes;

/** A sector of an acknowledged write; no version for zeros, which may be anybody's. */
export interface OwedLoss {
  readonly sector: number;
  readonly version: number | undefined;
}

/** True when the write had been acknowledged before the flush began: only then a flush answers for it (R22). */
function covers({ lastVersion, inFlight }: FlushToken, { sector, version }: OwedLoss): boolean {
  if (version === undefined) return true;
  return version <= lastVersion && !inFlight[sector]!.includes(version);
}

/** One client of the virtual device, with the judge looking over its shoulder. */
export class JudgedClient {
  readonly #device: ServedDevice;
  /** Sectors of a logical block of the device below any filter. */
  readonly #blockSectors: number;
  readonly #judge: Judge;
  readonly #excuses: Excuses;
  /** As an export's connection: a failed flush is told once (R7). */
  #flushEpoch: number;
  /** The same at its last flush. */
  #flushedEpoch: number;
  /** Acknowledged writes that a disk threw away, of which the device has not told this client. */
  readonly #owed: OwedLoss[] = [];
  /** Sectors of which the last `readAll` was told that they are lost. */
  readonly failedAsLost: Set<number> = new Set();

  constructor(device: ServedDevice, judge: Judge, excuses: Excuses, blockSectors: number = 1) {
    this.#device = device;
    this.#blockSectors = blockSectors;
    this.#judge = judge;
    this.#excuses = excuses;
    this.#flushEpoch = this.#epoch;
    this.#flushedEpoch = this.#epoch;
  }

  get #epoch(): number {
    return this.#device.flushEpoch ?? 0;
  }

  /** A disk threw writes away: the next flush that covers one of them has to fail (R7). */
  owe(losses: readonly OwedLoss[]): void {
    this.#owed.push(...losses);
  }

  async write(sector: number, sectorCount: number, fua: boolean): Promise<void> {
    const judge = this.#judge;
    const version = judge.newVersion();
    const source = judge.contents.make(version, sector, sectorCount);
    const flags = fua ? IoFlags.fua : IoFlags.none;
    await this.#change('write', sector, sectorCount, version, fua, () =>
      this.#device.write(source, sector * sectorBytes, flags),
    );
  }

  async writeZeroes(sector: number, sectorCount: number, flags: number = IoFlags.none): Promise<void> {
    const version = this.#judge.newVersion();
    this.#judge.contents.makeZeroes(version);
    await this.#change('write-zeroes', sector, sectorCount, version, false, () =>
      this.#device.writeZeroes(sector * sectorBytes, sectorCount * sectorBytes, flags),
    );
  }

  /** Contents are undefined afterwards: what was there, or zeros. */
  async discard(sector: number, sectorCount: number): Promise<void> {
    const judge = this.#judge;
    const version = judge.newVersion();
    judge.contents.makeZeroes(version);
    const sinceMs = this.#excuses.nowMs();
    judge.writeBegun(sector, sectorCount, version);
    const request = this.#device.discard(sector * sectorBytes, sectorCount * sectorBytes);
    const error = await this.#outcome(request);
    if (error !== undefined) this.#allow('discard', error, sinceMs);
    judge.writeFailed(sector, sectorCount, version);
  }

  async flush(): Promise<void> {
    const sinceMs = this.#excuses.nowMs();
    const token = this.#judge.flushBegun();
    // Of a flush that failed behind its back it is told whenever it comes: by the device, whatever its own number said (R7).
    const isOwed = this.#epoch !== this.#flushedEpoch;
    const error = await this.#outcome(this.#device.flush());
    this.#flushedEpoch = this.#epoch;
    if (error !== undefined && !isOwed) this.#excuses.allowFailure('flush', error, sinceMs);
    if (this.#wasTold(error !== undefined)) return;
    if (this.#owed.some((loss) => covers(token, loss)))
      throw new JudgeViolation('R7: a flush succeeded, and nobody was told of one that failed');
    this.#judge.flushAcknowledged(token, this.#excuses.honest());
  }

  /** Reads and compares. Returns the sectors that could not be read. */
  async read(
    sector: number,
    sectorCount: number,
    target: Buffer = Buffer.allocUnsafeSlow(sectorCount * sectorBytes),
  ): Promise<ReadonlySet<number>> {
    const sinceMs = this.#excuses.nowMs();
    const token = this.#judge.readBegun(sector, sectorCount);
    const failed = new Set<number>();
    const error = await this.#outcome(this.#device.read(target, sector * sectorBytes));
    if (error !== undefined) this.#failedSectors(error, token, sinceMs, failed);
    this.#judge.readAnswered(token, target, failed);
    return failed;
  }

  /** Reads the whole device, into memory of `readAllBytes` that the caller may use again. */
  async readAll(memory: Buffer = Buffer.allocUnsafeSlow(readAllBytes)): Promise<ReadonlySet<number>> {
    const failed = new Set<number>();
    this.failedAsLost.clear();
    const { sectorCount } = this.#judge;
    for (let sector = 0; sector < sectorCount; sector += readSectors) {
      const count = Math.min(readSectors, sectorCount - sector);
      const target = memory.subarray(0, count * sectorBytes);
      for (const lost of await this.read(sector, count, target)) failed.add(lost);
    }
    return failed;
  }

  /** True when the client has heard of a failed flush, now or by the device's number (R7). */
  #wasTold(failed: boolean): boolean {
    const flushEpoch = this.#epoch;
    const told = failed || flushEpoch !== this.#flushEpoch;
    this.#flushEpoch = flushEpoch;
    if (told) {
      this.#owed.length = 0;
      this.#judge.flushFailed();
    }
    return told;
  }

  async #change(
    verb: string,
    sector: number,
    sectorCount: number,
    version: number,
    fua: boolean,
    send: () => Promise<void>,
  ): Promise<void> {
    const sinceMs = this.#excuses.nowMs();
    const mayLack = this.#cutSectors(sector, sectorCount).some((at) => this.#judge.mayBeLost(at));
    this.#judge.writeBegun(sector, sectorCount, version);
    const error = await this.#outcome(send());
    if (error === undefined) {
      const told = fua && this.#wasTold(false);
      this.#judge.writeAcknowledged(sector, sectorCount, version, fua && !told);
      this.#excuses.acknowledged();
      return;
    }
    this.#judge.writeFailed(sector, sectorCount, version);
    // R11: where the rest of a block cannot be read, a part of it cannot be written.
    const lacks = mayLack || this.#cutSectors(sector, sectorCount).some((at) => this.#judge.mayBeLost(at));
    if (lacks && error.ranges.every(aboutSectors)) return;
    this.#allow(verb, error, sinceMs);
  }

  /** Sectors of the blocks that a write begins or ends inside of. */
  #cutSectors(sector: number, sectorCount: number): number[] {
    const perBlock = this.#blockSectors;
    return [sector, sector + sectorCount]
      .filter((end) => end % perBlock !== 0)
      .flatMap((end) => Array.from({ length: perBlock }, (_, index) => end - (end % perBlock) + index));
  }

  #failedSectors(error: DeviceError, token: ReadToken, sinceMs: number, failed: Set<number>): void {
    for (const range of error.ranges) {
      if (!aboutSectors(range)) this.#excuses.allowFailure('read', error, sinceMs);
      for (let at = 0; at < range.length; at += sectorBytes) {
        const sector = (range.offset + at) / sectorBytes;
        failed.add(sector);
        if (range.kind === 'lost') this.failedAsLost.add(sector);
        if (!aboutSectors(range)) continue;
        try {
          this.#judge.checkLost(token, sector);
        } catch (violation) {
          if (!(violation instanceof JudgeViolation)) throw violation;
          throw new JudgeViolation(`${violation.message} (${range.kind}, errno ${range.errno})`);
        }
      }
    }
  }

  /** What a device does not offer is refused at once, and changes nothing. */
  #allow(verb: string, error: DeviceError, sinceMs: number): void {
    if (error.kind === 'unsupported') return;
    this.#excuses.allowFailure(verb, error, sinceMs);
  }

  async #outcome(request: Promise<void>): Promise<DeviceError | undefined> {
    try {
      await this.#excuses.answered(request);
      return undefined;
    } catch (error) {
      return asDeviceError(error);
    }
  }
}

function aboutSectors(range: FailedRange): boolean {
  return range.kind === 'medium' || range.kind === 'suspect' || range.kind === 'lost';
}
