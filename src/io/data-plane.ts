import type { BufferArena } from '../block/buffer-arena.ts';
import type { Clock, Random } from '../block/clock.ts';
import { ArenaMemory } from './arena-memory.ts';
import { type OpenedEngine, openEngine } from './choose-engine.ts';
import type { FileDevice } from './file-device.ts';
import { FuseFile, type FuseFileOptions } from './fuse-file.ts';
import type { EngineChoice, EngineName, IoEngine } from './io-engine.ts';
import { type OpenFileOptions, openFileDevice } from './open-file-device.ts';
import { RealClock } from './real-clock.ts';
import { RealRandom } from './real-random.ts';
import type { StreamSockets } from './stream-sockets.ts';

export interface DataPlaneOptions {
  /** All I/O memory, whole pages; 80 MiB by default: an `NbdServer` has 64 of them for requests. */
  readonly arenaBytes?: number;
  /** Of that, kept for remaps; 4 MiB by default. */
  readonly remapBytes?: number;
  /** Of that, kept for metadata; 8 MiB by default. */
  readonly metadataBytes?: number;
  readonly spinUs?: number;
  /** By default what `DM_REMAP_IO` says, else io_uring where it is to be had, else libuv. */
  readonly io?: EngineChoice;
}

/** Everything of the outside world that the rooms above get by interface: one of each, made together, closed together. */
export interface DataPlane extends StreamSockets {
  readonly engine: IoEngine;
  readonly engineName: EngineName;
  /** Why it is not io_uring, one clause, where that was not asked for. */
  readonly engineReason: string | undefined;
  readonly arena: BufferArena;
  readonly clock: Clock;
  readonly random: Random;
  /** False when RLIMIT_MEMLOCK or a missing right kept the arena or the queues from being locked in memory. */
  readonly memoryLocked: boolean;
  openFile(options: Omit<OpenFileOptions, 'engine'>): Promise<FileDevice>;
  /** Throws the system's error or `SystemCallError`: no /dev/fuse, no right to mount. */
  openFuseFile(options: Omit<FuseFileOptions, 'arena' | 'arenaAddress' | 'clock'>): FuseFile;
  /** After all devices, streams and listeners are closed. Waits for what the kernel still holds. Idempotent. */
  close(): Promise<void>;
}

const mebibyte = 1024 * 1024;

/** @throws EngineRefusal where io_uring was asked for and is not to be had. */
export function createDataPlane(options: DataPlaneOptions = {}): DataPlane {
  const memory = new ArenaMemory({
    arenaBytes: options.arenaBytes ?? 80 * mebibyte,
    remapBytes: options.remapBytes ?? 4 * mebibyte,
    metadataBytes: options.metadataBytes ?? 8 * mebibyte,
  });
  const { engine, sockets, reason } = openOrGiveBack(memory, options);
  const clock = new RealClock();
  let closing: Promise<void> | undefined;
  return {
    engine,
    engineName: engine.name,
    engineReason: reason,
    arena: memory.arena,
    clock,
    random: new RealRandom(),
    memoryLocked: memory.lockErrno === 0 && engine.lockErrno === 0,
    openFile: (file) => openFileDevice({ ...file, engine }),
    openFuseFile: (file) =>
      new FuseFile({ ...file, arena: memory.arena, arenaAddress: memory.address, clock }),
    ...sockets,
    close: () => {
      closing ??= engine.close().then(() => memory.close());
      return closing;
    },
  };
}

function openOrGiveBack(memory: ArenaMemory, options: DataPlaneOptions): OpenedEngine {
  try {
    return openEngine(memory, options);
  } catch (error) {
    memory.close();
    throw error;
  }
}
