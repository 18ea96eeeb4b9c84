import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RemapOrderWitness } from '../../src/simulator/remap-order.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { SimulatedDisk } from '../../src/simulator/simulated-disk.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { granuleBytes, journalsOf, openStack, writeAndObserve } from './observed-stack.ts';

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
