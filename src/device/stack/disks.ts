import { realpath } from 'node:fs/promises';
import { createDataPlane, type DataPlane } from '../../io/data-plane.ts';
import { type DiskIdentity, identifyDevice } from '../../io/disk-identity.ts';
import type { FileDevice } from '../../io/file-device.ts';
import type { EngineChoice } from '../../io/io-engine.ts';
import { asOpenError, refuseZeroByte } from '../../io/open-error.ts';
import { createMappedDevice } from '../../mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../mapping/mapped-device.ts';
import { TargetRegistry } from '../../mapping/registry.ts';
import type { NbdDevice } from '../../nbd/nbd-device.ts';
import { looksLikeNbdUri } from '../../nbd/nbd-uri.ts';
import { idleReadBytes } from '../../scrub/scrub-limits.ts';
import { standardTargets } from '../../targets/standard-targets.ts';
import type { DeviceStatus, ProcessStatus } from '../messages.ts';
// In memory before a disk can hang: main.ts needs it then.
import '../process/end-process.ts';
import type { CacheMode, MainChoice } from '../serve-options.ts';
import { nbdIdentity, openNbd } from './nbd-disk.ts';
import { requestMemory } from './request-memory.ts';

const mib = 1_048_576;

/** Buffers of 32 connections. */
const connectionBytes = 4 * mib;
/** A move takes a few granules: hundreds of moves at one time. Metadata reads and writes in pieces of at most 1 MiB. */
const movesBytes = 8 * mib;
/** Touched, and so resident, only while a scrub reads. */
const remapBytes: number = movesBytes + idleReadBytes;
const metadataBytes = 8 * mib;
/**
 * A read that a disk has not answered by then fails for its reader; the kernel goes on with it and keeps its memory (I27).
 * As long as the kernel gives a SCSI command before it resets the disk. Writes have no deadline: a client waits (R3).
 */
const readTimeoutMs = 30_000;

/** A disk or image, open. */
export interface OpenedDisk {
  readonly device: FileDevice | NbdDevice;
  /** Without symbolic links, absolute; of an NBD export its URI. */
  readonly path: string;
  readonly access: 'direct' | 'buffered' | 'nbd';
  readonly identity: DiskIdentity;
}

/** A device-mapper table over disks and images, open. */
export interface OpenedTable {
  readonly device: MappedDevice;
  /** `table:LABEL`. */
  readonly path: string;
  readonly access: 'table';
  /** What it lies on. They are closed with it. */
  readonly disks: readonly OpenedDisk[];
}

export type OpenedMain = OpenedDisk | OpenedTable;

/** The disks and images under a main. */
export function disksOf(main: OpenedMain): readonly OpenedDisk[] {
  return main.access === 'table' ? main.disks : [main];
}

/** `own`: for us alone, to read and write. `read-only`: nobody writes while we read. `look`: whoever uses it. */
export type DiskAccess = 'own' | 'read-only' | 'look';

export interface DisksOptions {
  /** `requestMemory.defaultBytes` by default; whole pages. */
  readonly requestMemoryBytes?: number;
  /** As `DataPlaneOptions.io`. */
  readonly io?: EngineChoice;
  /** An image file was cut while it was open, once each. */
  readonly onCut?: (path: string, hadBytes: number, hasBytes: number) => void;
}

/** The I/O of one process, and what opens disks with it. */
export class Disks {
  readonly plane: DataPlane;
  readonly #requestMemoryBytes: number;
  readonly #onCut: DisksOptions['onCut'];

  /** Throws `EngineRefusal` where io_uring was asked for and is not to be had. */
  constructor(options: DisksOptions = {}) {
    this.#requestMemoryBytes = options.requestMemoryBytes ?? requestMemory.defaultBytes;
    this.#onCut = options.onCut;
    this.plane = createDataPlane({
      arenaBytes: this.#requestMemoryBytes + connectionBytes + remapBytes + metadataBytes,
      remapBytes,
      metadataBytes,
      ...(options.io === undefined ? {} : { io: options.io }),
    });
  }

  /** For `status`. */
  get engine(): Pick<DeviceStatus, 'engine' | 'engineReason'> {
    return { engine: this.plane.engineName, engineReason: this.plane.engineReason ?? '' };
  }

  /** For people, when it is not the engine that they may expect. */
  get engineNotes(): readonly string[] {
    const { engineName, engineReason } = this.plane;
    return engineReason === undefined ? [] : [`I/O goes through ${engineName}: ${engineReason}`];
  }

  /** For `status`. */
  get memory(): Pick<ProcessStatus, 'memoryLocked' | 'requestMemoryBytes'> {
    return { memoryLocked: this.plane.memoryLocked, requestMemoryBytes: this.#requestMemoryBytes };
  }

  /** Opens a disk, an image or an NBD export. Throws `OpenError`, or `SetupError` for a URI that is none. */
  async open(path: string, cache: CacheMode, access: DiskAccess = 'own'): Promise<OpenedDisk> {
    if (looksLikeNbdUri(path)) {
      const nbd = await openNbd(this.plane, path, access !== 'own');
      return { device: nbd, path, access: 'nbd', identity: nbdIdentity(path, nbd) };
    }
    const real = await realPath(path);
    const device: FileDevice = await this.plane.openFile({
      path: real,
      cache,
      readTimeoutMs,
      readOnly: access !== 'own',
      lock: access !== 'look',
      onCut: (hasBytes) => this.#onCut?.(real, device.geometry.sizeBytes, hasBytes),
    });
    const identity = await identifyDevice(real);
    return { device, path: real, access: device.buffered ? 'buffered' : 'direct', identity };
  }

  /** Throws `OpenError` or `TargetError`. */
  openMain(choice: MainChoice, cache: CacheMode, access: DiskAccess = 'own'): Promise<OpenedMain> {
    return choice.kind === 'table'
      ? this.#openTable(choice.text, choice.label, cache, access)
      : this.open(choice.path, cache, access);
  }

  async #openTable(text: string, label: string, cache: CacheMode, access: DiskAccess): Promise<OpenedTable> {
    const disks: OpenedDisk[] = [];
    const path = `table:${label}`;
    const device = await createMappedDevice({
      name: path,
      table: text,
      registry: new TargetRegistry(standardTargets({ clock: this.plane.clock, random: this.plane.random })),
      openDevice: async (name) => {
        const disk = await this.open(name, cache, access);
        disks.push(disk);
        return disk.device;
      },
    });
    return { device, path, access: 'table', disks };
  }

  /** Waits for the kernel's last answer. Memory that somebody still holds is left to the end of the process (I27). */
  close(): Promise<void> {
    return this.plane.arena.usedBytes === 0 ? this.plane.close() : this.plane.engine.close();
  }
}

/** Runs `work` with I/O of its own, which is closed after it. */
export async function withDisks<T>(work: (disks: Disks) => Promise<T>): Promise<T> {
  const disks = new Disks();
  try {
    return await work(disks);
  } finally {
    await disks.close();
  }
}

async function realPath(path: string): Promise<string> {
  refuseZeroByte(path);
  try {
    return await realpath(path);
  } catch (error) {
    throw asOpenError(path, error, 'realpath');
  }
}
