import { Errno } from '../../block/errno.ts';
import { SeededRandom } from '../seeded-random.ts';
import type { WorldGeometry } from './world-geometry.ts';
import type { DiskName, FaultStep, MainSegment, PlannedStep, Step } from './world-plan.ts';

/** Worlds whose main is a table of targets, and worlds where somebody puts another disk in the place of one. */
const mappedShare = 0.15;
const swappedShare = 0.12;
/** Worlds where two clients write the same few sectors at the same time. */
const rivalsShare = 0.15;
const rivals = [101, 102];
/** Sectors that they fight over. */
const arenaSectors = 24;
/** Does nothing but break things: no other client of a plan has this number. */
const saboteur = 100;
const segmentsMax = 6;

/** What is drawn beside the plan itself, from chance of its own: worlds without any of it are as they were. */
export interface PlanExtras {
  /** Undefined: main is the disk itself. */
  readonly mainSegments: readonly MainSegment[] | undefined;
  readonly steps: readonly PlannedStep[];
}

export function drawExtras(seed: number, geometry: WorldGeometry, sessions: number): PlanExtras {
  const random = new SeededRandom(seed).fork('extras');
  const mainSegments = random.chance(mappedShare) ? drawSegments(random, geometry) : undefined;
  const swaps = random.chance(swappedShare);
  // A disk that loses its cache alone may bring back any of several writes that overlapped: not judged yet.
  const fights = random.chance(rivalsShare) && !swaps;
  const steps: PlannedStep[] = [];
  for (let session = 0; session < sessions; session += 1) {
    const add = (step: Step): void => void steps.push({ session, client: saboteur, step });
    const sabotage = (disk: DiskName, what: FaultStep): void => {
      add({ verb: 'pause', forMs: random.below(400) });
      add({ verb: 'fault', disk, what });
    };
    // R13: the first write of all finds no place for the record that ends what is fresh.
    if (geometry.fresh && session === 0 && random.chance(0.5)) {
      add({ verb: 'fault', disk: 'spare', what: { fault: 'path', errno: Errno.EIO, forMs: 40_000 } });
    }
    if (mainSegments !== undefined) {
      for (let count = 1 + random.below(3); count > 0; count -= 1) {
        const segment = random.below(mainSegments.length);
        const forMs = 5 + random.below(4000);
        sabotage('main', { fault: 'target', segment, amount: random.below(1000), forMs });
      }
    }
    if (swaps) {
      const disk = random.pick(['main', 'spare'] as const);
      sabotage(disk, { fault: 'swapped', forMs: 50 + random.below(12_000) });
    }
    if (fights) steps.push(...drawFight(random, geometry, session));
  }
  return { mainSegments, steps };
}

function drawFight(random: SeededRandom, geometry: WorldGeometry, session: number): PlannedStep[] {
  const perBlock = geometry.logicalBlockBytes / 512;
  const blocks = Math.max(1, Math.floor(arenaSectors / perBlock));
  const first = random.below(geometry.mainSectors / perBlock - blocks + 1);
  const steps: PlannedStep[] = [];
  for (let count = 12; count > 0; count -= 1) {
    for (const client of rivals) {
      const from = random.below(blocks);
      const sector = (first + from) * perBlock;
      const sectorCount = (1 + random.below(blocks - from)) * perBlock;
      const dice = random.below(8);
      const write: Step = { verb: 'write', sector, sectorCount, fua: dice === 1 };
      const step: Step =
        dice === 0 ? { verb: 'flush' } : dice === 2 ? { verb: 'read', sector, sectorCount } : write;
      steps.push({ session, client, step });
    }
  }
  return steps;
}

/** Borders anywhere between logical blocks: also inside of granules. */
function drawSegments(random: SeededRandom, geometry: WorldGeometry): MainSegment[] {
  const perBlock = geometry.logicalBlockBytes / 512;
  const blocks = geometry.mainSectors / perBlock;
  const borders = new Set([0, blocks]);
  for (let count = 1 + random.below(segmentsMax - 1); count > 0; count -= 1) {
    borders.add(1 + random.below(blocks - 1));
  }
  const sorted = [...borders].sort((one, other) => one - other);
  return sorted.slice(1).map((end, index) => ({
    target: random.pick(['linear', 'dust', 'dust', 'flakey', 'flakey', 'delay'] as const),
    sector: sorted[index]! * perBlock,
    sectorCount: (end - sorted[index]!) * perBlock,
  }));
}
