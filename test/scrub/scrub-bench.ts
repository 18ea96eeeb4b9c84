import assert from 'node:assert/strict';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { storeIn, verifierOf } from '../../src/device/stack/scrub-store.ts';
import { MetadataStore, type OpenedMetadata } from '../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import type { ScrubEvent } from '../../src/scrub/scrub-event.ts';
import { answerScrubWords } from '../../src/scrub/scrub-messages.ts';
import type { ScrubReport } from '../../src/scrub/scrub-status.ts';
import { Scrubber } from '../../src/scrub/scrubber.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { GenerationClock, VirtualClock } from '../../src/simulator/virtual-clock.ts';

export const granuleBytes = 4096;
export const mainBytes: number = 8 << 20;
/** Half of the memory for moves of these arenas: what one read of a scrub is at most. */
export const readBytes: number = 64 << 10;

export interface BenchOptions {
  readonly seed?: string;
  readonly policies?: Readonly<Record<string, string>>;
  readonly fresh?: boolean;
  readonly wrapMain?: (main: BlockDevice) => BlockDevice;
}

/** One process that has the device open. */
export interface BenchSession {
  readonly clock: GenerationClock;
  readonly device: RemapDevice;
  readonly scrubber: Scrubber;
  readonly metadata: OpenedMetadata;
  readonly main: RecordingDevice;
  readonly spare: RecordingDevice;
  readonly arena: PagedArena;
}

/** The shipped remap device and metadata over two simulated disks under virtual time, and whoever scrubs them. */
export class ScrubBench {
  readonly clock: VirtualClock;
  readonly mainDisk: SimulatedDisk;
  readonly spareDisk: SimulatedDisk;
  readonly events: ScrubEvent[] = [];
  clientRequests = 0;
  readonly #random: SeededRandom;
  readonly #options: BenchOptions;
  #session: BenchSession | undefined;

  static async create(options: BenchOptions = {}): Promise<ScrubBench> {
    const bench = new ScrubBench(options);
    const arena = newArena();
    const { clock, spareDisk } = bench;
    const parts = { spare: spareDisk.open(arena), arena, clock, random: new SeededRandom('create') };
    await clock.run(
      MetadataStore.create(parts, {
        mainSizeBytes: mainBytes,
        logicalBlockBytes: 512,
        granuleBytes,
        fresh: options.fresh ?? false,
        properties: { name: 'bench', mainIdentity: {}, spareIdentity: {}, policies: options.policies ?? {} },
      }),
    );
    await bench.open();
    return bench;
  }

  private constructor(options: BenchOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed ?? 'scrub');
    this.clock = new VirtualClock(this.#random.fork('clock'));
    const disk = (name: string, sizeBytes: number): SimulatedDisk =>
      new SimulatedDisk({
        name,
        sizeBytes,
        physicalBlockBytes: granuleBytes,
        clock: this.clock,
        random: this.#random,
        latencyMinMs: 0.5,
        latencyMaxMs: 1.5,
      });
    this.mainDisk = disk('main', mainBytes);
    this.spareDisk = disk('spare', 24 << 20);
  }

  get now(): BenchSession {
    assert(this.#session !== undefined, 'a process has the device open');
    return this.#session;
  }

  get report(): ScrubReport {
    return this.now.scrubber.report();
  }

  kinds(): readonly string[] {
    return this.events.map(({ kind }) => kind);
  }

  /** Another process opens it. */
  async open(): Promise<BenchSession> {
    const clock = new GenerationClock(this.clock);
    const arena = newArena();
    const counter = new OperationCounter();
    const mainBelow = this.mainDisk.open(arena);
    const main = new RecordingDevice(this.#options.wrapMain?.(mainBelow) ?? mainBelow, counter);
    const spare = new RecordingDevice(this.spareDisk.open(arena), counter);
    const random = this.#random.fork(`session ${this.clock.nowMs()}`);
    const metadata = await this.clock.run(MetadataStore.open({ spare, arena, clock, random }));
    const device = await this.clock.run(openRemapDevice({ main, spare, metadata, arena, clock }));
    const scrubber = new Scrubber({
      access: device.scrubAccess(),
      stored: metadata.facts.properties.scrub,
      store: storeIn(metadata.store),
      verifyReplicas: verifierOf(metadata.store, 'bench'),
      ...{ clock, ticks: clock },
      clientRequests: () => this.clientRequests,
      tell: (event) => this.events.push(event),
    });
    device.scrubbedBy((words) => answerScrubWords(scrubber, words));
    this.#session = { clock, device, scrubber, metadata, main, spare, arena };
    return this.#session;
  }

  /** Cleanly, as the process does; nothing is left behind. */
  async close(): Promise<void> {
    const { scrubber, device, main, spare, arena } = this.now;
    scrubber.close();
    await this.clock.run(device.close());
    await this.clock.run(Promise.all([main.close(), spare.close()]));
    assert.equal(arena.usedBytes, 0, 'all memory was given back');
    this.#session = undefined;
  }

  /** SIGKILL, or the power: nothing of the process runs again. */
  end(how: 'kill' | 'power'): void {
    this.now.clock.end();
    for (const disk of [this.mainDisk, this.spareDisk]) {
      if (how === 'kill') disk.kill();
      else disk.powerCut();
    }
    this.#session = undefined;
  }

  message(...words: readonly string[]): Promise<string> {
    return this.clock.run(this.now.device.message(words));
  }

  /** A client's read, counted as one. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const target = Buffer.alloc(length);
    try {
      await this.now.device.read(target, offset);
    } finally {
      this.clientRequests += 1;
    }
    return target;
  }

  async write(source: Uint8Array, offset: number): Promise<void> {
    await this.now.device.write(source, offset);
    this.clientRequests += 1;
  }

  untilNotRunning(): Promise<void> {
    return this.clock.runUntil(() => this.now.scrubber.state !== 'running');
  }
}

function newArena(): PagedArena {
  return new PagedArena(new ArrayBuffer(512 << 10), {
    remapBytes: 128 << 10,
    metadataBytes: 128 << 10,
    poison: true,
  });
}

/** Bytes of main that successful reads since `from` gave, each byte once; and the most that were under way at one time. */
export function readsOf(
  device: RecordingDevice,
  from = 0,
): { bytes: Set<number>; total: number; most: number } {
  const sectors = new Set<number>();
  let total = 0;
  let under = 0;
  let most = 0;
  for (const operation of device.operations.slice(from)) {
    if (operation.kind !== 'read') continue;
    under += operation.phase === 'submit' ? 1 : -1;
    most = Math.max(most, under);
    if (operation.phase === 'submit' || !operation.ok) continue;
    total += operation.length;
    for (let at = operation.offset; at < operation.offset + operation.length; at += 512)
      sectors.add(at / 512);
  }
  return { bytes: sectors, total, most };
}
