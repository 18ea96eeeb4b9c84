import { spreadBadSectors } from '../end-to-end/bad-disk.ts';

const mebibyte = 1024 * 1024;
export const loggedMainBytes: number = 64 * mebibyte;
export const loggedSpareBytes: number = 32 * mebibyte;
export const logBytes: number = 1024 * mebibyte;

export interface LoggedRun {
  readonly badCount: number;
  /** Each writes a new version to every bad sector. */
  readonly rounds: number;
}

/** Known to the guest, which writes them, and to the host, which looks at what reached the spare. */
export function loggedBadSectors(badCount: number): number[] {
  return spreadBadSectors('logged', badCount, 0, loggedMainBytes / 512).map(([sector]) => sector);
}
