import assert from 'node:assert/strict';
import type { Wear } from '../../end-to-end/worn-device.ts';
import { MappedDisk, tableOver } from './mapped-disk.ts';

export interface Touch {
  readonly reads: number;
  readonly writes: number;
}

/**
 * A disk of the kernel whose sectors go bad, and whose kernel counts who touches them:
 *
 *     path -> dm-linear with dm-stats -> linear, or dm-error, or read-only -> below
 *     read-only: dm-delay that sends reads and flushes below, and writes to dm-error
 *
 * Two of them, because the statistics of device-mapper do not count what a target of the same table fails at once. Not dm-flakey
 * with `error_writes`: it fails flushes too, and every target of a table gets them.
 */
export class TracedDisk {
  readonly sectorCount: number;
  readonly #top: MappedDisk;
  readonly #faulty: MappedDisk;
  /** What it needs for sectors that fail writes alone, last first. */
  readonly #helpers: readonly MappedDisk[];
  readonly #below: string;
  /** The statistics region, of an area for each sector; undefined: nobody counts. */
  readonly #region: string | undefined;
  readonly #wear: Map<number, Wear> = new Map();
  /** What was counted for each worn sector while it was good. */
  readonly #before: Map<number, Touch> = new Map();

  private constructor(
    { below, sectorCount, region }: { below: string; sectorCount: number; region: string | undefined },
    top: MappedDisk,
    faulty: MappedDisk,
    helpers: readonly MappedDisk[],
  ) {
    this.#below = below;
    this.sectorCount = sectorCount;
    this.#region = region;
    this.#top = top;
    this.#faulty = faulty;
    this.#helpers = helpers;
  }

  static async create(
    name: string,
    below: string,
    sectorCount: number,
    { isTraced = true }: { readonly isTraced?: boolean } = {},
  ): Promise<TracedDisk> {
    const faulty = await MappedDisk.create(`${name}-faulty`, tableOver(below, sectorCount, []));
    const top = await MappedDisk.create(name, tableOver(faulty.path, sectorCount, []));
    const dead = await MappedDisk.create(`${name}-dead`, `0 ${sectorCount} error`);
    const readOnly = await MappedDisk.create(
      `${name}-read-only`,
      `0 ${sectorCount} delay ${below} 0 0 ${dead.path} 0 0 ${below} 0 0`,
    );
    const region = isTraced ? await top.message('@stats_create', '-', '1') : undefined;
    return new TracedDisk({ below, sectorCount, region }, top, faulty, [readOnly, dead]);
  }

  get path(): string {
    return this.#top.path;
  }

  get wornSectors(): readonly number[] {
    return [...this.#wear.keys()];
  }

  /** What a worn sector fails; undefined for one that is good. */
  wearOf(sector: number): Wear | undefined {
    return this.#wear.get(sector);
  }

  counts(): ReturnType<MappedDisk['counts']> {
    return this.#top.counts();
  }

  /** From then on, for good. Nothing is under way while it happens, so that the counts are exact. */
  async wearOut(sectors: readonly number[], wear: Wear): Promise<void> {
    await this.#top.suspend();
    try {
      for (const sector of sectors) this.#wear.set(sector, wear);
      if (this.#region !== undefined) await this.#noteBefore(sectors);
      await this.#faulty.reload(this.#table());
    } finally {
      await this.#top.resume();
    }
  }

  /** How often each worn sector was read and written since it is bad. */
  async touches(): Promise<Map<number, Touch>> {
    const counted = await this.#counted(new Set(this.#before.keys()));
    return new Map(
      [...this.#before].map(([sector, before]) => {
        const { reads, writes } = counted.get(sector)!;
        return [sector, { reads: reads - before.reads, writes: writes - before.writes }];
      }),
    );
  }

  async remove(): Promise<void> {
    await this.#top.remove();
    await this.#faulty.remove();
    for (const helper of this.#helpers) await helper.remove();
  }

  async #noteBefore(sectors: readonly number[]): Promise<void> {
    for (const [sector, touch] of await this.#counted(new Set(sectors))) {
      if (!this.#before.has(sector)) this.#before.set(sector, touch);
    }
  }

  /** One command for all sectors of the disk: one for each of those would take minutes. */
  async #counted(sectors: ReadonlySet<number>): Promise<Map<number, Touch>> {
    assert.ok(this.#region !== undefined, 'nobody counts');
    const lines = (await this.#top.message('@stats_print', this.#region)).split('\n');
    assert.equal(lines.length, this.sectorCount);
    const counted = new Map<number, Touch>();
    for (const sector of sectors) {
      const fields = lines[sector]!.split(/\s+/);
      assert.equal(fields[0], `${sector}+1`);
      counted.set(sector, { reads: Number(fields[1]), writes: Number(fields[5]) });
    }
    return counted;
  }

  #table(): string {
    const sectors = this.wornSectors.toSorted((left, right) => left - right);
    return tableOver(
      this.#below,
      this.sectorCount,
      sectors.map((sector) => ({
        sector,
        count: 1,
        target: (at) =>
          this.#wear.get(sector) === 'everything' ? 'error' : `linear ${this.#helpers[0]!.path} ${at}`,
      })),
    );
  }
}
