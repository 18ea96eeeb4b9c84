import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BlockDevice, sectorBytes } from '../../src/block/block-device.ts';
import { createDataPlane, type DataPlane } from '../../src/io/data-plane.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../src/mapping/mapped-device.ts';
import { TargetRegistry } from '../../src/mapping/registry.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { writeFailCountMax } from '../../src/targets/dust-blocks.ts';
import { standardTargets } from '../../src/targets/standard-targets.ts';
import type { BadRun } from './bad-disk.ts';
import type { DeviceLab } from './device-lab.ts';
import { missingForMounts, missingTool, mustRunTool, runTool } from './foreign-tool.ts';

const mebibyte = 1024 * 1024;

/** For the `skip` of a test that uses one. */
export function missingForFailingDisks(): string | false {
  return missingTool('nbdfuse', 'fusermount3', 'losetup') || missingForMounts();
}

/**
 * A disk of the kernel that fails as disks do: EIO comes out of the block layer, not out of our own targets.
 *
 *     /dev/loopN --direct-io -> nbdfuse -> our server, in this process -> dust or error targets -> image
 *
 * Sectors go bad and good while it is in use; `die` takes the path away from below, then every request fails.
 */
export class FailingDisk {
  readonly #lab: DeviceLab;
  readonly #name: string;
  readonly #plane: DataPlane;
  readonly #device: MappedDevice;
  readonly #server: NbdServer;
  #fuse: ChildProcess | undefined;
  #loop: string | undefined;

  private constructor(lab: DeviceLab, name: string, plane: DataPlane, device: MappedDevice) {
    this.#lab = lab;
    this.#name = name;
    this.#plane = plane;
    this.#device = device;
    const { arena, clock } = plane;
    this.#server = new NbdServer({ exports: [{ name, device }], arena, clock });
  }

  /**
   * Serves `table`, whose images exist, and attaches it. `wrap` may put something over each image. Close it whatever
   * happens.
   */
  static async attach(
    lab: DeviceLab,
    name: string,
    table: string,
    wrap: (image: BlockDevice) => BlockDevice = (image) => image,
  ): Promise<FailingDisk> {
    // Room for the buffers of all connections and one request of the largest size.
    const plane = createDataPlane({
      arenaBytes: 48 * mebibyte,
      remapBytes: mebibyte,
      metadataBytes: 4 * mebibyte,
    });
    const device = await createMappedDevice({
      name,
      table,
      registry: new TargetRegistry(standardTargets(plane)),
      openDevice: async (path) => wrap(await plane.openFile({ path, cache: 'writeback' })),
    });
    const disk = new FailingDisk(lab, name, plane, device);
    try {
      await disk.#attach();
      return disk;
    } catch (error) {
      await disk.close();
      throw error;
    }
  }

  /** `/dev/loopN`. */
  get path(): string {
    assert.ok(this.#loop !== undefined, 'attached');
    return this.#loop;
  }

  /** Requests that it has failed, of whatever kind. */
  get failures(): number {
    return this.#server.counters[NbdCounter.errors] ?? 0;
  }

  /** For a disk of one dust target with blocks of a sector: these sectors fail reads, and more writes than will come. */
  async addBad(runs: readonly BadRun[]): Promise<void> {
    await this.#device.message(0, ['enable']);
    for (const [first, count] of runs) {
      for (let sector = first; sector < first + count; sector += 1) {
        await this.#device.message(0, ['addbadblock', String(sector), String(writeFailCountMax)]);
      }
    }
  }

  /** Every sector is good again. */
  async heal(): Promise<void> {
    await this.#device.message(0, ['clearbadblocks']);
  }

  /** The path is gone at once, with whatever was on its way. */
  async die(): Promise<void> {
    const fuse = this.#fuse;
    assert.ok(fuse !== undefined && fuse.exitCode === null, 'the path is there');
    const ended = new Promise((resolve) => fuse.once('exit', resolve));
    fuse.kill('SIGKILL');
    await ended;
  }

  /** Requests are taken and not answered, until `thaw`. */
  async freeze(): Promise<void> {
    const pid = this.#fuse?.pid;
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGSTOP');
    while (!/^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) await sleep(5);
  }

  thaw(): void {
    this.#fuse?.kill('SIGCONT');
  }

  /** Takes everything down again; nobody uses the loop device any more. */
  async close(): Promise<void> {
    if (this.#loop !== undefined) await mustRunTool('losetup', '--detach', this.#loop);
    await this.#endFuse();
    await this.#server.close(0);
    await this.#device.close();
    await this.#plane.close();
  }

  async #attach(): Promise<void> {
    const socket = this.#lab.path(`${this.#name}.sock`);
    this.#server.listen(this.#plane.listenUnix(socket));
    const folder = this.#folder();
    mkdirSync(folder);
    const uri = `nbd+unix:///${this.#name}?socket=${socket}`;
    this.#fuse = spawn('nbdfuse', [folder, uri], { stdio: 'ignore' });
    const file = join(folder, 'nbd');
    for (let waitedMs = 0; !existsSync(file); waitedMs += 10) {
      assert.ok(waitedMs < 10_000 && this.#fuse.exitCode === null, 'nbdfuse does not start');
      await sleep(10);
    }
    this.#loop = (await mustRunTool('losetup', '--find', '--show', '--direct-io=on', file)).trim();
    const dio = readFileSync(`/sys/block/${basename(this.#loop)}/loop/dio`, 'utf8').trim();
    assert.equal(dio, '1', 'errors reach the block layer, not a page cache');
  }

  async #endFuse(): Promise<void> {
    const fuse = this.#fuse;
    if (fuse === undefined) return;
    const isOver = (): boolean => fuse.exitCode !== null || fuse.signalCode !== null;
    const ended = isOver() ? Promise.resolve() : new Promise((resolve) => fuse.once('exit', resolve));
    // The loop device lets go of the file a moment after it was detached. A dead one's mount is still there.
    for (let attempt = 0; attempt < 100; attempt += 1) {
      if ((await runTool('fusermount3', '-u', this.#folder())).status === 0) break;
      await sleep(20);
    }
    await ended;
  }

  #folder(): string {
    return this.#lab.path(`${this.#name}.fuse`);
  }
}

/** A table of one dust target over an image, for `addBad`. */
export function dustTable(image: string, sizeBytes: number): string {
  return `0 ${sizeBytes / sectorBytes} dust ${image} 0 ${sectorBytes}`;
}
