import { assert } from '../../block/assert.ts';
import { sectorBytes } from '../../block/block-device.ts';

/** Sector sets of one granule are unsigned 32-bit maps: bit 0 is its first sector. */

/** The sectors from byte `from` to byte `to`, both relative to the granule and multiples of 512. */
export function sectorMask(from: number, to: number): number {
  const first = from / sectorBytes;
  const count = (to - from) / sectorBytes;
  assert(first >= 0 && count > 0 && first + count <= 32, 'sectorMask: not inside a granule');
  const ones = count === 32 ? 0xffff_ffff : (1 << count) - 1;
  return (ones << first) >>> 0;
}

/** Bytes `from` to `to` of a granule. */
export interface ByteRun {
  readonly from: number;
  readonly to: number;
}

/** The runs of neighbouring sectors in a mask, ascending. */
export function runsOf(mask: number): ByteRun[] {
  const runs: ByteRun[] = [];
  let sector = 0;
  while (sector < 32) {
    if ((mask & (1 << sector)) === 0) {
      sector += 1;
      continue;
    }
    const first = sector;
    while (sector < 32 && (mask & (1 << sector)) !== 0) sector += 1;
    runs.push({ from: first * sectorBytes, to: sector * sectorBytes });
  }
  return runs;
}

/** Sectors of a mask. */
export function sectorCountOf(mask: number): number {
  let rest = mask >>> 0;
  let count = 0;
  while (rest !== 0) {
    rest = (rest & (rest - 1)) >>> 0;
    count += 1;
  }
  return count;
}
