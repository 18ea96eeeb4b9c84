import type { BlockDevice } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { MetadataStore } from '../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

export const spareBytes: number = 4 << 20;
const layout = { lostRangesMax: 128, journalBytes: 8 * 4096, slotsMin: 64 };

/** A main that can be opened again and again over one spare in memory. */
export class RemapPlace {
  readonly random: SeededRandom = new SeededRandom('open-remap');
  readonly clock: VirtualClock = new VirtualClock(this.random.fork('clock'));
  readonly spare: MemoryDevice = new MemoryDevice({
    name: 'spare',
    sizeBytes: spareBytes,
    physicalBlockBytes: 4096,
  });
  readonly arena: PagedArena = new PagedArena(new ArrayBuffer(2 << 20), {
    remapBytes: 256 * 1024,
    metadataBytes: 512 * 1024,
    poison: true,
  });

  async create(main: BlockDevice, options: { fresh?: boolean } = {}): Promise<void> {
    await this.clock.run(
      MetadataStore.create(this.#parts(), {
        mainSizeBytes: main.geometry.sizeBytes,
        logicalBlockBytes: main.geometry.logicalBlockBytes,
        granuleBytes: 4096,
        properties: { name: 'sheltered', mainIdentity: {}, spareIdentity: {}, policies: {} },
        layout,
        fresh: options.fresh ?? false,
      }),
    );
  }

  async open(main: BlockDevice, spare: BlockDevice = this.spare): Promise<RemapDevice> {
    const { arena, clock } = this;
    const opening = MetadataStore.open(this.#parts()).then((metadata) =>
      openRemapDevice({ main, spare, metadata, arena, clock }),
    );
    return await this.clock.run(opening);
  }

  #parts(): { spare: BlockDevice; arena: PagedArena; clock: VirtualClock; random: SeededRandom } {
    return { spare: this.spare, arena: this.arena, clock: this.clock, random: this.random.fork('metadata') };
  }
}
