import assert from 'node:assert/strict';

export const sectorBytes = 512;
export const sectorsPerGranule = 8;

/**
 * What each sector may hold: the version that was acknowledged last, or one that was on its way when the process died.
 * Version 0 is what the disk held before.
 */
export class SectorVersions {
  readonly acknowledged: Uint32Array;
  readonly #onTheWay = new Map<number, number>();
  #last = 0;

  constructor(sectorCount: number) {
    this.acknowledged = new Uint32Array(sectorCount);
  }

  /** The version of the write that began last. */
  get last(): number {
    return this.#last;
  }

  begin(sector: number, count: number): number {
    this.#last += 1;
    for (let at = sector; at < sector + count; at += 1) this.#onTheWay.set(at, this.#last);
    return this.#last;
  }

  acknowledge(sector: number, count: number, version: number): void {
    this.acknowledged.fill(version, sector, sector + count);
    for (let at = sector; at < sector + count; at += 1) this.#onTheWay.delete(at);
  }

  /** The version in what was read of a sector; fails the test when it must not be there. */
  check(words: Uint32Array, sector: number): number {
    const version = versionIn(words, sector);
    assert.ok(version !== undefined, `sector ${sector} holds a mixture, or the bytes of another`);
    const wanted = this.acknowledged[sector];
    assert.ok(
      version === wanted || version === this.#onTheWay.get(sector),
      `sector ${sector} holds version ${version}, acknowledged was ${wanted}`,
    );
    return version;
  }

  /** What was found after a kill is what counts from now on. */
  settle(found: Uint32Array): void {
    this.acknowledged.set(found);
    this.#onTheWay.clear();
  }

  settleSector(sector: number, version: number): void {
    this.acknowledge(sector, 1, version);
  }
}

/** A sector full of its own number and version. */
export function fillSectors(target: Uint32Array, sector: number, version: number): void {
  for (let word = 0; word < target.length; word += 2) {
    target[word] = sector + Math.floor((word * 4) / sectorBytes);
    target[word + 1] = version;
  }
}

/** The version in a sector's bytes; undefined when they are a mixture, or of another sector. */
function versionIn(words: Uint32Array, sector: number): number | undefined {
  const version = words[1]!;
  const number = version === 0 ? 0 : sector;
  for (let word = 0; word < words.length; word += 2) {
    if (words[word] !== number || words[word + 1] !== version) return undefined;
  }
  return version;
}
