import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { MetadataStore, type OpenedMetadata } from '../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../src/remap/open-remap.ts';
import type { RemapDevice } from '../../src/remap/remap-device.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { type JournalRange, type ObservedMove, RemapOrderWitness } from '../../src/simulator/remap-order.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { worldLayout } from '../../src/simulator/world.ts';

const granuleBytes = 4096;
const mainBytes = 8 << 20;

interface Stack {
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

async function openStack(seed: number, badGranules: readonly number[]): Promise<Stack> {
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

function journalsOf(opened: OpenedMetadata): JournalRange[] {
  return opened.layout.replicas.flatMap((place, replica) =>
    place.journalOffsets.map((offset) => ({ replica, offset, length: opened.layout.journalBlocks * 4096 })),
  );
}

/** Writes every granule at once and watches from outside when each becomes live. */
async function writeAndObserve(stack: Stack, granules: readonly number[]): Promise<ObservedMove[]> {
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
  const lines = (await device.message(['list'])).split('\n');
  return new Map(
    lines.map((line) => line.split(' ').map(Number)).map(([main, , spare]) => [main! / 8, spare! * 512]),
  );
}

describe('the order of a remap', () => {
  it('I12 data < flush < record on all replicas < flush < activate < ack, for one and for many at once', async () => {
    for (const seed of [1, 2, 3]) {
      const bad = [3, 70, 71, 500, ...Array.from({ length: 60 }, (_, index) => 600 + 2 * index)];
      const stack = await openStack(seed, bad);
      const moves = [...(await writeAndObserve(stack, [3])), ...(await writeAndObserve(stack, bad.slice(1)))];
      assert.equal(moves.length, bad.length);
      const journals = journalsOf(stack.opened);
      assert.ok(new Set(journals.map((journal) => journal.replica)).size >= 2, 'fewer than two replicas');
      for (const move of moves)
        assert.equal(stack.witness.fault(move, journals), undefined, `granule at ${move.mainOffset}`);
      assert.equal(stack.device.status().remappedGranules, bad.length);
    }
  });

  it('the witness finds a record that was written before its data was flushed', async () => {
    const counter = new OperationCounter();
    const random = new SeededRandom(9);
    const clock = new VirtualClock(random);
    const disk = new SimulatedDisk({ name: 'spare', sizeBytes: 1 << 20, clock, random, counter });
    const witness = new RemapOrderWitness(disk.open(), counter);
    const record = new Uint8Array(4096);
    new DataView(record.buffer).setBigUint64(64, 8n, true);
    new DataView(record.buffer).setBigUint64(72, 80n, true);
    await clock.run(
      (async () => {
        await witness.write(new Uint8Array(4096), 80 * 512);
        await witness.write(record, 0);
        await witness.flush();
      })(),
    );
    const move = {
      mainOffset: 8 * 512,
      slotOffset: 80 * 512,
      activated: counter.next(),
      acknowledged: counter.next(),
    };
    const journals = [{ replica: 0, offset: 0, length: 8192 }];
    assert.match(witness.fault(move, journals) ?? '', /record was not written to replica 0 after the flush/);
  });

  it('M19 a lone remap costs two flushes, one slot write and one record a replica', async () => {
    const stack = await openStack(5, [9]);
    const before = { ...stack.spare.counts };
    await stack.clock.run(stack.device.write(new Uint8Array(granuleBytes), 9 * granuleBytes));
    assert.equal(stack.spare.counts.flushes - before.flushes, 2);
    const replicas = stack.opened.layout.replicas.length;
    assert.equal(stack.spare.counts.writes - before.writes, 1 + replicas);
  });
});
