import assert from 'node:assert/strict';
import { join } from 'node:path';
import { ControlClient } from '../../../src/control/client.ts';
import type { DeviceStatus } from '../../../src/device/messages.ts';
import { createDataPlane, type DataPlane } from '../../../src/io/data-plane.ts';
import type { FileDevice } from '../../../src/io/file-device.ts';
import { DeviceLab } from '../../end-to-end/device-lab.ts';
import { mustRunTool } from '../../end-to-end/foreign-tool.ts';
import { assertNothingLeftOver } from '../../end-to-end/nothing-left-over.ts';
import { NbdAttachment } from './nbd-attachment.ts';
import type { Touch } from './traced-disk.ts';

export const mebibyte: number = 1024 * 1024;
export const sectorBytes = 512;
let labs = 0;

/** Disks, the device `disk` over them, and what uses it, in a guest. */
export class BlockLab {
  readonly lab: DeviceLab = new DeviceLab();
  readonly attachment: NbdAttachment = new NbdAttachment(this.lab);
  /** Before the name of each disk: what a story that failed left behind is in nobody's way. */
  readonly prefix: string;
  readonly #undo: (() => Promise<unknown>)[] = [];
  #plane: DataPlane | undefined;
  readonly #control: ControlClient = new ControlClient(join(this.lab.runtime, 'disk', 'control.sock'));

  private constructor() {
    labs += 1;
    this.prefix = `lab${labs}-`;
  }

  /** For a machine whose power goes: nobody takes anything down. */
  static open(): BlockLab {
    return new BlockLab();
  }

  /** Runs `work`, then takes everything down; what cannot be taken down fails the story. */
  static async use<Result>(work: (lab: BlockLab) => Promise<Result>): Promise<Result> {
    const lab = new BlockLab();
    const result = await work(lab);
    await lab.#close();
    return result;
  }

  /** A loop device over memory; it is buffered, because tmpfs here has no O_DIRECT. */
  async loop(name: string, sizeBytes: number): Promise<string> {
    const path = (await mustRunTool('losetup', '--find', '--show', this.lab.image(name, sizeBytes))).trim();
    this.#undo.push(() => mustRunTool('losetup', '--detach', path));
    return path;
  }

  /** Has it removed at the end. */
  async keep<Disk extends { remove(): Promise<void> }>(disk: Promise<Disk>): Promise<Disk> {
    const made = await disk;
    this.#undo.push(() => made.remove());
    return made;
  }

  create(main: string, spare: string, ...flags: readonly string[]): Promise<string> {
    return this.lab.mustRun('create', 'disk', '--main', main, '--spare', spare, ...flags);
  }

  /** The attached device, for sectors written and read past the page cache. */
  async open(device: string): Promise<FileDevice> {
    this.#plane ??= createDataPlane({
      arenaBytes: 16 * mebibyte,
      remapBytes: mebibyte,
      metadataBytes: 8 * mebibyte,
    });
    const opened = await this.#plane.openFile({ path: device, cache: 'none', lock: false });
    this.#undo.push(() => opened.close());
    return opened;
  }

  /** What was opened and made since is undone, not what was there before. */
  async within<Result>(work: () => Promise<Result>): Promise<Result> {
    const before = this.#undo.length;
    const result = await work();
    await this.#undoDownTo(before);
    return result;
  }

  /** Asked on its control socket: a command of its own takes seconds of this machine's one processor. */
  async status(): Promise<DeviceStatus> {
    return await this.#control.status();
  }

  async message(...words: readonly string[]): Promise<string> {
    return (await this.#control.message(0, words)).reply;
  }

  /** The sectors that are on the spare. */
  held(): Promise<Set<number>> {
    return this.#listed('list', () => true);
  }

  /** Those of them that were moved untested, because the time of the request was over (R19). */
  unverified(): Promise<Set<number>> {
    return this.#listed('list', (line) => / unverified\b/.test(line));
  }

  /** The sectors that give no bytes, of which nobody had better ones. */
  async lost(): Promise<Set<number>> {
    return await this.#listed('lost', (line) => {
      assert.match(line, / unreadable$/, 'nothing that was acknowledged is lost by us');
      return true;
    });
  }

  async #listed(word: 'list' | 'lost', accepts: (line: string) => boolean): Promise<Set<number>> {
    const list = await this.message(word);
    const sectors = new Set<number>();
    for (const line of list.split('\n').filter((text) => text !== '')) {
      if (!accepts(line)) continue;
      const [first, count] = line.split(' ');
      for (let sector = Number(first); sector < Number(first) + Number(count); sector += 1)
        sectors.add(sector);
    }
    return sectors;
  }

  async #close(): Promise<void> {
    await this.#undoDownTo(0);
    await this.#plane?.close();
    assert.deepEqual(this.lab.leftovers(), []);
    assertNothingLeftOver(this.lab.folder);
    await this.lab.close();
  }

  async #undoDownTo(length: number): Promise<void> {
    while (this.#undo.length > length) await this.#undo.pop()!();
  }
}

/**
 * I17, by the kernel's count: each bad sector that was touched is on the spare or listed as lost, and no other sector is
 * either. Sectors that fail writes alone may be read as they are.
 */
export function assertTouchedAreKnown(
  touches: ReadonlyMap<number, Touch>,
  held: ReadonlySet<number>,
  lost: ReadonlySet<number>,
): number {
  const touched = [...touches]
    .filter(([, { reads, writes }]) => reads + writes > 0)
    .map(([sector]) => sector);
  const known = new Set([...held, ...lost]);
  assert.deepEqual(
    touched.filter((sector) => !known.has(sector)),
    [],
    'I17: what was touched is remapped or lost',
  );
  const wasTouched = new Set(touched);
  assert.deepEqual(
    [...known].filter((sector) => !wasTouched.has(sector)),
    [],
    'I17: nothing else is',
  );
  assert.deepEqual(
    [...held].filter((sector) => lost.has(sector)),
    [],
    'and never both',
  );
  return touched.length;
}
