import { sectorBytes } from '../../block/block-device.ts';
import { Contents, initialVersion, isZero } from './contents.ts';
import { mayGive, type ReadToken } from './read-token.ts';
import {
  copyModels,
  newModels,
  none,
  type Rival,
  type SectorModels,
  type Versions,
} from './sector-models.ts';

/** The promise was broken: what, where, and what would have been right. */
export class JudgeViolation extends Error {
  override readonly name = 'JudgeViolation';
}

/** What a flush that is under way will make durable, if it succeeds. */
export interface FlushToken {
  /** Writes with a higher number came later. */
  readonly lastVersion: number;
  readonly allowed: readonly Versions[];
  readonly inFlight: readonly Versions[];
  /** By sector, 1: what is there depends on something that was lost by a lie. */
  readonly excused: Uint8Array;
}

/**
 * Independent of everything it judges: knows only what a client sent, what was acknowledged and flushed, and which faults
 * were injected.
 */
export class Judge {
  readonly sectorCount: number;
  readonly contents: Contents;
  /** R13: what main cannot read and nobody wrote reads as zeros. */
  readonly #fresh: boolean;
  readonly #models: SectorModels;
  /** Moments at which writes that are under way began. A fork has none under way. */
  readonly #begun = new Map<number, number>();
  /** Reads that are under way: each may give what is written, and even replaced, before its answer. */
  readonly #reads = new Set<ReadToken>();
  #lastVersion: number;
  #moment: number;
  /** When the power last went: what was not touched since is on the media. */
  #cutMoment: number;
  /** Sectors compared: a judge that compared nothing has proven nothing. */
  sectorsChecked = 0;
  /** `on-lost=zero` was asked for once: from then on a lost sector may read as zeros (R12). */
  lostMayBeZeros = false;
  /** Writes of one sector that overlapped another acknowledged one. */
  overlapsJudged = 0;

  constructor(sectorCount: number, seed: number, fresh = false, from?: Judge) {
    this.sectorCount = sectorCount;
    this.#fresh = fresh;
    this.contents = from?.contents.fork() ?? new Contents(seed);
    this.#models = from === undefined ? newModels(sectorCount) : copyModels(from.#models);
    this.#lastVersion = from === undefined ? initialVersion : from.#lastVersion;
    this.#moment = from === undefined ? 0 : from.#moment;
    this.#cutMoment = from === undefined ? 0 : from.#cutMoment;
    this.lostMayBeZeros = from?.lostMayBeZeros ?? false;
  }

  /** The number of a new write. */
  newVersion(): number {
    this.#lastVersion += 1;
    return this.#lastVersion;
  }

  /** The place where a sector's bytes are cannot be read any more: they may be lost. */
  wentBad(sector: number): void {
    this.#models.wentBad[sector] = this.#nextMoment();
    this.#models.safe[sector] = 0;
  }

  /** True when a read of this sector may give this version, now or after a power cut. */
  mayBe(sector: number, version: number): boolean {
    const { allowed, afterPowerCut } = this.#models;
    if (sector >= this.sectorCount) return false;
    return allowed[sector]!.includes(version) || afterPowerCut[sector]!.includes(version);
  }

