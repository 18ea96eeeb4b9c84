import assert from 'node:assert/strict';
import { badGranules, remapCount, remappedGranules, unverifiedGranules } from '../end-to-end/bad-disk.ts';
import { DeviceLab } from '../end-to-end/device-lab.ts';
import { dustTable, FailingDisk, missingForFailingDisks } from '../end-to-end/failing-disk.ts';
import { missingTool } from '../end-to-end/foreign-tool.ts';
import { KernelAttachment } from '../end-to-end/kernel-attachment.ts';
import { assertNothingLeftOver } from '../end-to-end/nothing-left-over.ts';
import { WornDevice } from '../end-to-end/worn-device.ts';

const mebibyte = 1024 * 1024;

export interface WornLabOptions {
  readonly mainBytes: number;
  readonly spareBytes?: number;
  /** For `create`. */
  readonly flags?: readonly string[];
}

/** For the `skip` of a test: what a worn lab, and these tools, need and this machine does not have. */
export function missingForWornLab(...tools: readonly string[]): string | false {
  return missingForFailingDisks() || missingTool('mount', 'umount', ...tools);
}

/**
 * The device `disk` over a disk of the kernel whose sectors wear out on command, and keep their state whatever happens to
 * the device's process:
 *
 *     [ext4 -> loop -> nbdfuse ->] the device -> loop -> nbdfuse -> our server in this process -> WornDevice -> image
 *
 * This process serves main: whoever reads or writes below the mount must not block it (`node:fs/promises`).
 */
export class WornLab {
  readonly lab: DeviceLab;
  readonly worn: WornDevice;
  readonly attachment: KernelAttachment;
  readonly #main: FailingDisk;

  private constructor(lab: DeviceLab, main: FailingDisk, worn: WornDevice) {
    this.lab = lab;
    this.worn = worn;
    this.attachment = new KernelAttachment(lab);
    this.#main = main;
  }

  /** Runs `work` over a new device, and takes everything down again; nothing may be left over. */
  static async use<Result>(
    options: WornLabOptions,
    work: (lab: WornLab) => Promise<Result>,
  ): Promise<Result> {
    const lab = new DeviceLab();
    try {
      const result = await WornLab.#inLab(lab, options, work);
      assert.deepEqual(lab.leftovers(), []);
      assertNothingLeftOver(lab.folder);
      return result;
    } finally {
      await lab.close();
    }
  }

  static async #inLab<Result>(
    lab: DeviceLab,
    { mainBytes, spareBytes = 64 * mebibyte, flags = [] }: WornLabOptions,
    work: (lab: WornLab) => Promise<Result>,
  ): Promise<Result> {
    const worn: WornDevice[] = [];
    const table = dustTable(lab.image('main.img', mainBytes), mainBytes);
    const main = await FailingDisk.attach(lab, 'main', table, (image) => {
      worn.push(new WornDevice(image));
      return worn[0]!;
    });
    try {
      lab.image('spare.img', spareBytes);
      await lab.mustRun('create', 'disk', '--main', main.path, '--spare', 'spare.img', ...flags);
      const own = new WornLab(lab, main, worn[0]!);
      try {
        return await work(own);
      } finally {
        await own.#endDevice();
      }
    } finally {
      await main.close();
    }
  }

  message(...words: readonly string[]): Promise<string> {
    return this.lab.mustRun('message', 'disk', '0', ...words);
  }

  /** SIGKILL, and from its spare again. Nobody may be attached. */
  async killAndAssemble(): Promise<void> {
    await this.lab.kill('disk');
    await this.assemble();
  }

  /** What it said. */
  assemble(): Promise<string> {
    return this.lab.mustRun('assemble', '--main', this.#main.path, '--spare', 'spare.img');
  }

  /** I17: by the trace of the disk itself, what a write met is moved, and nothing else. For writes that were all answered. */
  async assertMovedAsTouched(): Promise<number> {
    const moved = new Set(await remappedGranules(this.lab, 'disk'));
    const forgotten = granulesOf([...this.worn.failedWrites]).filter((granule) => !moved.has(granule));
    assert.deepEqual(forgotten, [], 'I17: what was met is moved');
    return await this.assertNothingElseMoved();
  }

  /**
   * I17; gives how many blocks are moved. A write that brings what is there already may be the device's own question. What
   * a busy machine had no time to test is moved untested, and listed so (R19).
   */
  async assertNothingElseMoved(): Promise<number> {
    const moved = await remappedGranules(this.lab, 'disk');
    const met = new Set([
      ...granulesOf([...this.worn.failedWrites, ...this.worn.failedRewrites]),
      ...(await unverifiedGranules(this.lab, 'disk')),
    ]);
    assert.deepEqual(
      moved.filter((granule) => !met.has(granule)),
      [],
      'I17: nothing else is moved',
    );
    assert.equal(await remapCount(this.lab, 'disk'), moved.length);
    return moved.length;
  }

  async #endDevice(): Promise<void> {
    await this.attachment.undoAll();
    await this.lab.run('remove', 'disk', '--force');
    // A device that does not go keeps the loop device, and that everything below it.
    for (const name of this.lab.leftovers()) await this.lab.kill(name).catch(() => undefined);
  }
}

function granulesOf(sectors: readonly number[]): number[] {
  return badGranules(sectors.map((sector) => [sector, 1] as const));
}
