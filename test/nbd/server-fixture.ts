import assert from 'node:assert/strict';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { connectNbd, type NbdClient } from '../../src/nbd/client.ts';
import type { NbdExport } from '../../src/nbd/export-list.ts';
import type { NbdLimits } from '../../src/nbd/limits.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { type MemoryStreamOptions, type MemoryStreamPair, memoryStreamPair } from './memory-stream.ts';
import { WireClient } from './wire-client.ts';

/** Small enough to be reached by a test, large enough for the default receive buffer. */
export const fixtureLimits: Partial<NbdLimits> = { connectionsMax: 4 };

export interface ServerFixtureOptions {
  readonly device?: BlockDevice;
  readonly unalignedDevice?: BlockDevice;
  readonly limits?: Partial<NbdLimits>;
  readonly arenaBytes?: number;
  readonly stream?: MemoryStreamOptions;
  readonly description?: string;
  /** Behind the default export, "disk". */
  readonly moreExports?: readonly NbdExport[];
}

/** Time passes in steps of this while a server closes. */
const closingStepMs = 50;

/** A server in memory, and clients of it. `end` proves that nothing is left. */
export class ServerFixture {
  readonly clock: ManualClock = new ManualClock();
  readonly arena: PagedArena;
  readonly device: BlockDevice;
  readonly server: NbdServer;
  readonly notes: string[] = [];
  /** Seconds that the server called busy. */
  busySeconds = 0;
  readonly #streamOptions: MemoryStreamOptions;

  constructor(options: ServerFixtureOptions = {}) {
    this.#streamOptions = options.stream ?? {};
    this.device = options.device ?? new MemoryDevice({ name: 'disk', sizeBytes: 1024 * 1024 });
    // Four connections have 512 KiB of buffers.
    this.arena = new PagedArena(new ArrayBuffer(options.arenaBytes ?? 8.5 * 1024 * 1024), {
      remapBytes: 0,
      metadataBytes: 0,
      poison: true,
    });
    this.server = new NbdServer({
      exports: [
        {
          name: this.device.name,
          description: options.description ?? '',
          device: this.device,
          ...(options.unalignedDevice === undefined ? {} : { unalignedDevice: options.unalignedDevice }),
        },
        ...(options.moreExports ?? []),
      ],
      arena: this.arena,
      clock: this.clock,
      limits: { ...fixtureLimits, ...options.limits },
      onProtocolError: (message) => this.notes.push(message),
      onBusySecond: () => {
        this.busySeconds += 1;
      },
    });
  }

  /** A connection on which nobody has said anything yet. */
  connect(options?: MemoryStreamOptions): MemoryStreamPair {
    const pair = memoryStreamPair(options ?? this.#streamOptions);
    this.server.serve(pair.server);
    return pair;
  }

  /** Our own client, after its handshake. */
  async client(exportName = ''): Promise<NbdClient> {
    return await connectNbd(this.connect().client, exportName);
  }

  /** A client that sends what it is told, before its handshake. */
  wire(options?: MemoryStreamOptions): WireClient {
    return new WireClient(this.connect(options).client);
  }

  /** The same in the transmission phase. */
  async transmission(options?: MemoryStreamOptions): Promise<WireClient> {
    const wire = this.wire(options);
    await wire.enterTransmission();
    return wire;
  }

  /** The same with structured replies. */
  async structured(contexts: readonly string[] = [], options?: MemoryStreamOptions): Promise<WireClient> {
    const wire = this.wire(options);
    await wire.enterStructured(contexts);
    return wire;
  }

  /** Closes the server and lets time pass meanwhile: connections end when they have been quiet for a while. */
  async close(deadlineMs: number): Promise<number> {
    const closing = this.server.close(deadlineMs);
    let ended = false;
    const outstanding = closing.finally(() => {
      ended = true;
    });
    for (let passedMs = 0; !ended && passedMs <= deadlineMs + 2_000; passedMs += closingStepMs) {
      await settle();
      if (!ended) this.clock.advance(closingStepMs);
    }
    assert.ok(ended, 'the server closes');
    return await outstanding;
  }

  async end(): Promise<void> {
    assert.equal(await this.close(1_000), 0, 'no request is left at the device');
    assert.equal(this.arena.usedBytes, 0, 'the arena is empty');
    assert.equal(this.clock.timerCount, 0, 'no timer is left');
  }
}

/** Runs `body` against a fresh server, and checks that nothing is left of it. */
export async function withServer(
  options: ServerFixtureOptions,
  body: (fixture: ServerFixture) => Promise<void>,
): Promise<void> {
  const fixture = new ServerFixture(options);
  await body(fixture);
  await fixture.end();
}
