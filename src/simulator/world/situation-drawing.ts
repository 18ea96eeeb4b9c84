import { assert } from '../../block/assert.ts';
import { Errno } from '../../block/errno.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { WorldGeometry } from './world-geometry.ts';
import type { DiskName, FaultStep, PlannedStep, SectorRange, Step } from './world-plan.ts';

/** Draws the steps of one session: places, faults there, and requests that meet them. */
export class SituationDrawing {
  readonly steps: PlannedStep[] = [];
  readonly random: SeededRandom;
  readonly geometry: WorldGeometry;
  readonly #session: number;

  constructor(random: SeededRandom, geometry: WorldGeometry, session: number) {
    this.random = random;
    this.geometry = geometry;
    this.#session = session;
  }

  /** Ordinary traffic behind it, and a look at main and at what the device says of itself. */
  some(): void {
    this.add({ verb: 'write', ...this.place(16), fua: this.random.chance(0.2) });
    this.add({ verb: 'read', ...this.place(32) });
    this.add({ verb: 'raw-read', ...this.place(32) });
    if (this.random.chance(0.5)) this.add({ verb: 'extents', ...this.place(64) });
  }

  /** Writes that are moved, each with a record. */
  moves(count: number): void {
    for (let move = 0; move < count; move += 1) {
      const place = this.placeInGranule();
      this.failing('write', place, 2, Errno.ENODATA);
      this.add({ verb: 'write', ...place, fua: false });
    }
  }

  failing(kind: 'read' | 'write', place: SectorRange, count: number, errno: number): void {
    this.fault('main', { fault: 'fail', kinds: [kind], errno, count, ...place });
  }

  late(kind: 'read' | 'write', place: SectorRange, count: number): void {
    const answerMs = 100 + this.random.below(2000);
    const delay = { answerMs, doneMs: answerMs + 1 + this.random.below(3000) };
    this.fault('main', { fault: 'delay', kinds: [kind], delay, count, ...place });
  }

  bad(disk: DiskName, place: SectorRange, on: 'read' | 'write' | 'both'): void {
    this.fault(disk, { fault: 'bad', ...place, on, blind: false });
  }

  fault(disk: DiskName, what: FaultStep, client: number = 0): void {
    this.add({ verb: 'fault', disk, what }, client);
  }

  pause(forMsMax: number, client: number = 0): void {
    this.add({ verb: 'pause', forMs: this.random.below(forMsMax) }, client);
  }

  add(step: Step, client: number = 0): void {
    this.steps.push({ session: this.#session, client, step });
  }

  get sectorsPerGranule(): number {
    return this.geometry.granuleBytes / 512;
  }

  /** Anywhere, whole logical blocks, about so many sectors at most. */
  place(sectorsMax: number): SectorRange {
    return this.aligned(this.random.below(this.geometry.mainSectors), 1 + this.random.below(sectorsMax));
  }

  /** Some blocks of one granule. */
  placeInGranule(): SectorRange {
    const perGranule = this.sectorsPerGranule;
    const sector = this.random.below(this.geometry.mainSectors);
    return this.aligned(sector, 1 + this.random.below(perGranule - (sector % perGranule)));
  }

  placeInEighth(eighth: number): SectorRange {
    const sectors = Math.floor(this.geometry.mainSectors / 8);
    return this.aligned((eighth % 8) * sectors + this.random.below(sectors), 1);
  }

  aligned(sector: number, sectorCount: number): SectorRange {
    const { logicalBlockBytes, mainSectors } = this.geometry;
    const perBlock = logicalBlockBytes / 512;
    const first = sector - (sector % perBlock);
    const end = Math.min(mainSectors, Math.ceil((sector + sectorCount) / perBlock) * perBlock);
    assert(end > first, 'a place has a sector');
    return { sector: first, sectorCount: end - first };
  }
}
