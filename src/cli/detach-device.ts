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
import { ControlClient } from '../control/client.ts';
import {
  type DeviceFolder,
  deviceFolder,
  folderState,
  runtimeDirectory,
} from '../device/process/runtime-directory.ts';
import { SetupError } from '../device/setup-error.ts';
import { isWorldError } from '../device/setup-failure.ts';

const pollMs = 100;

/** What `detach` did: undefined when the device was not attached. */
export interface DetachReport {
  readonly name: string;
  readonly device: string;
}

/**
 * Takes the kernel's block device away, once nobody uses it: waits up to `waitMs` for that, then throws `SetupError` busy, which
 * names who does. What was written through it is durable then. A suspended device would make whoever flushes wait until it is
 * resumed, past every signal: it is refused, but where it `isToGo`, for what nobody has open has nothing left to flush.
 */
export async function detachDevice(
  name: string,
  waitMs: number,
  isToGo = false,
): Promise<DetachReport | undefined> {
  const directory = runtimeDirectory();
  const attachment = readAttachment(directory, name);
  if (attachment === undefined) return undefined;
  const device = `/dev/${attachment.deviceName}`;
  if (isAttached(attachment)) {
    const folder = deviceFolder(directory, name);
    const isHeld = await isSuspended(folder);
    const isServed = (): boolean => !isHeld && folderState(folder).state === 'live';
    if (isHeld && !isToGo)
      throw new SetupError(
        'busy',
        `${name}: is suspended, and what is written to ${device} waits: resume it first`,
      );
    for (let waitedMs = 0; !(await tryDetach(attachment, isServed())); waitedMs += pollMs) {
      if (waitedMs >= waitMs) throw inUse(name, device, await usersOfDevice(device));
      await sleep(pollMs);
    }
  }
  removeLinks(name, attachment.deviceName);
  removeAttachment(directory, name);
  return { name, device };
}

async function isSuspended({ controlSocketPath }: DeviceFolder): Promise<boolean> {
  try {
    return (await new ControlClient(controlSocketPath).ping()).state === 'suspended';
  } catch (error) {
    if (!isWorldError(error)) throw error;
    return false;
  }
}

/** False while somebody uses it. `isServed`: what is flushed has an answer. */
async function tryDetach({ kind, deviceName, uuid }: Attachment, isServed: boolean): Promise<boolean> {
  if ((await usersOfDevice(`/dev/${deviceName}`)).length > 0) return false;
  try {
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
