import { PagedArena } from '../../src/block/buffer-arena.ts';
import { MetadataStore, type OpenedMetadata } from '../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { type JournalRange, type ObservedMove, RemapOrderWitness } from '../../src/simulator/remap-order.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { worldLayout } from '../../src/simulator/world/world.ts';

export const granuleBytes = 4096;
const mainBytes = 8 << 20;

/** A remap device on simulated disks, with the witness before its spare. */
export interface ObservedStack {
  readonly clock: VirtualClock;
  readonly counter: OperationCounter;
  readonly main: SimulatedDisk;
  readonly spare: SimulatedDisk;
  readonly witness: RemapOrderWitness;
  readonly device: RemapDevice;
  readonly opened: OpenedMetadata;
  /** Called at each operation of the spare. */
  watch: () => void;
}

export async function openStack(seed: number, badGranules: readonly number[]): Promise<ObservedStack> {
  const random = new SeededRandom(seed);
  const clock = new VirtualClock(random.fork('clock'));
  const counter = new OperationCounter();
  const watcher = { watch: () => {} };
  const disk = (name: string, sizeBytes: number) =>
    new SimulatedDisk({ name, sizeBytes, clock, random, counter, onOperation: () => watcher.watch() });
  const main = disk('main', mainBytes);
  const spare = disk('spare', 8 << 20);
  for (const granule of badGranules) main.faults.addBadSectors(granule * 8, 8, { on: 'write' });
  const arena = new PagedArena(new ArrayBuffer(2 << 20), {
    remapBytes: 1 << 19,
    metadataBytes: 1 << 19,
    poison: true,
  });
  const witness = new RemapOrderWitness(spare.open(), counter);
  const parts = { spare: witness, arena, clock, random };
  return await clock.run(
    (async () => {
      await MetadataStore.create(parts, {
        mainSizeBytes: mainBytes,
        logicalBlockBytes: 512,
        granuleBytes,
        properties: { name: 'order', mainIdentity: {}, spareIdentity: {}, policies: {} },
        layout: { ...worldLayout, journalBytes: 1 << 20 },
      });
      const opened = await MetadataStore.open(parts);
      const device = await openRemapDevice({
        main: main.open(),
        spare: witness,
        metadata: opened,
        arena,
        clock,
      });
      return Object.assign(watcher, { clock, counter, main, spare, witness, device, opened });
    })(),
  );
}

export function journalsOf(opened: OpenedMetadata): JournalRange[] {
  return opened.layout.replicas.flatMap((place, replica) =>
    place.journalOffsets.map((offset) => ({ replica, offset, length: opened.layout.journalBlocks * 4096 })),
  );
}

/** Writes every granule at once and watches from outside when each becomes live. */
export async function writeAndObserve(
  stack: ObservedStack,
  granules: readonly number[],
): Promise<ObservedMove[]> {
  const activated = new Map<number, number>();
  stack.watch = () => {
    for (const granule of granules) {
      if (activated.has(granule)) continue;
      // `extents` answers from the live table at once; its promise settles before the next operation.
      void stack.device.extents(granule * granuleBytes, granuleBytes).then(([extent]) => {
        if (extent?.state === 'remapped' && !activated.has(granule))
          activated.set(granule, stack.counter.next());
      });
    }
  };
  const acknowledged = new Map<number, number>();
  await stack.clock.run(
    Promise.all(
      granules.map(async (granule) => {
        await stack.device.write(new Uint8Array(granuleBytes).fill(granule), granule * granuleBytes);
        const [extent] = await stack.device.extents(granule * granuleBytes, granuleBytes);
        if (extent?.state === 'remapped' && !activated.has(granule))
          activated.set(granule, stack.counter.next());
        acknowledged.set(granule, stack.counter.next());
      }),
    ),
  );
  const slots = await slotsOf(stack.device);
  return granules.map((granule) => ({
    mainOffset: granule * granuleBytes,
    slotOffset: slots.get(granule) ?? -1,
    activated: activated.get(granule) ?? Number.POSITIVE_INFINITY,
    acknowledged: acknowledged.get(granule) ?? 0,
  }));
}

async function slotsOf(device: RemapDevice): Promise<Map<number, number>> {
  const lines = (await device.message(['list', 'blocks'])).split('\n');
  return new Map(
    lines.map((line) => line.split(' ').map(Number)).map(([main, , spare]) => [main! / 8, spare! * 512]),
  );
}
