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
  unplugs: number;
  flush: number;
  /** Flushes that claimed what they had not done. */
  lyingFlushes: number;
  stuck: number;
  /** Requests answered `timed-out` while they were still alive. */
  late: number;
  slow: number;
  /** Writes of good sectors that failed after some of them were written. */
  partialWrites: number;
  healedSectors: number;
  /** Sectors whose unflushed content a failing flush threw away. */
  droppedSectors: number;
  powerCuts: number;
  kills: number;
  /** Sectors that a power cut left with an older content than the newest. */
  powerCutLostSectors: number;
  /** Of these: sectors that a flush had promised to keep. */
  liedSectors: number;
}

export function zeroFaultCounts(): FaultCounts {
  return {
    badSectorReads: 0,
    badSectorWrites: 0,
    transient: 0,
    path: 0,
    unplugs: 0,
    flush: 0,
    lyingFlushes: 0,
    stuck: 0,
    late: 0,
    slow: 0,
    partialWrites: 0,
    healedSectors: 0,
    droppedSectors: 0,
    powerCuts: 0,
    kills: 0,
    powerCutLostSectors: 0,
    liedSectors: 0,
  };
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
  readonly partly: boolean;
}

interface DelayRule extends FaultRule {
  readonly delay: RequestDelay;
}

/** A request that takes long. */
export interface RequestDelay {
  /** When the device has done it, milliseconds after its submission. */
  readonly doneMs: number;
  /** The caller is told `timed-out` then, while the request lives on (R3); absent: it waits for the end. */
  readonly answerMs?: number;
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
  /** Some sectors of a write are written all the same. Default false. */
  readonly partly?: boolean;
}

const rangeKinds: readonly OperationKind[] = ['read', 'write', 'discard', 'write-zeroes'];
const everyKind: readonly OperationKind[] = [...rangeKinds, 'flush'];

/** What is wrong with a disk, and what of it has struck. Changes take effect for requests that arrive afterwards. */
export class SimulatedFaults {
  readonly #bad: Map<number, SectorFault>;
  readonly #transient: TransientRule[] = [];
  readonly #stuck: FaultRule[] = [];
  readonly #delays: DelayRule[] = [];
  #pathErrno: number | undefined;
  #failFlush: 'never' | 'once' | 'always' = 'never';
  #flushErrno: number = Errno.EIO;
  #liesLeft = 0;
  readonly #struckByRead = new Set<number>();
  readonly #struckByWrite = new Set<number>();
  readonly counts: FaultCounts = zeroFaultCounts();

  constructor(badSectors: ReadonlyMap<number, SectorFault> = new Map()) {
    this.#bad = new Map(badSectors);
  }

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

  /** The next `count` requests of the scope fail, and change nothing, or not everything. */
  failNext(count: number, options: TransientOptions = {}): void {
    const { errno = Errno.EAGAIN, partly = false } = options;
    this.#transient.push({ ...faultRule(count, options), errno, partly });
  }

  /** The next `count` requests of the scope take as long as `delay` says. */
  delayNext(count: number, delay: RequestDelay, scope: FaultScope = {}): void {
    this.#delays.push({ ...faultRule(count, scope), delay });
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

  /** The next `count` flushes succeed and do nothing: what they cover is lost with the power. */
  lieOnFlush(count: number): void {
    this.#liesLeft = count;
  }

  /** Forgets what was planned and has not struck yet; bad sectors stay. */
  calm(): void {
    this.#transient.length = 0;
    this.#stuck.length = 0;
    this.#delays.length = 0;
    this.#pathErrno = undefined;
    this.#failFlush = 'never';
    this.#liesLeft = 0;
  }

  /** What is wrong with the medium itself: a copy. */
  badSectors(): ReadonlyMap<number, SectorFault> {
    return new Map(this.#bad);
  }

  // What the disk asks.

  takePathErrno(): number | undefined {
    if (this.#pathErrno !== undefined) this.counts.path += 1;
    return this.#pathErrno;
  }

  takeTransient(
    kind: OperationKind,
    offset: number,
    length: number,
  ): { readonly errno: number; readonly partly: boolean } | undefined {
    const rule = take(this.#transient, kind, offset, length);
    if (rule === undefined) return undefined;
    const partly = rule.partly && kind === 'write';
    if (partly) this.counts.partialWrites += 1;
    else this.counts.transient += 1;
    return { errno: rule.errno, partly };
  }

  takeStuck(kind: OperationKind, offset: number, length: number): boolean {
    if (take(this.#stuck, kind, offset, length) === undefined) return false;
    this.counts.stuck += 1;
    return true;
  }

  takeDelay(kind: OperationKind, offset: number, length: number): RequestDelay | undefined {
    const delay = take(this.#delays, kind, offset, length)?.delay;
    if (delay?.answerMs !== undefined) this.counts.late += 1;
    else if (delay !== undefined) this.counts.slow += 1;
    return delay;
  }

  takeFlushLie(): boolean {
    if (this.#liesLeft === 0) return false;
    this.#liesLeft -= 1;
    this.counts.lyingFlushes += 1;
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

  /** True for a sector that takes writes, keeps silent and cannot be read. */
  isBlind(sector: number): boolean {
    const fault = this.#bad.get(sector);
    return fault?.on === 'read' && fault.healOnWrite !== true;
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

/** The first rule that means this request, counted down; spent rules go. */
function take<T extends FaultRule>(
  rules: T[],
  kind: OperationKind,
  offset: number,
  length: number,
): T | undefined {
  const index = rules.findIndex((candidate) => applies(candidate, kind, offset, length));
  const rule = rules[index];
  if (rule === undefined) return undefined;
  rule.remaining -= 1;
  if (rule.remaining === 0) rules.splice(index, 1);
  return rule;
}

function applies(rule: FaultRule, kind: OperationKind, offset: number, length: number): boolean {
  if (rule.remaining === 0 || !rule.kinds.has(kind)) return false;
  return offset < rule.toByte && rule.fromByte < offset + length;
}
