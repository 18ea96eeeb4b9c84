import { readFileSync } from 'node:fs';
import { AttachError } from '../attach/attach-error.ts';
import {
  type Attachment,
  type AttachmentKind,
  backendName,
  diskSequenceOf,
  isAttached,
  readAttachment,
  removeAttachment,
  writeAttachment,
} from '../attach/attachment-record.ts';
import { linkPath, makeLinks, removeLinks } from '../attach/links.ts';
import { attachLoop, detachLoop, detachLoopLater, hasLoopName } from '../attach/loop-attachment.ts';
import {
  attachNbd,
  disconnectNbd,
  hasNbd,
  type NbdAttachmentOptions,
  reconnectNbd,
} from '../attach/nbd-attachment.ts';
import type { DeviceStatus } from '../device/messages.ts';
import { runtimeDirectory } from '../device/process/runtime-directory.ts';
import { SetupError } from '../device/setup-error.ts';
import { type FoundDevice, findDevice } from './find-device.ts';

export interface AttachChoices {
  readonly readOnly: boolean;
  /** Seconds that the kernel's requests wait for a device whose process died; 0: they fail. Undefined: as the driver can. */
  readonly queueSeconds: number | undefined;
  /** Undefined: whichever the kernel has. */
  readonly kind: AttachmentKind | undefined;
}

/** What `attach` did. */
export interface AttachReport {
  readonly name: string;
  readonly kind: AttachmentKind;
  /** `/dev/loop0`. */
  readonly device: string;
  /** `/dev/dm-remap/NAME`, and one for each partition. */
  readonly links: readonly string[];
  readonly readOnly: boolean;
  readonly queueSeconds: number;
  /** It was attached already. */
  readonly wasAttached: boolean;
  readonly warnings: readonly string[];
}

/** What an nbd device waits for its server's next process, where nobody said how long. */
const queueSecondsDefault = 30;

/**
 * Makes a device a block device of the kernel's. Of one that is, it renews the links; an nbd device whose server died gets the
 * one that serves now. Throws `SetupError`, `AttachError`. */
export async function attachDevice(name: string, choices: AttachChoices): Promise<AttachReport> {
  const directory = runtimeDirectory();
  const found = findDevice(name, directory);
  const servedBy = readFileSync(found.folder.pidPath, 'latin1').trim();
  const status = await found.client.status();
  const before = readAttachment(directory, name);
  const warnings: string[] = [];
  if (before !== undefined && isAttached(before) && isOurs(before)) {
    if (before.servedBy === servedBy && before.uuid === status.uuid)
      return report(name, before, true, warnings);
    if (before.kind === 'nbd' && before.uuid === status.uuid) {
      const reconnected = { ...before, servedBy };
      await reconnectNbd(before.deviceName, nbdOptions(found, status, before));
      writeAttachment(directory, name, reconnected);
      return report(name, reconnected, true, warnings);
    }
    warnings.push(...(await clearDead(name, before)));
  }
  if (before !== undefined) removeLinks(name, before.deviceName);
  const attachment = await attachNew(name, found, status, servedBy, choices);
  return report(name, attachment, false, warnings);
}

/** Whoever died while he attached may have left a record of a loop device that somebody else has now. */
function isOurs({ kind, deviceName, uuid }: Attachment): boolean {
  return kind === 'nbd' || hasLoopName(deviceName, backendName(uuid));
}