  writeBegun(firstSector: number, count: number, version: number): void {
    const { touched, inFlight, afterPowerCut, afterLie } = this.#models;
    const moment = this.#nextMoment();
    this.#begun.set(version, moment);
    for (const token of this.#reads) mayGive(token, firstSector, count, version);
    for (let sector = firstSector; sector < firstSector + count; sector += 1) {
      touched[sector] = moment;
      inFlight[sector] = [...inFlight[sector]!, version];
      afterPowerCut[sector] = [...afterPowerCut[sector]!, version];
      afterLie[sector] = [...afterLie[sector]!, version];
    }
  }

  writeAcknowledged(firstSector: number, count: number, version: number, durable: boolean): void {
    const models = this.#models;
    const only = [version];
    const begun = this.#writeEnded(firstSector, count, version);
    for (let sector = firstSector; sector < firstSector + count; sector += 1) {
      const wasDropped = models.dropped[sector]!.includes(version);
      const either = this.#orRivals(sector, version) ?? only;
      models.allowed[sector] = wasDropped ? models.afterPowerCut[sector]! : either;
      models.dropped[sector] = none;
      // A sector that went bad while the write was under way may have gone bad behind it.
      if (models.wentBad[sector]! < begun) models.safe[sector] = 1;
      models.excused[sector] = 0;
      if (!durable) continue;
      const underWay = models.inFlight[sector]!;
      models.durable[sector] = Math.min(...either, ...underWay);
      models.afterPowerCut[sector] = underWay.length === 0 ? either : [...either, ...underWay];
      models.excusedIfCut[sector] = 0;
    }
  }

  /** An error: each sector holds the old or the new bytes, and no flush vouches for either (R6). */
  writeFailed(firstSector: number, count: number, version: number): void {
    const { allowed, doubtful } = this.#models;
    this.#writeEnded(firstSector, count, version);
    for (let sector = firstSector; sector < firstSector + count; sector += 1) {
      doubtful[sector] = Math.max(doubtful[sector]!, version);
      allowed[sector] = [...allowed[sector]!, version];
    }
  }

  /** Lost sectors, and no others, may have become `version`, which is zeros. */
  filled(firstSector: number, count: number, version: number): void {
    const { allowed, safe } = this.#models;
    this.#writeEnded(firstSector, count, version);
    for (let sector = firstSector; sector < firstSector + count; sector += 1) {
      if (safe[sector] === 0) allowed[sector] = [...allowed[sector]!, version];
    }
  }

  flushBegun(): FlushToken {
    const { allowed, inFlight, excused } = this.#models;
    return {
      lastVersion: this.#lastVersion,
      allowed: allowed.slice(),
      inFlight: inFlight.slice(),
      excused: excused.slice(),
    };
  }

  /** `honest`: no disk has lied about a flush, as far as the faults know. */
  flushAcknowledged(token: FlushToken, honest: boolean): void {
    const { afterPowerCut, afterLie, excusedIfCut } = this.#models;
    for (let sector = 0; sector < this.sectorCount; sector += 1) {
      if (afterPowerCut[sector]!.length > 1) this.#narrow(afterPowerCut, sector, token);
      if (honest && afterLie[sector]!.length > 1) this.#narrow(afterLie, sector, token);
      if (honest && token.excused[sector] === 0 && afterPowerCut[sector]!.length === 1)
        excusedIfCut[sector] = 0;
    }
  }

  /**
   * A flush failed and somebody was, or will be, told: what was not durable then may be lost with the power whatever later
   * flushes say, until it is written again (R7: a flush is never retried into success).
   */
  flushFailed(): void {
    const { afterPowerCut, doubtful } = this.#models;
    for (let sector = 0; sector < this.sectorCount; sector += 1) {
      if (afterPowerCut[sector]!.length > 1) doubtful[sector] = this.#lastVersion;
    }
  }

  /**
   * A disk threw away cached writes: this sector may be back at anything since it was durable (R7). True when clients believe
   * in something newer.
   */
  cacheDropped(sector: number, version: number | undefined): boolean {
    const { allowed, afterPowerCut, inFlight, dropped, touched } = this.#models;
    touched[sector] = this.#nextMoment();
    // A part of a write that is still under way: it will be acknowledged all the same.
    // Zeros have no number: they may be of any that writes them.
    const isIt = (other: number): boolean =>
      version === undefined ? this.contents.isZeroes(other) : other === version;
    const parts = inFlight[sector]!.filter(isIt);
    const underWay = parts.length > 0;
    if (underWay) dropped[sector] = [...dropped[sector]!, ...parts];
    const before = [...allowed[sector]!, ...inFlight[sector]!];
    const more = afterPowerCut[sector]!.filter((other) => !before.includes(other));
    if (more.length === 0) return underWay;
    allowed[sector] = [...allowed[sector]!, ...more];
    return true;
  }

  /** Unflushed content may be gone; a write under way may have arrived. `lied`: sectors whose flush was a lie. */
  powerCut(lied: readonly number[]): void {
    const { allowed, afterPowerCut, excused, excusedIfCut } = this.#models;
    this.lied(lied);
    for (let sector = 0; sector < this.sectorCount; sector += 1) {
      allowed[sector] = afterPowerCut[sector]!;
      if (excusedIfCut[sector] === 1) excused[sector] = 1;
    }
    this.#nothingInFlight();
    this.#cutMoment = this.#moment;
  }

  /** A flush has lied about these sectors, and what it claimed is lost. */
  lied(sectors: readonly number[]): void {
    const { allowed, afterPowerCut, afterLie, durable, touched } = this.#models;
    for (const sector of sectors) {
      if (sector >= this.sectorCount) continue;
      afterPowerCut[sector] = afterLie[sector]!;
      // What a lie called durable is not: a later flush vouches for what is there, however old.
      durable[sector] = Math.min(durable[sector]!, ...afterLie[sector]!);
      allowed[sector] = [...new Set([...allowed[sector]!, ...afterLie[sector]!])];
      touched[sector] = this.#nextMoment();
    }
  }

  /** The process died and the disks did not: a write under way may have arrived, acknowledged ones have. */
  killed(): void {
    const { allowed, inFlight } = this.#models;
    for (let sector = 0; sector < this.sectorCount; sector += 1) {
      if (inFlight[sector]!.length > 0) allowed[sector] = [...allowed[sector]!, ...inFlight[sector]!];
    }
    this.#nothingInFlight();
  }

  /** What this sector depends on was lost by a disk that lied: nothing is expected of it until it is written again. */
  excuse(sector: number): void {
    this.#models.excused[sector] = 1;
    this.#models.excusedIfCut[sector] = 1;
  }

  /** True when nothing is expected of this sector. */
  isExcused(sector: number): boolean {
    return this.#models.excused[sector] === 1;
  }

  /** The sector's place has gone bad since it was last written. */
  mayBeLost(sector: number): boolean {
    return this.#models.safe[sector] === 0 || this.isExcused(sector);
  }

  readBegun(firstSector: number, sectorCount: number): ReadToken {
    const { allowed, inFlight, safe } = this.#models;
    const possible: Versions[] = [];
    for (let sector = firstSector; sector < firstSector + sectorCount; sector += 1) {
      const writing = inFlight[sector]!;
      possible.push(writing.length === 0 ? allowed[sector]! : [...allowed[sector]!, ...writing]);
    }
    const token: ReadToken = {
      firstSector,
      sectorCount,
      moment: this.#moment,
      lastVersion: this.#lastVersion,
      possible,
      safe: safe.slice(firstSector, firstSector + sectorCount),
    };
    this.#reads.add(token);
    return token;
  }

  /** A read gave these bytes, except for the failed sectors. Throws when they are not what was written. */
  readAnswered(token: ReadToken, bytes: Buffer, failed: ReadonlySet<number>): void {
    this.#reads.delete(token);
    for (let index = 0; index < token.sectorCount; index += 1) {
      const sector = token.firstSector + index;
      if (failed.has(sector)) continue;
      const certain = failed.size === 0 ? this.#certainRun(token, index) : 0;
      // Most sectors of most reads: one comparison for all that one write wrote.
      if (certain > 1 && this.#isCertain(bytes, index, sector, certain)) {
        this.sectorsChecked += certain;
        index += certain - 1;
        continue;
      }
      this.sectorsChecked += 1;
      if (this.#models.excused[sector] === 0) this.#checkSector(token, bytes, index);
    }
  }

  /** A read failed there. Throws when the sector must have been readable since before the read. */
  checkLost(token: ReadToken, sector: number): void {
    if (token.safe[sector - token.firstSector] === 0) return;
    if (this.#models.safe[sector] === 0 || this.#models.excused[sector] === 1) return;
    throw new JudgeViolation(
      `sector ${sector} cannot be read, but its bytes were acknowledged after its place went bad`,
    );
  }

  /** A judge of what would be, if this happened now. The original goes on. */
  fork(): Judge {
    return new Judge(this.sectorCount, 0, this.#fresh, this);
  }

  /** So many sectors from this one on can only have one version, the same. */
  #certainRun(token: ReadToken, index: number): number {
    const { allowed, inFlight, touched, excused } = this.#models;
    const [version] = allowed[token.firstSector + index]!;
    let at = index;
    for (; at < token.sectorCount; at += 1) {
      const sector = token.firstSector + at;
      const now = allowed[sector]!;
      if (now.length !== 1 || now[0] !== version || inFlight[sector]!.length > 0) break;
      if (touched[sector]! > token.moment || excused[sector] === 1) break;
    }
    return at - index;
  }

  #isCertain(bytes: Buffer, index: number, sector: number, sectorCount: number): boolean {
    const version = this.#models.allowed[sector]![0]!;
    return this.contents.isVersion(bytes, index * sectorBytes, sector, version, sectorCount);
  }

  #checkSector(token: ReadToken, bytes: Buffer, index: number): void {
    const sector = token.firstSector + index;
    const { allowed, inFlight, touched } = this.#models;
    const now = allowed[sector]!;
    const quiet = inFlight[sector]!.length === 0 && touched[sector]! <= token.moment;
    const at = index * sectorBytes;
    const version = this.contents.identify(bytes, at, sector, quiet ? now : this.#possible(token, index));
    if (version === undefined && this.#isFreshZero(token, bytes, index)) return;
    if (version === undefined) this.#violation(sector, bytes, at, quiet ? now : this.#possible(token, index));
    // What was read once stays: nothing that lost the race may come back without another fault.
    else if (quiet && now.length > 1) this.#pin(sector, version);
  }

  #isFreshZero(token: ReadToken, bytes: Buffer, index: number): boolean {
    // A write that was acknowledged since the read began may have come behind it; the sector may have gone bad before it.
    const wasSafe = token.safe[index] === 1 && this.#models.safe[token.firstSector + index] === 1;
    if (wasSafe || !isZero(bytes, index * sectorBytes)) return false;
    // R12: asked for, of whatever is lost.
    if (this.lostMayBeZeros) return true;
    return this.#fresh && this.#possible(token, index).includes(initialVersion);
  }

  #pin(sector: number, version: number): void {
    const { allowed, afterPowerCut, touched } = this.#models;
    allowed[sector] = [version];
    if (touched[sector]! <= this.#cutMoment) afterPowerCut[sector] = allowed[sector]!;
  }

  /** What a read may give that writes overlapped. */
  #possible(token: ReadToken, index: number): Versions {
    const { allowed, inFlight, afterPowerCut } = this.#models;
    const sector = token.firstSector + index;
    const later = afterPowerCut[sector]!.filter((version) => version > token.lastVersion);
    return [...token.possible[index]!, ...later, ...inFlight[sector]!, ...allowed[sector]!];
  }

  #violation(sector: number, bytes: Uint8Array, at: number, expected: Versions): never {
    const stamp = this.contents.stampOf(bytes, at);
    const found =
      stamp === undefined
        ? 'bytes that nobody wrote'
        : `version ${stamp.version} of sector ${stamp.sector}, or a damaged copy of it`;
    throw new JudgeViolation(`sector ${sector} holds ${found}, expected version ${expected.join(' or ')}`);
  }

