import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockAttachment } from '../acceptance/block-attachment.ts';
import { exportUri } from './bad-disk.ts';
import type { DeviceLab } from './device-lab.ts';
import { missingForMounts, missingTool, mustRunTool, runTool } from './foreign-tool.ts';

/** For the `skip` of a test: what an attachment, and these tools, need and this machine does not have. */
export function missingForAttachment(...tools: readonly string[]): string | false {
  return missingTool('nbdfuse', 'fusermount3', 'losetup', 'mount', 'umount', ...tools) || missingForMounts();
}

/** The export of a lab's device `disk` as a kernel block device: a file by nbdfuse, a loop device over it. */
export class KernelAttachment implements BlockAttachment {
  readonly #lab: DeviceLab;
  /** What must be undone, last first, whatever failed. */
  readonly #undo: (() => Promise<unknown>)[] = [];

  constructor(lab: DeviceLab) {
    this.#lab = lab;
  }

  /** The path of the loop device. */
  async attach(): Promise<string> {
    const folder = this.#lab.path('fuse');
    mkdirSync(folder, { recursive: true });
    const fuse = spawn('nbdfuse', [folder, exportUri(this.#lab, 'disk')], { stdio: 'ignore' });
    this.#undo.push(() => endFuse(fuse, folder));
    const file = join(folder, 'nbd');
    for (let waitedMs = 0; !existsSync(file); waitedMs += 10) {
      assert.ok(waitedMs < 10_000 && fuse.exitCode === null, 'nbdfuse does not start');
      await sleep(10);
    }
    const loop = (await mustRunTool('losetup', '--find', '--show', '--direct-io=on', file)).trim();
    this.#undo.push(() => mustRunTool('losetup', '--detach', loop));
    assert.equal(readFileSync(`/sys/block/${loop.slice('/dev/'.length)}/loop/dio`, 'utf8').trim(), '1');
    return loop;
  }

  /** The folder where it is mounted. */
  async mount(loop: string, ...options: readonly string[]): Promise<string> {
    const mountPoint = this.#lab.path('mount');
    mkdirSync(mountPoint, { recursive: true });
    await mustRunTool('mount', ...options, loop, mountPoint);
    this.#undo.push(() => mustRunTool('umount', mountPoint));
    return mountPoint;
  }

  /** Undoes the last step: after `mount` the file system is unmounted and the disk stays attached. */
  async undoLast(): Promise<void> {
    await this.#undo.pop()?.();
  }

  async undoAll(): Promise<void> {
    for (let step = this.#undo.pop(); step !== undefined; step = this.#undo.pop()) await step();
  }
}

async function endFuse(fuse: ChildProcess, folder: string): Promise<void> {
  const ended = new Promise((resolve) => fuse.once('exit', resolve));
  if (fuse.exitCode === null) {
    // The loop device lets go of the file a moment after it was detached.
    for (let attempt = 0; attempt < 100; attempt += 1) {
      if ((await runTool('fusermount3', '-u', folder)).status === 0) break;
      await sleep(20);
    }
    await ended;
  }
}
