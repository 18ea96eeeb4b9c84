import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { ControlClient } from '../../src/control/client.ts';
import type { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { writeFailCountMax } from '../../src/targets/dust-blocks.ts';
import type { DyingDisk } from '../end-to-end/dying-disk.ts';
import { sectorBytes } from '../end-to-end/sector-versions.ts';
import type { MainTrouble } from './soak-plan.ts';

/** Of new bad sectors: those that a write makes good again, at once or the second time. */
const healingPortion = 0.3;
const runSectorsMax = 3;
/** They are told to a new table one by one after each kill. */
const badSectorsMax = 6000;

/** Up for an hour: outages are made by messages. */
const upSeconds = 3600;

/**
 * Main as an image under a table that fails. Knows what is bad and since which write, so that a lost sector can be told from a
 * sector that must not be lost. What dies with the process is brought back after it.
 */
export class WearingMain {
  readonly tablePath: string;
  readonly #imagePath: string;
  readonly sectorCount: number;
  readonly #own: DyingDisk;
  readonly #ownSectors: number;
  readonly #random: SeededRandom;
  /** Sectors that fail as long as the disk lives. */
  readonly #lasting = new Set<number>();
  /** All that were ever bad, also those of fio, of which no versions are known. */
  readonly everBad: Set<number> = new Set();
  #lastBeforeOutages = 0;

  constructor(
    paths: { readonly table: string; readonly image: string },
    sectorCount: number,
    own: { readonly disk: DyingDisk; readonly sectors: number },
    random: SeededRandom,
  ) {
    this.tablePath = paths.table;
    this.#imagePath = paths.image;
    this.sectorCount = sectorCount;
    this.#own = own.disk;
    this.#ownSectors = own.sectors;
    this.#random = random;
  }

  /** Before the device is opened. */
  writeTable(trouble: MainTrouble): void {
    const target =
      trouble === 'outages'
        ? `flakey ${this.#imagePath} 0 ${upSeconds} 0`
        : `dust ${this.#imagePath} 0 ${sectorBytes}`;
    writeFileSync(this.tablePath, `0 ${this.sectorCount} ${target}\n`);
  }

  /** Writes of a session with outages reach sectors that are bad again afterwards. */
  noteOutages(): void {
    this.#lastBeforeOutages = this.#own.versions.last;
  }

  /**
   * After the device was opened, before anybody writes: what is bad is so again. Sectors that were stored on main while it was
   * not bad are excused, and no others.
   */
  async restore(control: ControlClient, moved: ReadonlySet<number>, afterOutages: boolean): Promise<void> {
    await control.message(0, ['main', '0', 'enable']);
    for (const sector of this.#lasting) {
      await control.message(0, ['main', '0', 'addbadblock', String(sector), String(writeFailCountMax)]);
      if (!afterOutages || sector >= this.#ownSectors) continue;
      const { acknowledged, last } = this.#own.versions;
      const writtenToMain = acknowledged[sector]! > this.#lastBeforeOutages;
      if (writtenToMain && !moved.has(sector)) this.#own.bad.set(sector, last);
    }
  }

  /** Main fails everything until `comeBack`, as behind a loose cable. */
  async goAway(control: ControlClient): Promise<void> {
    await control.message(0, ['main', '0', 'set', '0', String(upSeconds)]);
  }

  async comeBack(control: ControlClient): Promise<void> {
    await control.message(0, ['main', '0', 'set', String(upSeconds), '0']);
  }

  /** Some places with a few new bad sectors each, below whatever is under way. Gives what it did, in words. */
  async grow(control: ControlClient, runs: number): Promise<string> {
    const done: string[] = [];
    for (let run = 0; run < runs && this.everBad.size < badSectorsMax; run += 1) {
      done.push(await this.#growRun(control));
    }
    return done.length === 0 ? 'bad enough' : done.join('; ');
  }

  async #growRun(control: ControlClient): Promise<string> {
    const within = this.#random.chance(0.5) ? this.#ownSectors : this.sectorCount;
    const first = this.#random.below(within - runSectorsMax);
    const count = 1 + this.#random.below(runSectorsMax);
    const heals = this.#random.chance(healingPortion);
    const failingWrites = heals ? this.#random.below(2) : writeFailCountMax;
    let added = 0;
    for (let sector = first; sector < first + count; sector += 1) {
      // A sector that is bad twice would fail in ways that nobody keeps book of.
      if (this.everBad.has(sector)) continue;
      this.everBad.add(sector);
      if (!heals) this.#lasting.add(sector);
      const isOwn = sector < this.#ownSectors;
      if (isOwn) this.#own.bad.set(sector, Number.POSITIVE_INFINITY);
      await control.message(0, ['main', '0', 'addbadblock', String(sector), String(failingWrites)]);
      if (isOwn) this.#own.bad.set(sector, this.#own.versions.last);
      added += 1;
    }
    return `${added} at ${first} ${heals ? `until write ${failingWrites + 1}` : 'for good'}`;
  }

  /** A lost sector of fio must at least have been bad. */
  assertMayBeLost(sector: number): void {
    assert.ok(this.everBad.has(sector), `sector ${sector} gives EIO and was never bad`);
  }
}
