import { sectorBytes } from '../block/block-device.ts';
import { Errno } from '../block/errno.ts';
import type { OperationKind } from './operation-counter.ts';

/** How a sector is bad. */
export interface SectorFault {
  readonly on: 'read' | 'write' | 'both';
  /** Default: ENODATA for reads, EIO for writes, as the kernel reports medium errors of SCSI disks. */
  readonly readErrno?: number;
  readonly writeErrno?: number;
  /** A write that reaches the sector makes it good, as with dm-dust and as firmware does while it has spares. */
  readonly healOnWrite?: boolean;
}

/** Failures really injected, each counted where it happens: an injection that did not happen is no test (I26). */
export interface FaultCounts {
  badSectorReads: number;
  badSectorWrites: number;
  transient: number;
  path: number;
  flush: number;
  stuck: number;
  healedSectors: number;
  /** Sectors whose unflushed content a failing flush threw away. */
  droppedSectors: number;
  powerCuts: number;
  kills: number;
  /** Sectors that a power cut left with an older content than the newest. */
  powerCutLostSectors: number;
}

interface FaultRule {
  readonly kinds: ReadonlySet<OperationKind>;
  /** Requests that touch none of these bytes are not meant. */
  readonly fromByte: number;
  readonly toByte: number;
  remaining: number;
}

interface TransientRule extends FaultRule {
  readonly errno: number;
}

/** Which requests a rule is about; everything by default. */
export interface FaultScope {
  readonly kinds?: readonly OperationKind[];
  readonly sector?: number;
  readonly sectorCount?: number;
}

export interface TransientOptions extends FaultScope {
  /** Default EAGAIN. */
  readonly errno?: number;
}

const rangeKinds: readonly OperationKind[] = ['read', 'write', 'discard', 'write-zeroes'];
const everyKind: readonly OperationKind[] = [...rangeKinds, 'flush'];

/** What is wrong with a disk, and what of it has struck. Changes take effect for requests that arrive afterwards. */
export class SimulatedFaults {
  readonly #bad = new Map<number, SectorFault>();
  readonly #transient: TransientRule[] = [];
  readonly #stuck: FaultRule[] = [];
  #pathErrno: number | undefined;
  #failFlush: 'never' | 'once' | 'always' = 'never';
  #flushErrno: number = Errno.EIO;
  readonly #struckByRead = new Set<number>();
  readonly #struckByWrite = new Set<number>();
  readonly counts: FaultCounts = {
    badSectorReads: 0,
    badSectorWrites: 0,
    transient: 0,
    path: 0,
    flush: 0,
    stuck: 0,
    healedSectors: 0,
    droppedSectors: 0,
    powerCuts: 0,
    kills: 0,
    powerCutLostSectors: 0,
  };

  /** Sectors (not granules) that really failed a request, for comparison with what was found (I17). */
  struckSectors(by: 'read' | 'write'): ReadonlySet<number> {
    return by === 'read' ? this.#struckByRead : this.#struckByWrite;
  }

  get badSectorCount(): number {
    return this.#bad.size;
  }

  addBadSectors(sector: number, sectorCount: number, fault: SectorFault): void {
    for (let index = 0; index < sectorCount; index += 1) this.#bad.set(sector + index, fault);
  }

  removeBadSectors(sector: number, sectorCount: number): void {
    for (let index = 0; index < sectorCount; index += 1) this.#bad.delete(sector + index);
  }

  /** The next `count` requests of the scope fail, and change nothing. */
  failNext(count: number, options: TransientOptions = {}): void {
    this.#transient.push({ ...faultRule(count, options), errno: options.errno ?? Errno.EAGAIN });
  }

  /** The next `count` requests of the scope hang until `SimulatedDisk.releaseStuck`. */
  stickNext(count: number, scope: FaultScope = {}): void {
    this.#stuck.push(faultRule(count, scope));
  }

  /** Every request fails with this error, also those in flight; undefined heals the path. */
  setPathError(errno: number | undefined): void {
    this.#pathErrno = errno;
  }

  /** Flushes fail, and each failing one loses some of what was not flushed. */
  failFlush(when: 'never' | 'once' | 'always', errno: number = Errno.EIO): void {
    this.#failFlush = when;
    this.#flushErrno = errno;
  }

  // What the disk asks.

  takePathErrno(): number | undefined {
    if (this.#pathErrno !== undefined) this.counts.path += 1;
    return this.#pathErrno;
  }

  takeTransientErrno(kind: OperationKind, offset: number, length: number): number | undefined {
    const rule = this.#transient.find((candidate) => applies(candidate, kind, offset, length));
    if (rule === undefined) return undefined;
    rule.remaining -= 1;
    this.counts.transient += 1;
    return rule.errno;
  }

  takeStuck(kind: OperationKind, offset: number, length: number): boolean {
    const rule = this.#stuck.find((candidate) => applies(candidate, kind, offset, length));
    if (rule === undefined) return false;
    rule.remaining -= 1;
    this.counts.stuck += 1;
    return true;
  }

  takeFlushErrno(): number | undefined {
    if (this.#failFlush === 'never') return undefined;
    if (this.#failFlush === 'once') this.#failFlush = 'never';
    this.counts.flush += 1;
    return this.#flushErrno;
  }

  /** The error number of a sector that fails this read or write; undefined when it succeeds. A write may heal it. */
  strike(kind: 'read' | 'write', sector: number): number | undefined {
    const fault = this.#bad.get(sector);
    if (fault === undefined) return undefined;
    if (kind === 'write' && fault.healOnWrite === true) {
      this.#bad.delete(sector);
      this.counts.healedSectors += 1;
      return undefined;
    }
    if (fault.on !== 'both' && fault.on !== kind) return undefined;
    if (kind === 'read') {
      this.#struckByRead.add(sector);
      return fault.readErrno ?? Errno.ENODATA;
    }
    this.#struckByWrite.add(sector);
    return fault.writeErrno ?? Errno.EIO;
  }

  /** False for a sector that no write can reach. */
  isWritable(sector: number): boolean {
    const fault = this.#bad.get(sector);
    return fault === undefined || fault.on === 'read' || fault.healOnWrite === true;
  }

  /** True when a range has no bad sector: the common case of a whole request. */
  isClean(sector: number, sectorCount: number): boolean {
    if (this.#bad.size === 0) return true;
    for (let index = 0; index < sectorCount; index += 1) if (this.#bad.has(sector + index)) return false;
    return true;
  }
}

function faultRule(count: number, scope: FaultScope): FaultRule {
  const fromByte = (scope.sector ?? 0) * sectorBytes;
  const toByte =
    scope.sector === undefined ? Number.POSITIVE_INFINITY : fromByte + (scope.sectorCount ?? 1) * sectorBytes;
  const kinds = scope.kinds ?? (scope.sector === undefined ? everyKind : rangeKinds);
  return { kinds: new Set(kinds), fromByte, toByte, remaining: count };
}

function applies(rule: FaultRule, kind: OperationKind, offset: number, length: number): boolean {
  if (rule.remaining === 0 || !rule.kinds.has(kind)) return false;
  return offset < rule.toByte && rule.fromByte < offset + length;
}