async function attachNew(
  name: string,
  found: FoundDevice,
  status: DeviceStatus,
  servedBy: string,
  choices: AttachChoices,
): Promise<Attachment> {
  const directory = runtimeDirectory();
  const readOnly = choices.readOnly || status.spare === null;
  // The nbd driver keeps what was under way when a connection died, however long nobody comes (nbd_xmit_timeout).
  const kind = choices.kind ?? (choices.queueSeconds !== 0 && hasNbd() ? 'nbd' : 'loop');
  if (kind === 'nbd') {
    const queueSeconds = choices.queueSeconds ?? queueSecondsDefault;
    if (queueSeconds === 0) {
      throw new SetupError(
        'failed',
        `${name}: the nbd driver cannot fail what is under way when a process dies; use --driver loop, or --on-daemon-loss=queue:30s`,
      );
    }
    const deviceName = await attachNbd(nbdOptions(found, status, { readOnly, queueSeconds }));
    const { uuid } = status;
    const diskSequence = diskSequenceOf(kind, deviceName);
    const attachment = { kind, deviceName, uuid, servedBy, readOnly, queueSeconds, diskSequence };
    try {
      writeAttachment(directory, name, attachment);
    } catch (error) {
      // Nobody would know of it.
      disconnectNbd(deviceName);
      throw error;
    }
    return attachment;
  }
  if ((choices.queueSeconds ?? 0) > 0) {
    throw new SetupError(
      'failed',
      `${name}: a loop device cannot wait for a process that died, and this kernel ${choices.kind === undefined ? 'has no nbd' : 'is to use one'}; give --on-daemon-loss=fail`,
    );
  }
  const { uuid, logicalBlockBytes } = status;
  const { path } = await found.client.openFile(readOnly);
  let attachment: Attachment | undefined;
  let attached: string | undefined;
  try {
    attached = attachLoop({
      filePath: path,
      logicalBlockBytes,
      readOnly,
      name: backendName(uuid),
      onChosen: (chosen) => {
        attachment = {
          kind: 'loop',
          deviceName: chosen,
          uuid,
          servedBy,
          readOnly,
          queueSeconds: 0,
          diskSequence: '',
        };
        writeAttachment(directory, name, attachment);
      },
    });
    attachment = { ...attachment!, diskSequence: diskSequenceOf('loop', attached) };
    writeAttachment(directory, name, attachment);
    return attachment;
  } catch (error) {
    if (attached !== undefined) detachLoopLater(attached, backendName(uuid));
    removeAttachment(directory, name);
    throw error;
  }
}

function nbdOptions(
  found: FoundDevice,
  { name, uuid, logicalBlockBytes, exports }: DeviceStatus,
  { readOnly, queueSeconds }: Pick<Attachment, 'readOnly' | 'queueSeconds'>,
): NbdAttachmentOptions {
  // Elsewhere with --socket; the first export is on the Unix socket.
  const elsewhere = /\?socket=(.+)$/.exec(exports[0] ?? '')?.[1];
  return {
    socketPath: elsewhere ?? found.folder.nbdSocketPath,
    exportName: name,
    logicalBlockBytes,
    readOnly,
    queueSeconds,
    backend: backendName(uuid),
  };
}

/** What a process that was killed left attached: taken away, or left to its last user, who gets errors from it. */
async function clearDead(name: string, dead: Attachment): Promise<readonly string[]> {
  // An nbd device of another device of this name: its requests have nobody to wait for.
  if (dead.kind === 'nbd') {
    disconnectNbd(dead.deviceName);
    return [];
  }
  try {
    await detachLoop(dead.deviceName, backendName(dead.uuid), false);
    return [];
  } catch (error) {
    if (!(error instanceof AttachError)) throw error;
    detachLoopLater(dead.deviceName, backendName(dead.uuid));
    return [
      `/dev/${dead.deviceName}, where ${name} was attached before its process died, is still in use and gives errors only: unmount it`,
    ];
  }
}

function report(
  name: string,
  attachment: Attachment,
  wasAttached: boolean,
  warnings: readonly string[],
): AttachReport {
  const { kind, deviceName, readOnly, queueSeconds } = attachment;
  const links = makeLinks(name, deviceName);
  return { name, kind, device: `/dev/${deviceName}`, links, readOnly, queueSeconds, wasAttached, warnings };
}

/** For people. */
export function attachText({ name, device, kind, readOnly, queueSeconds }: AttachReport): string {
  const loss =
    queueSeconds > 0
      ? `requests wait ${queueSeconds} s for a process that died`
      : 'fails when its process dies';
  const how = kind === 'nbd' ? 'nbd' : 'loop over FUSE';
  return `${linkPath(name)} is ${device} (${how}${readOnly ? ', read-only' : ''}; ${loss})`;
}
