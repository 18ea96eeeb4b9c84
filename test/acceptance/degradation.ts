import assert from 'node:assert/strict';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { mustRunTool, runTool } from '../end-to-end/foreign-tool.ts';
import type { Wear } from '../end-to-end/worn-device.ts';
import type { BlockAttachment } from './block-attachment.ts';
import { dataRangesOf, type FileSystemKind, type SectorRange } from './file-system-kinds.ts';
import { type DamagedFile, FileTree, type TreeCheck } from './file-tree.ts';
import { WornLab } from './worn-lab.ts';

const mebibyte = 1024 * 1024;
const sectorBytes = 512;
/** Free space in which sectors wear out in run A. */
const fillerBytes = 24 * mebibyte;

export interface DegradationOptions {
  readonly kind: FileSystemKind;
  /**
   * A: sectors wear out for writes alone, anywhere, or altogether where no file is: nothing may be lost.
   * B: altogether, anywhere: what is lost must be listed.
   */
  readonly run: 'A' | 'B';
  readonly stages: number;
  readonly wornPerStage: number;
  readonly newBytesPerStage: number;
  readonly seed: string;
  readonly tell?: (text: string) => void;
}

/** The device `disk` over a main whose sectors wear out. */
export interface DegradationLab {
  /** `dm-remap message disk 0 WORDS…`. */
  message(...words: readonly string[]): Promise<string>;
  readonly attachment: BlockAttachment;
  readonly worn: {
    readonly wornSectors: readonly number[];
    wearOut(sectors: readonly number[], wear: Wear): Promise<void> | void;
  };
  /** SIGKILL, and from its spare again. Nobody may be attached. */
  killAndAssemble(): Promise<unknown>;
  /** I17: by a trace of main itself; gives how many blocks are moved. */
  assertMovedAsTouched(): Promise<number>;
}

/** Makes a lab over a main of so many bytes, lets `work` use it, and takes it down. */
export type UseDegradationLab = (
  mainBytes: number,
  work: (lab: DegradationLab) => Promise<string>,
) => Promise<string>;

const useWornLab: UseDegradationLab = (mainBytes, work) => WornLab.use({ mainBytes }, work);

/** For the `skip` of a test. */
export function degradationTools(kind: FileSystemKind): readonly string[] {
  return [...kind.tools, 'filefrag', 'fallocate', 'blockdev', 'sync'];
}

/**
 * A file system in use on a disk that gets worse in stages; after each it is unmounted, after every second the device is
 * also killed and assembled, and every file is read. Gives a line of what happened.
 */
export function degradation(
  options: DegradationOptions,
  useLab: UseDegradationLab = useWornLab,
): Promise<string> {
  return useLab(options.kind.mainBytesMin, async (worn) => {
    const run = new DegradationRun(worn, options);
    return await run.all();
  });
}

class DegradationRun {
  readonly #worn: DegradationLab;
  readonly #options: DegradationOptions;
  readonly #tree: FileTree;
  readonly #random: SeededRandom;
  /** Lost sectors that were made zeros for a repair. */
  readonly #zeroed = new Set<number>();
  #loop = '';
  #damaged = 0;
  #lostPieces = 0;
  #repaired = 0;

  constructor(worn: DegradationLab, options: DegradationOptions) {
    this.#worn = worn;
    this.#options = options;
    this.#tree = new FileTree(options.seed, { lossy: options.run === 'B' });
    this.#random = new SeededRandom(`${options.seed} wear`);
  }

  async all(): Promise<string> {
    const { kind, run, stages, newBytesPerStage } = this.#options;
    const [make, ...makeWords] = kind.make;
    this.#loop = await this.#worn.attachment.attach();
    await mustRunTool(make, ...makeWords, this.#loop);
    let folder = await this.#mount();
    await this.#tree.work(folder, newBytesPerStage);
    for (let stage = 1; stage <= stages; stage += 1) {
      // While it is worked on, not between.
      await Promise.all([this.#wear(folder), this.#tree.work(folder, newBytesPerStage / 2)]);
      await this.#tree.work(folder, newBytesPerStage / 2);
      folder = await this.#again(folder, stage % 2 === 0);
      await this.#judge(await this.#tree.check(folder), folder);
      this.#options.tell?.(`stage ${stage} of ${stages}`);
    }
    await this.#worn.attachment.undoLast();
    if (run === 'A') await this.#checkClean();
    return await this.#summary();
  }

  /** So many more sectors wear out. */
  async #wear(folder: string): Promise<void> {
    const { run, wornPerStage } = this.#options;
    if (run === 'B') return await this.#wearIn([this.#wholeDisk()], wornPerStage, 'everything');
    const half = Math.floor(wornPerStage / 2);
    await this.#wearIn([this.#wholeDisk()], wornPerStage - half, 'writes');
    // Blocks that no file needs, and that nobody else gets before they have worn out.
    const filler = join(folder, 'filler');
    await mustRunTool('fallocate', '-l', String(fillerBytes), filler);
    await mustRunTool('sync', '-f', filler);
    const free = await this.#options.kind.placesOf(this.#loop, await dataRangesOf(filler));
    await this.#wearIn(free, half, 'everything');
    await unlink(filler);
    await mustRunTool('sync', '-f', folder);
  }

  #wholeDisk(): SectorRange {
    return { first: 0, end: this.#options.kind.mainBytesMin / sectorBytes };
  }

  #wearIn(ranges: readonly SectorRange[], count: number, wear: Wear): Promise<void> | void {
    const { worn } = this.#worn;
    const sectorCount = ranges.reduce((sum, { first, end }) => sum + end - first, 0);
    assert.ok(sectorCount > 2 * count, `only ${sectorCount} sectors to wear out`);
    const known = new Set(worn.wornSectors);
    const added: number[] = [];
    while (added.length < count) {
      let at = this.#random.below(sectorCount);
      const range = ranges.find(({ first, end }) => {
        if (at < end - first) return true;
        at -= end - first;
        return false;
      });
      const sector = range!.first + at;
      if (known.has(sector)) continue;
      known.add(sector);
      added.push(sector);
    }
    return worn.wearOut(added, wear);
  }

  async #mount(): Promise<string> {
    const { kind, run } = this.#options;
    try {
      return await this.#worn.attachment.mount(this.#loop, ...kind.mountOptions);
    } catch (error) {
      if (run === 'A') throw error;
      await this.#repair();
      return await this.#worn.attachment.mount(this.#loop, ...kind.mountOptions);
    }
  }

