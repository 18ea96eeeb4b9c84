import { sectorBytes } from '../block/block-device.ts';

/** The promise was broken: what, where, and what would have been right. */
export class JudgeViolation extends Error {
  override readonly name = 'JudgeViolation';
}

/** What each sector may hold; versions are the numbers of the writes that made them, 0 is what main held at first. */
interface SectorModel {
  /** What a read may give now. One version unless a write failed or the power was cut. */
  allowed: number[];
  /** What a read may give after a power cut: the last flushed version and all that came since. */
  afterPowerCut: number[];
  /** No older version may come back, whatever happens. */
  durable: number;
  /** The write that is under way, if any: one client at a time writes a sector. */
  inFlight: number | undefined;
  /** Moments of the last write's begin and of the last fault. */
  begun: number;
  wentBad: number;
  /** An acknowledged write has covered it since main went bad there: no read may fail any more. */
  safe: boolean;
}

/** What a flush that is under way will make durable, if it succeeds. */
export interface FlushToken {
  /** Writes with a higher number came later. */
  readonly lastVersion: number;
  /** By sector: what was acknowledged or under way. */
  readonly versions: readonly (readonly number[])[];
}

/**
 * Independent of everything it judges: knows only what a client sent, what was acknowledged and flushed, and which faults
 * were injected. Each sector's bytes name their sector and version, so that any other byte is found.
 */
export class Judge {
  readonly #sectors: SectorModel[];
  readonly #seed: number;
  #nextVersion = 1;
  #moment = 0;

  constructor(sectorCount: number, seed: number) {
    this.#seed = seed;
    this.#sectors = Array.from({ length: sectorCount }, () => ({
      allowed: [0],
      afterPowerCut: [0],
      durable: 0,
      inFlight: undefined,
      begun: 0,
      wentBad: 0,
      safe: true,
    }));
  }

  get sectorCount(): number {
    return this.#sectors.length;
  }

  /** The number of a new write. */
  newVersion(): number {
    const version = this.#nextVersion;
    this.#nextVersion += 1;
    return version;
  }

  /** Fills `target` with what version `version` of these sectors is. */
  fill(target: Uint8Array, firstSector: number, version: number): void {
    for (let at = 0; at < target.length; at += sectorBytes) {
      stamp(target.subarray(at, at + sectorBytes), this.#seed, firstSector + at / sectorBytes, version);
    }
  }

  /** Main can no longer be read there: what only main has may be lost. */
  mainWentBad(sector: number): void {
    const model = this.#sectors[sector]!;
    model.wentBad = this.#nextMoment();
    model.safe = false;
  }

  writeBegun(firstSector: number, count: number, version: number): void {
    const begun = this.#nextMoment();
    for (const model of this.#models(firstSector, count)) {
      model.begun = begun;
      model.inFlight = version;
      model.afterPowerCut.push(version);
    }
  }

  writeAcknowledged(firstSector: number, count: number, version: number, durable: boolean): void {
    for (const model of this.#models(firstSector, count)) {
      model.inFlight = undefined;
      model.allowed = [version];
      // A sector that went bad while the write was under way may have gone bad behind it.
      if (model.wentBad < model.begun) model.safe = true;
      if (!durable) continue;
      model.durable = version;
      model.afterPowerCut = [version];
    }
  }

  flushBegun(): FlushToken {
    const versions = this.#sectors.map(({ allowed, inFlight }) =>
      inFlight === undefined ? [...allowed] : [...allowed, inFlight],
    );
    return { lastVersion: this.#nextVersion - 1, versions };
  }

  flushAcknowledged(token: FlushToken): void {
    for (const [sector, model] of this.#sectors.entries()) {
      const later = model.afterPowerCut.filter((version) => version > token.lastVersion);
      const covered = token.versions[sector]!.filter((version) => version >= model.durable);
      model.afterPowerCut = [...new Set([...covered, ...later])];
    }
  }

  /** Unflushed content may be gone; a write under way may have arrived. */
  powerCut(): void {
    for (const model of this.#sectors) {
      model.allowed = [...model.afterPowerCut];
      model.inFlight = undefined;
    }
  }

  /** The process died and the disks did not: a write under way may have arrived, acknowledged ones have. */
  killed(): void {
    for (const model of this.#sectors) {
      if (model.inFlight !== undefined) model.allowed.push(model.inFlight);
      model.inFlight = undefined;
    }
  }

  /** A read gave these bytes. Throws when they are not what was written. */
  checkRead(bytes: Uint8Array, firstSector: number): void {
    for (let at = 0; at < bytes.length; at += sectorBytes) {
      this.#checkSector(bytes.subarray(at, at + sectorBytes), firstSector + at / sectorBytes);
    }
  }

  /** A read failed there. Throws when the sector must be readable. */
  checkLost(sector: number): void {
    if (this.#sectors[sector]!.safe) {
      throw new JudgeViolation(
        `sector ${sector} cannot be read, but its bytes were acknowledged after main went bad`,
      );
    }
  }

  #checkSector(bytes: Uint8Array, sector: number): void {
    const model = this.#sectors[sector]!;
    const expected = new Uint8Array(sectorBytes);
    for (const version of model.allowed) {
      stamp(expected, this.#seed, sector, version);
      if (!sameBytes(bytes, expected)) continue;
      // What was read once stays: nothing that lost the race may come back without another power cut.
      if (model.allowed.length > 1) model.allowed = [version];
      return;
    }
    const found = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
    throw new JudgeViolation(
      `sector ${sector} holds version ${found} or bytes that nobody wrote, expected ${model.allowed.join(' or ')}`,
    );
  }

  #nextMoment(): number {
    this.#moment += 1;
    return this.#moment;
  }

  #models(firstSector: number, count: number): SectorModel[] {
    return this.#sectors.slice(firstSector, firstSector + count);
  }
}

function stamp(target: Uint8Array, seed: number, sector: number, version: number): void {
  const view = new DataView(target.buffer, target.byteOffset, sectorBytes);
  let state = (seed ^ Math.imul(sector + 1, 0x9e37_79b1) ^ Math.imul(version + 1, 0x85eb_ca6b)) >>> 0;
  for (let at = 0; at < sectorBytes; at += 4) {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b_3c6d) + at) >>> 0;
    view.setUint32(at, state, true);
  }
  view.setUint32(0, seed, true);
  view.setUint32(4, sector, true);
  view.setUint32(8, version, true);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false;
  return true;
}
