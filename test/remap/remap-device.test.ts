import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IoFlags } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { MessageError } from '../../src/remap/message/message-error.ts';
import { extentPiecesMax } from '../../src/remap/request/remapped-extents.ts';
import {
  failureOf,
  finish,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from './remap-stack.ts';

describe('flushes of the remap device', () => {
  it('R6 go to exactly those devices that have something to flush', async () => {
    const stack = makeStack();
    // What an earlier process left in main's cache: the first flush always goes there.
    await stack.clock.run(stack.device.flush());
    assert.deepEqual([stack.mainDisk.counts.flushes, stack.spareDisk.counts.flushes], [1, 0]);
    await stack.clock.run(stack.device.flush());
    assert.deepEqual([stack.mainDisk.counts.flushes, stack.spareDisk.counts.flushes], [1, 0]);
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'write' });
    await writeSectors(stack, 80, patternOf(80, 8));
    await stack.clock.run(stack.device.flush());
    const { flushes } = stack.spareDisk.counts;
    assert.equal(flushes, 1, 'by the relocation; the client’s flush found nothing unstable');
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    await stack.clock.run(stack.device.flush());
    assert.equal(stack.spareDisk.counts.flushes, flushes + 1);
    await writeSectors(stack, 80, patternOf(80, 8, 3), IoFlags.fua);
    await writeSectors(stack, 200, patternOf(200, 8, 3), IoFlags.fua);
    const before = stack.mainDisk.counts.flushes + stack.spareDisk.counts.flushes;
    await stack.clock.run(stack.device.flush());
    assert.equal(
      stack.mainDisk.counts.flushes + stack.spareDisk.counts.flushes,
      before,
      'FUA leaves nothing',
    );
    await finish(stack);
  });

  it('make main and slots durable', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 8, { on: 'write' });
    await writeSectors(stack, 76, patternOf(76, 16));
    await writeSectors(stack, 76, patternOf(76, 16, 2));
    await stack.clock.run(stack.device.flush());
    assert.equal(stack.mainDisk.unflushedSectorCount + stack.spareDisk.unflushedSectorCount, 0);
    const slot = stack.core.stateOf(10).slot * 4096;
    assert.deepEqual(stack.spareDisk.durableImage.slice(slot, slot + 4096), patternOf(80, 8, 2));
    assert.deepEqual(stack.mainDisk.durableImage.slice(76 * 512, 80 * 512), patternOf(76, 4, 2));
    await finish(stack);
  });

  it('R7 a failure of main is reported, and never retried into success for those who waited', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 8));
    stack.mainDisk.faults.failFlush('once');
    const first = stack.device.flush();
    const second = stack.device.flush();
    await writeWhileFlushing(stack);
    const late = stack.device.flush();
    const outcomes = await stack.clock.run(Promise.allSettled([first, second, late]));
    assert.equal(stack.mainDisk.faults.counts.flush, 1);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['rejected', 'rejected', 'rejected'],
    );
    assert.equal(stack.mainDisk.counts.flushes, 1);
    await stack.clock.run(stack.device.flush());
    assert.equal(stack.mainDisk.unflushedSectorCount, 0);
    await finish(stack);
  });

  it('a flush that fails behind a client’s back is reported to the next flush, once', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 8));
    stack.mainDisk.faults.failFlush('once');
    await assert.rejects(stack.clock.run(stack.core.mainFlush.flush()), DeviceError);
    await failureOf(stack.clock.run(stack.device.flush()));
    await stack.clock.run(stack.device.flush());
    await finish(stack);
  });
});

describe('closing the remap device', () => {
  it('I6, I8 drains what is in flight, flushes, closes the metadata, and refuses what comes later', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 16, { on: 'both' });
    let ended = 0;
    const requests = [
      stack.device.write(patternOf(64, 64), 64 * 512),
      stack.device.read(new Uint8Array(4096), 0),
      stack.device.write(patternOf(300, 8), 300 * 512),
    ].map((request) =>
      request.finally(() => {
        ended += 1;
      }),
    );
    assert.equal(stack.device.inFlight, 3, 'I7');
    const closing = stack.device.close();
    assert.equal(stack.device.close(), closing, 'idempotent');
    const refusals = [
      stack.device.read(new Uint8Array(512), 0),
      stack.device.write(new Uint8Array(512), 0),
      stack.device.flush(),
      stack.device.extents(0, 512),
    ];
    for (const refusal of refusals) assert.equal((await failureOf(refusal)).kind, 'closed');
    await assert.rejects(stack.device.message(['list']), MessageError);
    await stack.clock.run(closing);
    assert.equal(ended, 3, 'closed only after the last request');
    await Promise.all(requests);
    assert.equal(stack.mainDisk.unflushedSectorCount + stack.spareDisk.unflushedSectorCount, 0, 'flushed');
    await finish(stack);
  });

  it('I6 waits for the block that a message moves, and the message says what it left', async () => {
    const stack = makeStack();
    const moving = stack.device.message(['remap', '80', '64']);
    assert.equal(stack.device.inFlight, 1);
    await stack.clock.run(stack.device.close());
    assert.deepEqual((await moving).split('\n'), [
      'remapped 1 of 1 blocks of 4096 bytes',
      'stopped: the device is closing or being suspended',
      'next 88 56',
    ]);
    assert.equal(stack.core.table.totals().remappedGranules, 1);
    await finish(stack);
  });

  it('waits for marks that are stored in the background', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'read' });
    let release: () => void = () => {};
    stack.metadata.held = new Promise((resolve) => {
      release = resolve;
    });
    await stack.clock.run(failureOf(stack.device.read(new Uint8Array(512), 80 * 512)));
    const closing = stack.device.close();
    await stack.clock.runUntilIdle();
    assert.equal(stack.metadata.closes, 0);
    release();
    await stack.clock.run(closing);
    assert.equal(stack.metadata.replay().get(10)?.unreadable, 1);
    await finish(stack);
  });
});

