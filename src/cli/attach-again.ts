import { spawn } from 'node:child_process';
import process from 'node:process';
import { isAttached, readAttachment } from '../attach/attachment-record.ts';
import { runtimeDirectory } from '../device/process/runtime-directory.ts';
import { mainPath } from './main-path.ts';

/**
 * A device serves again whose last process died: where the kernel's requests wait for it, they get it now. By a process of its
 * own, because what it asks of the kernel may wait for this one.
 */
export function attachAgain(name: string): void {
  const attachment = readAttachment(runtimeDirectory(), name);
  if (attachment?.kind !== 'nbd' || !isAttached(attachment)) return;
  const options = process.execArgv.filter((word) => !word.startsWith('--inspect'));
  const child = spawn(process.execPath, [...options, mainPath(), 'attach', name], {
    detached: true,
    stdio: 'ignore',
  });
  // Without a process it stays as it is: the requests wait on, and "attach" by hand is the same.
  child.on('error', () => undefined);
  child.unref();
}
