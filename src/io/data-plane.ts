import type { BufferArena } from '../block/buffer-arena.ts';
import type { Clock, Random } from '../block/clock.ts';
import { ArenaMemory } from './arena-memory.ts';
import type { ByteStream, StreamListener } from './byte-stream.ts';
import type { FileDevice } from './file-device.ts';
import type { EngineName, IoEngine } from './io-engine.ts';
import { type OpenFileOptions, openFileDevice } from './open-file-device.ts';
import { RealClock } from './real-clock.ts';
import { RealRandom } from './real-random.ts';
import { listenTcp, listenUnix } from './ring-listener.ts';
import { connectTcp, connectUnix } from './ring-stream.ts';
import { UringEngine } from './uring-engine.ts';

export interface DataPlaneOptions {
  /** All I/O memory, whole pages; 80 MiB by default: an `NbdServer` has 64 of them for requests. */
  readonly arenaBytes?: number;
  /** Of that, kept for remaps; 4 MiB by default. */
  readonly remapBytes?: number;
  /** Of that, kept for metadata; 8 MiB by default. */
  readonly metadataBytes?: number;
  readonly spinUs?: number;
}

/** Everything of the outside world that the rooms above get by interface: one of each, made together, closed together. */
export interface DataPlane {
  readonly engine: IoEngine;
  readonly engineName: EngineName;
  readonly arena: BufferArena;
  readonly clock: Clock;
  readonly random: Random;
  /** False when RLIMIT_MEMLOCK or a missing right kept the arena or the queues from being locked in memory. */
  readonly memoryLocked: boolean;
  openFile(options: Omit<OpenFileOptions, 'engine'>): Promise<FileDevice>;
  listenUnix(path: string): StreamListener;
  listenTcp(host: string, port: number): StreamListener;
  connectUnix(path: string): Promise<ByteStream>;
  connectTcp(host: string, port: number): Promise<ByteStream>;
  /** After all devices, streams and listeners are closed. Waits for what the kernel still holds. Idempotent. */
  close(): Promise<void>;
}

const mebibyte = 1024 * 1024;

/** @throws EngineRefusal where this machine has no io_uring for us. */
export function createDataPlane(options: DataPlaneOptions = {}): DataPlane {
  const memory = new ArenaMemory({
    arenaBytes: options.arenaBytes ?? 80 * mebibyte,
    remapBytes: options.remapBytes ?? 4 * mebibyte,
    metadataBytes: options.metadataBytes ?? 8 * mebibyte,
  });
  const engine = openEngine(memory, options.spinUs);
  let closing: Promise<void> | undefined;
  return {
    engine,
    engineName: engine.name,
    arena: memory.arena,
    clock: new RealClock(),
    random: new RealRandom(),
    memoryLocked: memory.lockErrno === 0 && engine.lockErrno === 0,
    openFile: (file) => openFileDevice({ ...file, engine }),
    listenUnix: (path) => listenUnix(engine, path),
    listenTcp: (host, port) => listenTcp(engine, host, port),
    connectUnix: (path) => connectUnix(engine, path),
    connectTcp: (host, port) => connectTcp(engine, host, port),
    close: () => {
      closing ??= engine.close().then(() => memory.close());
      return closing;
    },
  };
}

function openEngine(memory: ArenaMemory, spinUs: number | undefined): UringEngine {
  try {
    return new UringEngine({ memory, ...(spinUs === undefined ? {} : { spinUs }) });
  } catch (error) {
    memory.close();
    throw error;
  }
}