describe('the remap device', () => {
  it('R11 refuses requests outside or not aligned, and sends nothing', async () => {
    const stack = makeStack();
    for (const [offset, length] of [
      [1, 512],
      [0, 100],
      [1 << 20, 512],
      [0, 0],
    ] as const) {
      const bytes = new Uint8Array(length);
      assert.equal((await failureOf(stack.device.read(bytes, offset))).kind, 'invalid');
      assert.equal((await failureOf(stack.device.write(bytes, offset))).kind, 'invalid');
    }
    assert.equal(stack.main.operations.length, 0);
    await finish(stack);
  });

  it('names healthy, remapped, unreadable and gone extents', async () => {
    const stack = makeStack();
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'both' });
    stack.mainDisk.faults.addBadSectors(96, 1, { on: 'read' });
    await writeSectors(stack, 80, patternOf(80, 8));
    await assert.rejects(readSectors(stack, 96, 1), DeviceError);
    const extents = await stack.device.extents(72 * 512, 32 * 512);
    assert.deepEqual(
      extents.map(({ length, state }) => `${state} ${length / 512}`),
      ['data 8', 'remapped 8', 'data 8', 'unreadable 1', 'data 7'],
    );
    stack.spareDisk.faults.addBadSectors(stack.core.stateOf(10).slot * 8 + 2, 2, { on: 'read' });
    await assert.rejects(readSectors(stack, 80, 8), DeviceError);
    const after = await stack.device.extents(80 * 512, 8 * 512);
    assert.deepEqual(
      after.map(({ length, state }) => `${state} ${length / 512}`),
      ['remapped 2', 'gone 2', 'remapped 4'],
    );
    await finish(stack);
  });

  it('covers less than asked where the map is dense, and the answers together are the map', async () => {
    const stack = makeStack({ mainBytes: 8 << 20, lostGranulesMax: 3000 });
    await writeSectors(stack, 0, patternOf(0, 16384));
    for (let granule = 0; granule < 1400; granule += 2) {
      stack.mainDisk.faults.addBadSectors(granule * 8, 1, { on: 'read' });
      await assert.rejects(readSectors(stack, granule * 8, 1), DeviceError);
    }
    let sector = 0;
    let answers = 0;
    while (sector < 16384) {
      const extents = await stack.device.extents(sector * 512, (16384 - sector) * 512);
      assert.ok(extents.length <= extentPiecesMax + 8);
      for (const { length, state } of extents) {
        for (const end = sector + length / 512; sector < end; sector += 1) {
          const bad = sector % 16 === 0 && sector < 1400 * 8;
          assert.equal(state, bad ? 'unreadable' : 'data', `sector ${sector}`);
        }
      }
      answers += 1;
    }
    assert.equal(answers, 2);
    await finish(stack);
  });

  it('messages: remap moves good blocks without a byte changed, list and lost and stats tell the table', async () => {
    const stack = makeStack();
    await writeSectors(stack, 80, patternOf(80, 16));
    assert.match(await stack.clock.run(stack.device.message(['remap', '85'])), /remapped 1 of 1/);
    assert.match(await stack.clock.run(stack.device.message(['remap', '80', '16'])), /remapped 1 of 2/);
    assert.deepEqual(await readSectors(stack, 80, 16), patternOf(80, 16));
    assert.deepEqual(remappedGranules(stack), [10, 11]);
    const slots = [10, 11].map((granule) => stack.core.stateOf(granule).slot * 8);
    assert.equal(
      await stack.device.message(['list', 'blocks']),
      `80 8 ${slots[0]} operator unverified\n88 8 ${slots[1]} operator unverified`,
    );
    assert.equal(slots[1], slots[0]! + 8, 'neighbours on the spare too');
    assert.equal(await stack.device.message(['list']), `80 16 ${slots[0]} operator unverified`);
    stack.mainDisk.faults.addBadSectors(200, 2, { on: 'read' });
    await assert.rejects(readSectors(stack, 200, 2), DeviceError);
    assert.equal(await stack.device.message(['lost']), '200 2 unreadable');
    await assert.rejects(
      stack.clock.run(stack.device.message(['remap', '208', '0'])),
      (error: unknown) => error instanceof MessageError && error.code === 'MESSAGE_INVALID',
    );
    await assert.rejects(stack.device.message(['remap', '2047', '2']), /leave the device/);
    await assert.rejects(stack.device.message(['frobnicate']), /unknown message/);
    assert.match(await stack.device.message(['stats']), /^remappedGranules 2$/m);
    await finish(stack);
  });

  it('R31 a remap by hand leaves the last slots to client writes', async () => {
    const stack = makeStack({ spareBytes: 32 * 4096 });
    const moving = stack.clock.run(stack.device.message(['remap', '0', String(16 * 8)]));
    await assert.rejects(moving, /spare-full/);
    assert.equal(remappedGranules(stack).length, 8);
    stack.mainDisk.faults.addBadSectors(800, 8 * 8, { on: 'write' });
    await writeSectors(stack, 800, patternOf(800, 64));
    assert.equal(remappedGranules(stack).length, 16);
    await finish(stack);
  });
});

/** Resolves when a write has settled while the flush before it has not. */
async function writeWhileFlushing(stack: Stack): Promise<void> {
  const before = stack.mainDisk.counts.settled;
  const writing = stack.device.write(patternOf(8, 8), 4096);
  await stack.clock.run(writing);
  assert.equal(stack.mainDisk.counts.settled, before + 1, 'the flush is still under way');
}
