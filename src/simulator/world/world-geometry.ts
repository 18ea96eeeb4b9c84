import { sectorBytes } from '../../block/block-device.ts';
import { type LayoutOptions, planLayout, type SpareLayout } from '../../metadata/layout.ts';
import { MetadataError } from '../../metadata/metadata-error.ts';
import type { SeededRandom } from '../seeded-random.ts';

const mib = 1 << 20;

/** The shapes of the disks of one world. */
export interface WorldGeometry {
  readonly mainSectors: number;
  readonly logicalBlockBytes: number;
  readonly mainPhysicalBytes: number;
  readonly spareLogicalBytes: number;
  readonly sparePhysicalBytes: number;
  readonly granuleBytes: number;
  readonly spareBytes: number;
  readonly layout: LayoutOptions;
  readonly mainWriteCache: 'volatile' | 'none';
  readonly spareWriteCache: 'volatile' | 'none';
  readonly mainFua: boolean;
  readonly spareFua: boolean;
  /** Main's old content was declared worthless at creation (R13). */
  readonly fresh: boolean;
  /** Failed ranges name the bad blocks only. */
  readonly exactRanges: boolean;
}

/** Metadata small enough that checkpoints, full journals and generations happen every few remaps. */
export const worldLayout: LayoutOptions = { lostRangesMax: 128, journalBytes: 8 * 4096, slotsMin: 64 };

/** Probes ask eight granules, one of each eighth: with fewer granules a few bad ones would look like a dead path (R16). */
const granulesMin = 32;

export function drawGeometry(random: SeededRandom): WorldGeometry {
  const logicalBlockBytes = random.pick([512, 512, 512, 4096]);
  const physical = [512, 4096, 4096, 4096, 8192, 16_384].filter((bytes) => bytes >= logicalBlockBytes);
  const mainPhysicalBytes = random.pick(physical);
  const sparePhysicalBytes = random.pick(physical);
  const granuleBytes = Math.max(mainPhysicalBytes, sparePhysicalBytes);
  const granules = granuleBytes >= 8192 ? granulesMin : granulesMin * 2;
  // A last granule that is cut: main need not be whole granules (R10).
  const tailBytes = random.chance(0.3) ? logicalBlockBytes : 0;
  const cut = granuleBytes > logicalBlockBytes ? tailBytes : 0;
  const mainSectors = (granules * granuleBytes - cut) / sectorBytes;
  const spareBytes = 2 * mib;
  return {
    mainSectors,
    logicalBlockBytes,
    mainPhysicalBytes,
    spareLogicalBytes: random.pick([512, logicalBlockBytes, sparePhysicalBytes >= 4096 ? 4096 : 512]),
    sparePhysicalBytes,
    granuleBytes,
    spareBytes,
    layout: drawLayout(random, spareBytes, mainSectors * sectorBytes, granuleBytes),
    mainWriteCache: random.chance(0.85) ? 'volatile' : 'none',
    spareWriteCache: random.chance(0.9) ? 'volatile' : 'none',
    mainFua: random.chance(0.7),
    spareFua: random.chance(0.7),
    fresh: random.chance(0.1),
    exactRanges: random.chance(0.2),
  };
}

export function layoutOf(geometry: WorldGeometry): SpareLayout {
  const { spareBytes, mainSectors, granuleBytes, layout } = geometry;
  return planLayout(spareBytes, mainSectors * sectorBytes, granuleBytes, layout);
}

/** One world in four has so few slots that its bad sectors fill them. */
function drawLayout(
  random: SeededRandom,
  spareBytes: number,
  mainBytes: number,
  granuleBytes: number,
): LayoutOptions {
  const journalBytes = random.pick([8, 8, 16]) * 4096;
  const plain: LayoutOptions = { lostRangesMax: random.pick([8, 128]), journalBytes, slotsMin: 1 };
  if (!random.chance(0.25)) return plain;
  const slots = 2 + random.below(8);
  let layout = plain;
  for (let lostRangesMax = 128; lostRangesMax < 65_536; lostRangesMax += 16) {
    const tighter = { ...plain, lostRangesMax };
    const slotCount = slotCountOf(spareBytes, mainBytes, granuleBytes, tighter);
    if (slotCount === undefined || slotCount < slots) break;
    layout = tighter;
  }
  return layout;
}

function slotCountOf(
  spareBytes: number,
  mainBytes: number,
  granuleBytes: number,
  layout: LayoutOptions,
): number | undefined {
  try {
    return planLayout(spareBytes, mainBytes, granuleBytes, layout).slotCount;
  } catch (error) {
    if (error instanceof MetadataError) return undefined;
    throw error;
  }
}
