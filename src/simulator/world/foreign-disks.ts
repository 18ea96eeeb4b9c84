import { assert } from '../../block/assert.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { SimulatedDisk } from '../simulated-disk.ts';
import { JudgeViolation } from './judge.ts';
import type { WorldOutcome } from './world-outcome.ts';
import type { WorldState } from './world-state.ts';

/** Bytes of somebody else, all over the disk. */
const foreignByte = 0xf0;

/** Disks of somebody else that were put in the place of one of ours: nothing may ever change on them (R32). */
export class ForeignDisks {
  readonly #world: WorldState;
  readonly #random: SeededRandom;
  readonly #disks: SimulatedDisk[] = [];

  constructor(world: WorldState, random: SeededRandom) {
    this.#world = world;
    this.#random = random;
  }

  /** Where `disk` was there is another one now, as large and with the same name, until `disk` is plugged in again. */
  putInPlaceOf(disk: SimulatedDisk): void {
    assert(!disk.plugged, 'only where a disk was pulled out there is room for another');
    const { sizeBytes, logicalBlockBytes, physicalBlockBytes } = disk.geometry;
    const foreign = new SimulatedDisk({
      name: disk.name,
      sizeBytes,
      logicalBlockBytes,
      physicalBlockBytes,
      clock: this.#world.clock,
      random: this.#random.fork(`foreign ${this.#disks.length}`),
    });
    foreign.load(new Uint8Array(sizeBytes).fill(foreignByte));
    disk.putInItsPlace(foreign);
    this.#disks.push(foreign);
  }

  /** Throws `JudgeViolation` when a request other than the question who it is has reached one of them. */
  judge(): void {
    for (const disk of this.#disks) {
      const { counts } = disk;
      const changes = counts.writes + counts.flushes + counts.discards + counts.writeZeroes;
      const isSame = disk.cachedImage().every((byte) => byte === foreignByte);
      if (changes === 0 && isSame) continue;
      throw new JudgeViolation(
        `R32: ${changes} writes, flushes and discards reached another disk in the place`,
      );
    }
  }

  count(outcome: WorldOutcome): void {
    outcome.foreignDisks += this.#disks.length;
    for (const { counts } of this.#disks) outcome.foreignReopens += counts.reads;
  }
}
