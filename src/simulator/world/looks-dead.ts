import { sectorBytes } from '../../block/block-device.ts';
import type { SectorFault } from '../simulated-faults.ts';
import type { WorldGeometry } from './world-geometry.ts';

/**
 * R15, R16: true when every granule that is still on main may have a sector that fails writes. A storm can bring a main of few
 * granules there. Nothing is left then that could show that main takes writes, so that it is taken for a dead path: what is
 * written to these granules waits, then fails. Of the moved ones nobody asks main any more.
 */
export function looksDead(
  { mainSectors, granuleBytes }: WorldGeometry,
  mainBad: ReadonlyMap<number, SectorFault>,
  remappedGranules: number,
): boolean {
  const sectorsPerGranule = granuleBytes / sectorBytes;
  const bad = new Set<number>();
  for (const [sector, { on }] of mainBad) {
    if (on !== 'read') bad.add(Math.floor(sector / sectorsPerGranule));
  }
  return Math.ceil(mainSectors / sectorsPerGranule) - remappedGranules <= bad.size;
}
