import { createConnection } from 'node:net';
import type { BlockDevice } from '../../../src/block/block-device.ts';
import { FilterDevice } from '../../../src/block/filter-device.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import type { NbdClient } from '../../../src/nbd/client.ts';
import type { NbdServer } from '../../../src/nbd/server.ts';
import type { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { memoryStreamPair } from '../memory-stream.ts';

/** One connection of a hostile client. Sends are queued, in order, and never waited for. */
export interface HostileLink {
  send(bytes: Buffer): void;
  /** Half a close, behind what is queued; `received` then ends when the server has answered. */
  finish(): void;
  /** Gone at once, whatever is on its way. */
  abort(): void;
  /** Everything until the server closes. */
  readonly received: Promise<Buffer>;
}

/** A server, its disk, and ways to it. */
export interface HostileTarget {
  readonly server: NbdServer;
  /** Of the first export. */
  readonly disk: MemoryDevice;
  readonly healthy: NbdClient;
  /** Bytes of the arena that are in use while nothing is in flight. */
  readonly idleBytes: number;
  usedBytes(): number;
  /** `isDeaf`: nothing that the server sends is taken. */
  connect(random: SeededRandom, isDeaf: boolean): HostileLink;
  /** Time for the server to do what it can do now. */
  settle(): Promise<void>;
}

/** Does everything when it is called, as a disk with one queue, and says so some turns of the loop later, in any order. */
export class LateDevice extends FilterDevice {
  readonly #random: SeededRandom;

  constructor(below: BlockDevice, random: SeededRandom) {
    super(below);
    this.#random = random;
  }

  override read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#late(this.below.read(target, offset, flags));
  }

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#late(this.below.write(source, offset, flags));
  }

  override flush(): Promise<void> {
    return this.#late(this.below.flush());
  }

  async #late(done: Promise<void>): Promise<void> {
    for (let turns = this.#random.below(4); turns > 0; turns -= 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await done;
  }
}

/** Small: it is compared after every conversation. */
export const diskBytes: number = 64 * 1024;

export function emptyDisk(name: string): MemoryDevice {
  return new MemoryDevice({ name, sizeBytes: diskBytes });
}

/** A link to `server` in memory, with pipes of any width. */
export function memoryLink(server: NbdServer, random: SeededRandom, isDeaf: boolean): HostileLink {
  const receiveBytesMax = random.pick([1, 7, 1000, Number.MAX_SAFE_INTEGER]);
  const capacityBytes = isDeaf ? 4096 : random.pick([4096, Number.POSITIVE_INFINITY]);
  const { client, server: end } = memoryStreamPair({ receiveBytesMax, capacityBytes });
  server.serve(end);
  let queue = Promise.resolve();
  const enqueue = (action: () => Promise<void>): void => {
    // The server may have gone: that is for `received` to tell.
    queue = queue.then(action).catch(() => undefined);
  };
  return {
    send: (bytes) => enqueue(() => client.send([bytes])),
    finish: () => enqueue(() => Promise.resolve(client.finish())),
    abort: () => void client.close(),
    received: isDeaf ? Promise.resolve(Buffer.alloc(0)) : receivedFrom(client),
  };
}

async function receivedFrom(stream: { receive(target: Uint8Array): Promise<number> }): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const chunk = Buffer.allocUnsafe(4096);
  for (;;) {
    const count = await stream.receive(chunk).catch(() => 0);
    if (count === 0) return Buffer.concat(chunks);
    chunks.push(Buffer.from(chunk.subarray(0, count)));
  }
}

/** A link over a Unix socket. */
export function socketLink(path: string, isDeaf: boolean): HostileLink {
  const socket = createConnection({ path, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  if (!isDeaf) socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // A reset is an end like any other; `close` follows.
  socket.on('error', () => undefined);
  const received = new Promise<Buffer>((resolve) => {
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(Buffer.concat(chunks)));
  });
  return {
    send: (bytes) => void socket.write(bytes),
    finish: () => void socket.end(),
    abort: () => void socket.destroy(),
    received,
  };
}
