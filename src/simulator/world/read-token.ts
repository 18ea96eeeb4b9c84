import type { Versions } from './sector-models.ts';

/** What a read that is under way may give. */
export interface ReadToken {
  readonly firstSector: number;
  readonly sectorCount: number;
  readonly moment: number;
  readonly lastVersion: number;
  /** By sector of the read, as it was when the read began. */
  readonly possible: Versions[];
  /** As `SectorModels.safe`, when the read began: it may be about the time before a write that was acknowledged meanwhile. */
  readonly safe: Uint8Array;
}

/** A write began while the read is under way. */
export function mayGive(token: ReadToken, firstSector: number, count: number, version: number): void {
  const from = Math.max(firstSector, token.firstSector) - token.firstSector;
  const end = Math.min(firstSector + count - token.firstSector, token.sectorCount);
  for (let index = from; index < end; index += 1) {
    token.possible[index] = [...token.possible[index]!, version];
  }
}
