import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { DeviceLab } from './device-lab.ts';

/**
 * I24: nothing of a test may outlive it. Asked of the kernel, not of those who should have cleaned up: processes that
 * name the folder or have something in it open, loop devices on its files, mounts below it.
 */
export function assertNothingLeftOver(folder: string): void {
  assert.deepEqual(processesNaming(folder), [], 'processes left over');
  assert.deepEqual(loopDevicesOn(folder), [], 'loop devices left over');
  assert.deepEqual(mountsBelow(folder), [], 'mounts left over');
}

/** The end of a test with the device `disk`: it goes, and nothing of it is left; the lab is taken down whatever happens. */
export async function endLab(lab: DeviceLab): Promise<void> {
  try {
    await lab.run('remove', 'disk', '--force');
    assert.deepEqual(lab.leftovers(), []);
    assertNothingLeftOver(lab.folder);
  } finally {
    await lab.close();
  }
}

/** `PID COMMAND` of each process, except this one, with the folder in its command line or below an open file of it. */
function processesNaming(folder: string): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return command.includes(folder) || openPaths(pid).some((path) => path.startsWith(folder))
          ? [`${pid} ${command}`]
          : [];
      } catch {
        // It ended while we looked, or is none of ours to look at.
        return [];
      }
    });
}

function openPaths(pid: string): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((descriptor) =>
    readlinkSync(join('/proc', pid, 'fd', descriptor)),
  );
}

export function loopDevicesOn(folder: string): string[] {
  return readdirSync('/sys/block').flatMap((name) => {
    const backing = `/sys/block/${name}/loop/backing_file`;
    if (!existsSync(backing)) return [];
    const path = readFileSync(backing, 'utf8').trim();
    return path.startsWith(folder) ? [`${name} on ${path}`] : [];
  });
}

export function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((mountPoint) => mountPoint.startsWith(folder));
}
