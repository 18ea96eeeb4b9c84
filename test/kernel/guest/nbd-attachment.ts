import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockAttachment } from '../../acceptance/block-attachment.ts';
import type { DeviceLab } from '../../end-to-end/device-lab.ts';
import { mustRunTool } from '../../end-to-end/foreign-tool.ts';

const settleMsMax = 20_000;
let attachments = 0;

/** A lab's device `disk` as /dev/nbdN of the kernel. */
export class NbdAttachment implements BlockAttachment {
  readonly #lab: DeviceLab;
  /** What must be undone, last first. */
  readonly #undo: (() => Promise<unknown>)[] = [];

  constructor(lab: DeviceLab) {
    this.#lab = lab;
  }

  async attach(): Promise<string> {
    const device = `/dev/nbd${attachments % 16}`;
    attachments += 1;
    const socket = join(this.#lab.runtime, 'disk', 'nbd.sock');
    await mustRunTool('nbd-client', '-unix', socket, device, '-N', 'disk', '-b', '512');
    this.#undo.push(async () => {
      await mustRunTool('nbd-client', '-d', device);
      // Until then the device counts one client.
      await until(
        () => !existsSync(`/sys/block/${device.slice('/dev/'.length)}/pid`),
        `${device} is not let go`,
      );
    });
    assert.notEqual(sizeOf(device), 0, `${device} has no size`);
    return device;
  }

  async mount(device: string, ...options: readonly string[]): Promise<string> {
    const mountPoint = this.#lab.path('mount');
    mkdirSync(mountPoint, { recursive: true });
    await mustRunTool('mount', ...options, device, mountPoint);
    this.#undo.push(() => mustRunTool('umount', mountPoint));
    return mountPoint;
  }

  async undoLast(): Promise<void> {
    await this.#undo.pop()?.();
  }

  async undoAll(): Promise<void> {
    for (let step = this.#undo.pop(); step !== undefined; step = this.#undo.pop()) await step();
  }
}

/** In sectors. */
function sizeOf(device: string): number {
  return Number(readFileSync(`/sys/block/${device.slice('/dev/'.length)}/size`, 'latin1'));
}

export async function until(isDone: () => boolean, failure: string): Promise<void> {
  const endMs = performance.now() + settleMsMax;
  while (!isDone()) {
    assert.ok(performance.now() < endMs, failure);
    await sleep(5);
  }
}
