import { setTimeout as sleep } from 'node:timers/promises';
import { AttachError } from '../attach/attach-error.ts';
import {
  type Attachment,
  backendName,
  isAttached,
  readAttachment,
  removeAttachment,
} from '../attach/attachment-record.ts';
import { usersOfDevice } from '../attach/device-users.ts';
import { removeLinks } from '../attach/links.ts';
import { detachLoop, detachLoopLater } from '../attach/loop-attachment.ts';
import { detachNbd, disconnectNbd } from '../attach/nbd-attachment.ts';
import { deviceFolder, folderState, runtimeDirectory } from '../device/process/runtime-directory.ts';
import { SetupError } from '../device/setup-error.ts';

const pollMs = 100;

/** What `detach` did: undefined when the device was not attached. */
export interface DetachReport {
  readonly name: string;
  readonly device: string;
}

/**
 * Takes the kernel's block device away, once nobody uses it: waits up to `waitMs` for that, then throws `SetupError` busy, which
 * names who does. What was written through it is durable then.
 */
export async function detachDevice(name: string, waitMs: number): Promise<DetachReport | undefined> {
  const directory = runtimeDirectory();
  const attachment = readAttachment(directory, name);
  if (attachment === undefined) return undefined;
  const device = `/dev/${attachment.deviceName}`;
  if (isAttached(attachment)) {
    for (let waitedMs = 0; !(await tryDetach(name, attachment)); waitedMs += pollMs) {
      if (waitedMs >= waitMs) throw inUse(name, device, await usersOfDevice(device));
      await sleep(pollMs);
    }
  }
  removeLinks(name, attachment.deviceName);
  removeAttachment(directory, name);
  return { name, device };
}

/** False while somebody uses it. */
async function tryDetach(name: string, { kind, deviceName, uuid }: Attachment): Promise<boolean> {
  if ((await usersOfDevice(`/dev/${deviceName}`)).length > 0) return false;
  const folder = deviceFolder(runtimeDirectory(), name);
  try {
    const isServed = folderState(folder).state === 'live';
    if (kind === 'nbd') await detachNbd(deviceName, isServed);
    else await detachLoop(deviceName, backendName(uuid), isServed);
    return true;
  } catch (error) {
    if (error instanceof AttachError && error.reason === 'busy') return false;
    throw error;
  }
}

function inUse(name: string, device: string, users: readonly string[]): SetupError {
  const who = users.length === 0 ? 'somebody who hides from us' : users.join(', ');
  return new SetupError(
    'busy',
    `${name}: ${device} is in use: ${who}; unmount or close it first, or give --wait SECONDS`,
  );
}

/** For `remove --force`, after the device has gone: whoever still uses the block device gets errors, and it goes with him. False when it was not attached. */
export function abandonAttachment(name: string): boolean {
  const directory = runtimeDirectory();
  const attachment = readAttachment(directory, name);
  if (attachment === undefined) return false;
  const { kind, deviceName, uuid } = attachment;
  if (isAttached(attachment)) {
    if (kind === 'nbd') disconnectNbd(deviceName);
    else detachLoopLater(deviceName, backendName(uuid));
  }
  removeLinks(name, deviceName);
  removeAttachment(directory, name);
  return true;
}