  /** Unmounts and mounts it, so that what is read then comes from the device. */
  async #again(folder: string, isKilled: boolean): Promise<string> {
    const isSynced = (await runTool('sync', '-f', folder)).status === 0;
    this.#tree.settle(isSynced);
    await this.#worn.attachment.undoLast();
    if (isKilled) {
      await this.#worn.attachment.undoAll();
      await this.#worn.killAndAssemble();
      this.#loop = await this.#worn.attachment.attach();
    }
    // A readahead that meets one lost sector would fail its neighbours.
    await mustRunTool('blockdev', '--setra', '0', this.#loop);
    // It has shut itself down over a lost block of its own, and would do so again.
    if (!isSynced) await this.#repair();
    return await this.#mount();
  }

  /** As an operator would: what is lost becomes zeros, by his own word, so that the tool can read it and mend it. */
  async #repair(): Promise<void> {
    for (const sector of await this.#lostSectors()) {
      await this.#worn.message('lost', 'zero', String(sector), '1', 'yes');
      this.#zeroed.add(sector);
    }
    const [repair, ...words] = this.#options.kind.repair;
    await runTool(repair, ...words, this.#loop);
    this.#repaired += 1;
  }

  async #judge({ equal, damaged }: TreeCheck, folder: string): Promise<void> {
    if (this.#options.run === 'A') {
      assert.deepEqual(damaged, [], 'run A: every file is equal');
      return;
    }
    const lost = new Set([...(await this.#lostSectors()), ...this.#zeroed]);
    let lostInFiles = 0;
    for (const file of damaged.filter(({ unreadable }) => unreadable !== undefined)) {
      lostInFiles += await this.#judgeFile(file, folder, lost);
    }
    const unopened = damaged.filter(({ unreadable }) => unreadable === undefined);
    assert.ok(
      unopened.length === 0 || lost.size > lostInFiles || this.#repaired > 0,
      `${unopened.length} files cannot be opened, and every lost sector is in the data of another`,
    );
    assert.ok(equal > damaged.length, `only ${equal} files are equal, ${damaged.length} damaged`);
    this.#damaged += damaged.length;
    this.#tree.forget(damaged);
  }

  /** Every damaged piece covers a sector that is listed as lost, or was; gives how many are in the file. */
  async #judgeFile(file: DamagedFile, folder: string, lost: ReadonlySet<number>): Promise<number> {
    const path = join(folder, file.path);
    const output = await mustRunTool('filefrag', '-b512', '-e', '-s', path);
    const ranges = await dataRangesOf(path);
    const places = await this.#options.kind.placesOf(this.#loop, ranges);
    const inFile = [...lost].filter((sector) =>
      places.some(({ first, end }) => sector >= first && sector < end),
    );
    assert.ok(
      file.unreadable!.length <= inFile.length,
      `${file.path}: more errors than lost sectors; ${output}`,
    );
    assert.ok(
      inFile.length > 0 || file.unreadable!.length === 0,
      `${file.path}: an error, and nothing is lost`,
    );
    this.#lostPieces += file.unreadable!.length;
    return inFile.length;
  }

  async #lostSectors(): Promise<Set<number>> {
    const list = await this.#worn.message('lost');
    const lost = new Set<number>();
    for (const line of list.split('\n').filter((text) => text !== '')) {
      const [first, count, kind] = line.split(' ');
      assert.equal(kind, 'unreadable', `nothing that was acknowledged is lost by us: ${line}`);
      for (let sector = Number(first); sector < Number(first) + Number(count); sector += 1) lost.add(sector);
    }
    const worn = new Set(this.#worn.worn.wornSectors);
    assert.deepEqual(
      [...lost].filter((sector) => !worn.has(sector)),
      [],
      'only what wore out is lost',
    );
    return lost;
  }

  async #checkClean(): Promise<void> {
    const [check, ...words] = this.#options.kind.check;
    await mustRunTool(check, ...words, this.#loop);
  }

  async #summary(): Promise<string> {
    const { kind, run, stages } = this.#options;
    const moved = await this.#worn.assertMovedAsTouched();
    const lost = await this.#lostSectors();
    const { wornSectors } = this.#worn.worn;
    assert.ok(
      moved > wornSectors.length / 20,
      `only ${moved} of ${wornSectors.length} worn sectors were met`,
    );
    const common = `${kind.name} run ${run}: ${stages} stages, ${wornSectors.length} sectors wore out, ${moved} blocks moved`;
    if (run === 'A') {
      assert.equal(lost.size, 0, 'run A: nothing is lost');
      return `${common}, ${this.#tree.fileCount} files equal, clean`;
    }
    return (
      `${common}, ${lost.size} sectors lost at the end; ${this.#tree.fileCount} files equal, ` +
      `${this.#damaged} damaged (${this.#lostPieces} pages, each over a listed sector), ` +
      `${this.#tree.doubtful} told while written, ${this.#repaired} repairs`
    );
  }
}
