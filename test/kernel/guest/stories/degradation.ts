import assert from 'node:assert/strict';
import { type DegradationLab, degradation } from '../../../acceptance/degradation.ts';
import { type FileSystemKind, fileSystemKinds } from '../../../acceptance/file-system-kinds.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { TracedDisk } from '../traced-disk.ts';

export interface KernelDegradationOptions {
  readonly kind: FileSystemKind['name'];
  readonly run: 'A' | 'B';
  readonly stages: number;
  readonly wornPerStage: number;
  readonly newMebibytesPerStage: number;
}

/** Runs A and B on the kernel's disks: /dev/nbdN over our device over dm-linear, dm-error and dm-flakey over a loop device. */
export function degradationOnKernelDisks(
  { kind: name, newMebibytesPerStage, ...options }: KernelDegradationOptions,
  tell: (text: string) => void,
): Promise<string> {
  const kind = fileSystemKinds.find((one) => one.name === name)!;
  const seed = `kernel ${name} ${options.run}`;
  const newBytesPerStage = newMebibytesPerStage * mebibyte;
  return degradation({ ...options, kind, seed, newBytesPerStage, tell }, (mainBytes, work) =>
    BlockLab.use(async (disks) => {
      const below = await disks.loop('main.img', mainBytes);
      const main = await disks.keep(TracedDisk.create(`${disks.prefix}main`, below, mainBytes / sectorBytes));
      const spare = await disks.loop('spare.img', 64 * mebibyte);
      await disks.create(main.path, spare);
      const result = await work(new KernelDegradationLab(disks, main, spare));
      await disks.attachment.undoAll();
      await disks.lab.mustRun('remove', 'disk');
      return result;
    }),
  );
}

class KernelDegradationLab implements DegradationLab {
  readonly attachment: BlockLab['attachment'];
  readonly worn: TracedDisk;
  readonly #disks: BlockLab;
  readonly #spare: string;

  constructor(disks: BlockLab, worn: TracedDisk, spare: string) {
    this.attachment = disks.attachment;
    this.worn = worn;
    this.#disks = disks;
    this.#spare = spare;
  }

  message(...words: readonly string[]): Promise<string> {
    return this.#disks.message(...words);
  }

  async killAndAssemble(): Promise<void> {
    await this.#disks.lab.kill('disk');
    await this.#disks.lab.mustRun('assemble', '--main', this.worn.path, '--spare', this.#spare);
  }

  /**
   * I17, by the kernel's count: nothing is on the spare, or lost, that was not touched, but for what is listed as moved untested
   * (R19), and every dead sector that was written is on the spare. A sector that fails writes alone may have been written its own
   * bytes by the device, to see whether main works (R16); and a mark of a sector that nobody can read may have died with a kill.
   */
  async assertMovedAsTouched(): Promise<number> {
    const [held, lost] = [await this.#disks.held(), await this.#disks.lost()];
    const untested = await this.#disks.unverified();
    const touches = await this.worn.touches();
    const isTouched = (sector: number): boolean => {
      const touch = touches.get(sector);
      return touch !== undefined && touch.reads + touch.writes > 0;
    };
    assert.deepEqual(
      [...held, ...lost].filter((sector) => !isTouched(sector) && !untested.has(sector)),
      [],
      'I17: nothing else is moved or lost',
    );
    const written = [...touches].filter(
      ([sector, { writes }]) => writes > 0 && this.worn.wearOf(sector) === 'everything',
    );
    assert.deepEqual(
      written.filter(([sector]) => !held.has(sector)),
      [],
      'I17: what was met is moved',
    );
    return held.size;
  }
}
