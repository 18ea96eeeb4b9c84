import { join } from 'node:path';
import {
  attachmentAt,
  attachmentOfDescriptor,
  type DescriptorFacts,
  type DiskAttachment,
  differenceOf,
} from './disk-attachment.ts';
import { closeAsync, type OpenedDescriptor, type OpenRequest, openDescriptor } from './open-descriptor.ts';
import { asOpenError, OpenError } from './open-error.ts';
import { readNames, systemRoots } from './system-files.ts';

/** Names of block devices looked at to find a disk that came back under another name: more than any machine has. */
const candidatesMax = 4096;

/** The machine, as far as finding a disk again needs it; tests describe another one. */
export interface ReopenSurroundings {
  attachmentAt(path: string): Promise<DiskAttachment>;
  attachmentOfDescriptor(fd: number, path: string): Promise<DescriptorFacts>;
  /** Paths of all block devices. */
  blockDevices(): Promise<readonly string[]>;
  open(request: OpenRequest): Promise<OpenedDescriptor>;
  close(fd: number): Promise<void>;
}

const machine: ReopenSurroundings = {
  attachmentAt,
  attachmentOfDescriptor,
  blockDevices: async () =>
    (await readNames(systemRoots.sysfs, 'class', 'block')).map((name) =>
      join('/dev', name.replaceAll('!', '/')),
    ),
  open: openDescriptor,
  close: closeAsync,
};

/** Finds and opens the disk again that a device was opened on (R32), and no other. */
export class DiskReopener {
  readonly #request: OpenRequest;
  readonly #recorded: DiskAttachment;
  readonly #surroundings: ReopenSurroundings;

  constructor(request: OpenRequest, recorded: DiskAttachment, surroundings: ReopenSurroundings = machine) {
    this.#request = request;
    this.#recorded = recorded;
    this.#surroundings = surroundings;
  }

  /** Remembers what is at the path of `request` now. Rejects with `OpenError`. */
  static async remembering(
    request: OpenRequest,
    surroundings: ReopenSurroundings = machine,
  ): Promise<DiskReopener> {
    try {
      return new DiskReopener(request, await surroundings.attachmentAt(request.path), surroundings);
    } catch (error) {
      throw asOpenError(request.path, error, 'looking at it');
    }
  }

  /**
   * Where the same disk is now: at its own path, or, when it can be told from all others, under any name. Touches no disk.
   * Rejects with `OpenError`.
   */
  async find(): Promise<string> {
    const { path } = this.#request;
    const wrong = await this.#wrongAt(path);
    if (wrong === undefined) return path;
    if (this.#recorded.identity.strength === 'strong') {
      const candidates = await this.#surroundings.blockDevices();
      for (const candidate of candidates.slice(0, candidatesMax)) {
        if (candidate !== path && (await this.#wrongAt(candidate)) === undefined) return candidate;
      }
    }
    throw wrong;
  }

  /** Opens what `find` found, and looks once more at what was opened. Rejects with `OpenError`, with nothing left open. */
  async open(path: string, before: OpenedDescriptor): Promise<OpenedDescriptor> {
    const opened = await this.#surroundings.open({ ...this.#request, path });
    try {
      const trouble = shapeTrouble(before, opened) ?? (await this.trouble(opened.fd));
      if (trouble !== undefined) throw new OpenError('OPEN_OTHER_DISK', path, trouble);
      // A file that was renamed over the path between the two looks has another key.
      const wrong = opened.kind === 'file' ? await this.#wrongAt(path) : undefined;
      if (wrong !== undefined) throw wrong;
      return opened;
    } catch (error) {
      await this.#surroundings.close(opened.fd);
      throw asOpenError(path, error, 'opening it again');
    }
  }

  /** Why an open descriptor does not stand on the recorded disk any more, or undefined. */
  async trouble(fd: number): Promise<string | undefined> {
    const found = await this.#surroundings.attachmentOfDescriptor(fd, this.#request.path);
    if (found === 'gone') return 'the disk has gone';
    if ('fileBytes' in found) {
      const { sizeBytes } = this.#recorded.identity;
      return found.fileBytes >= sizeBytes ? undefined : `has ${found.fileBytes} bytes, had ${sizeBytes}`;
    }
    const difference = differenceOf(this.#recorded, found);
    return difference === undefined ? undefined : `is another disk: ${difference}`;
  }

  async #wrongAt(path: string): Promise<OpenError | undefined> {
    let found: DiskAttachment;
    try {
      found = await this.#surroundings.attachmentAt(path);
    } catch (error) {
      if (error instanceof Error && 'errno' in error) return asOpenError(path, error, 'looking at it');
      return new OpenError('OPEN_NOT_A_DISK', path, 'is neither a block device nor a regular file any more');
    }
    const difference = differenceOf(this.#recorded, found);
    if (difference === undefined) return undefined;
    return new OpenError('OPEN_OTHER_DISK', path, `is another disk: ${difference}`);
  }
}

/** What requests were admitted and cut by must still hold. A disk that grew is served as it was (M21). */
function shapeTrouble(before: OpenedDescriptor, now: OpenedDescriptor): string | undefined {
  if (now.kind !== before.kind || now.direct !== before.direct) return 'is of another kind than before';
  if (now.logicalBlockBytes !== before.logicalBlockBytes) {
    return `has logical blocks of ${now.logicalBlockBytes} bytes, had ${before.logicalBlockBytes}`;
  }
  if (now.memoryAlignBytes > before.memoryAlignBytes) return 'asks more of buffers than before';
  if (now.sizeBytes < before.sizeBytes) return `has ${now.sizeBytes} bytes, had ${before.sizeBytes}`;
  return undefined;
}