  #narrow(lists: Versions[], sector: number, token: FlushToken): void {
    const least = this.#models.durable[sector]!;
    const doubtful = this.#models.doubtful[sector]!;
    const vouched = [...token.allowed[sector]!, ...token.inFlight[sector]!];
    if (vouched.some((version) => version <= doubtful)) return;
    const kept = new Set<number>();
    for (const version of token.allowed[sector]!) if (version >= least) kept.add(version);
    for (const version of token.inFlight[sector]!) if (version >= least) kept.add(version);
    for (const version of lists[sector]!) if (version > token.lastVersion) kept.add(version);
    lists[sector] = [...kept];
  }

  /** Gives the moment at which it began. */
  #writeEnded(firstSector: number, count: number, version: number): number {
    const { inFlight, touched } = this.#models;
    const moment = this.#nextMoment();
    for (let sector = firstSector; sector < firstSector + count; sector += 1) {
      touched[sector] = moment;
      const others = inFlight[sector]!.filter((other) => other !== version);
      inFlight[sector] = others;
      if (others.length > 0) this.#addRival(sector, { version, others });
    }
    const begun = this.#begun.get(version) ?? moment;
    this.#begun.delete(version);
    return begun;
  }

  #addRival(sector: number, rival: Rival): void {
    const { rivals } = this.#models;
    rivals[sector] = [...rivals[sector]!, rival];
  }

  /** Two clients wrote a sector at the same time: whichever was last, it is one of these. Undefined: there was one only. */
  #orRivals(sector: number, version: number): Versions | undefined {
    const { rivals, inFlight } = this.#models;
    const before = rivals[sector]!;
    if (before.length === 0) return undefined;
    if (inFlight[sector]!.length === 0) rivals[sector] = [];
    const overlapped = before.filter(({ others }) => others.includes(version));
    this.overlapsJudged += overlapped.length;
    return overlapped.length === 0 ? undefined : [...overlapped.map((rival) => rival.version), version];
  }

  #nothingInFlight(): void {
    const { inFlight, touched, rivals } = this.#models;
    inFlight.fill(none);
    rivals.fill([]);
    this.#begun.clear();
    this.#reads.clear();
    touched.fill(this.#nextMoment());
  }

  #nextMoment(): number {
    this.#moment += 1;
    return this.#moment;
  }
}
