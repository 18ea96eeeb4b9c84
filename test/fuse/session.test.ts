import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockDevice, Capabilities } from '../../src/block/block-device.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { latencyCount } from '../../src/block/latency-histogram.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { FuseSession } from '../../src/fuse/session.ts';
import { TransmissionFlag } from '../../src/nbd/constants.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { DoubtfulDevice, FailingDevice, HeldDevice } from '../nbd/controlled-devices.ts';
import { settle } from '../nbd/manual-clock.ts';
import { type ServerFixture, withServer } from '../nbd/server-fixture.ts';
import { concat, quads, ScriptedKernel, words } from './scripted-kernel.ts';

const mebibyte = 1024 * 1024;
const [ENOENT, EIO, EINVAL, ENOSPC, EROFS, ENOSYS, EOPNOTSUPP, ESHUTDOWN] = [2, 5, 22, 28, 30, 38, 95, 108];
const [punchHole, zeroRange] = [3, 17];

/** Bytes that tell their place. */
function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + seed * 17 + (at >> 8)) & 0xff);
}

interface Bench {
  readonly kernel: ScriptedKernel;
  readonly fixture: ServerFixture;
  readonly ended: () => boolean;
}

/** A kernel that has the file open, and a server. At the end the kernel lets go; nothing is left. */
async function withKernel(
  device: BlockDevice,
  body: (bench: Bench) => Promise<void>,
  options: { readonly readOnly?: boolean; readonly arenaBytes?: number; readonly nbdClients?: number } = {},
): Promise<void> {
  const { arenaBytes } = options;
  await withServer({ device, ...(arenaBytes === undefined ? {} : { arenaBytes }) }, async (fixture) => {
    const kernel = new ScriptedKernel();
    let ended = false;
    const onEnd = (): void => {
      ended = true;
    };
    const isServed = fixture.server.serveOther((shared) => {
      const { transmissionFlags } = shared.exported;
      const readOnly = options.readOnly === true ? TransmissionFlag.readOnly : 0;
      const exported = { ...shared.exported, transmissionFlags: transmissionFlags | readOnly };
      return new FuseSession({ ...shared, exported, channel: kernel, onEnd });
    });
    assert.ok(isServed);
    const init = kernel.init();
    const open = kernel.open(options.readOnly === true ? 0 : 2);
    await settle();
    assert.equal(kernel.replyTo(init).errno, 0);
    assert.equal(kernel.replyTo(open).errno, 0);
    await body({ kernel, fixture, ended: () => ended });
    kernel.letGo();
    await settle();
    assert.equal(ended, true, 'the session ends with the kernel');
    assert.equal(kernel.closedCount > 0, true);
    assert.equal(fixture.server.clients, options.nbdClients ?? 0);
  });
}

function memory(sizeBytes = 2 * mebibyte): MemoryDevice {
  return new MemoryDevice({ name: 'disk', sizeBytes });
}

test('what is written is read back, from the device too', async () => {
  const device = memory();
  await withKernel(device, async ({ kernel, fixture }) => {
    const payload = pattern(8192, 1);
    const write = kernel.write(4096, payload);
    await settle();
    assert.deepEqual(kernel.replyTo(write), { unique: write, errno: 0, body: words(8192, 0) });
    assert.deepEqual(device.bytes.slice(4096, 12_288), payload);
    const read = kernel.read(4096, 8192);
    await settle();
    assert.deepEqual(kernel.replyTo(read).body, payload);
    const { counters } = fixture.server;
    assert.deepEqual([counters[NbdCounter.writes], counters[NbdCounter.reads]], [1, 1]);
  });
});

test('requests of the kernel are timed as those of any client', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withKernel(held, async ({ kernel, fixture }) => {
    const write = kernel.write(4096, pattern(4096, 1));
    const flush = kernel.fsync();
    await settle();
    fixture.clock.advance(1_500);
    held.releaseAll();
    await settle();
    assert.deepEqual([kernel.replyTo(write).errno, kernel.replyTo(flush).errno], [0, 0]);
    const { byKind } = fixture.server.latencies;
    const sums = [byKind.write.sumSeconds, byKind.flush.sumSeconds, byKind.read.sumSeconds];
    assert.deepEqual(sums, [1.5, 1.5, 0]);
    assert.equal(latencyCount(byKind.write.buckets()), 1);
  });
});

test('the largest transfer is served, in one piece', async () => {
  const device = memory();
  await withKernel(device, async ({ kernel }) => {
    const payload = pattern(mebibyte, 2);
    kernel.write(mebibyte, payload);
    await settle();
    const read = kernel.read(mebibyte, mebibyte);
    await settle();
    assert.deepEqual(kernel.replyTo(read).body, payload);
  });
});

test('numbers of requests come back as they were, all 64 bits', async () => {
  await withKernel(memory(), async ({ kernel }) => {
    for (const unique of [2n ** 64n - 1n, 0x8000_0000_0000_0001n, 0x1234_5678_9abc_def0n]) {
      kernel.ask(20, concat(quads(0), words(0, 0)), unique);
      await settle();
      assert.equal(kernel.replyTo(unique).errno, 0);
    }
  });
});

test('a file ends: reads over its end are short, writes over it have no room', async () => {
  await withKernel(memory(mebibyte), async ({ kernel }) => {
    const over = kernel.read(mebibyte - 512, 4096);
    const behind = kernel.read(mebibyte + 4096, 512);
    const write = kernel.write(mebibyte - 512, pattern(1024, 1));
    await settle();
    assert.equal(kernel.replyTo(over).body.length, 512);
    assert.deepEqual(kernel.replyTo(behind), { unique: behind, errno: 0, body: new Uint8Array(0) });
    assert.equal(kernel.replyTo(write).errno, ENOSPC);
  });
});

test('what does not fit the logical block, or is no request, is refused, and the next one is served', async () => {
  const device = new MemoryDevice({ name: 'disk', sizeBytes: mebibyte, logicalBlockBytes: 4096 });
  await withKernel(device, async ({ kernel }) => {
    const read = kernel.read(512, 512);
    const write = kernel.write(4096, pattern(512, 1));
    kernel.send(concat(words(41, 15), quads(99, 1, 0), words(0, 0), new Uint8Array(1)));
    const good = kernel.read(4096, 4096);
    await settle();
    assert.equal(kernel.replyTo(read).errno, EINVAL);
    assert.equal(kernel.replyTo(write).errno, EINVAL);
    assert.equal(kernel.replyTo(99n).errno, EINVAL);
    assert.equal(kernel.replyTo(good).errno, 0);
    assert.ok(device.bytes.every((byte) => byte === 0));
  });
});

test('a bad sector is EIO, the sector beside it is read', async () => {
  const device = new FailingDevice(memory(), 8192, 512);
  await withKernel(device, async ({ kernel, fixture }) => {
    const bad = kernel.read(4096, 8192);
    const good = kernel.read(4096, 4096);
    const write = kernel.write(8192, pattern(512, 1));
    await settle();
    assert.equal(kernel.replyTo(bad).errno, EIO);
    assert.equal(kernel.replyTo(good).errno, 0);
    assert.equal(kernel.replyTo(write).errno, EIO);
    assert.equal(device.failures, 2);
    assert.equal(fixture.server.counters[NbdCounter.errors], 2);
  });
});

test('R22: a sync is one flush of the device, asked for after every write that was answered', async () => {
  const device = new HeldDevice(memory());
  await withKernel(device, async ({ kernel }) => {
    const write = kernel.write(0, pattern(512, 1));
    await settle();
    device.releaseOne();
    await settle();
    assert.equal(kernel.replyTo(write).errno, 0);
    const sync = kernel.fsync();
    await settle();
    assert.deepEqual(device.calls, ['write 0 512', 'flush']);
    assert.equal(
      kernel.replies.filter(({ unique }) => unique === sync).length,
      0,
      'not before the device has',
    );
    device.releaseAll();
    await settle();
    assert.equal(kernel.replyTo(sync).errno, 0);
  });
});

test('R7: after a failed flush of somebody else the next sync fails, once', async () => {
  const device = new DoubtfulDevice(memory());
  await withKernel(device, async ({ kernel }) => {
    device.failedFlushes += 1;
    const write = kernel.write(0, pattern(512, 1));
    const first = kernel.fsync();
    await settle();
    const second = kernel.fsync();
    await settle();
    assert.deepEqual(
      [write, first, second].map((unique) => kernel.replyTo(unique).errno),
      [0, EIO, 0],
    );
  });
});

test('a punched hole reads as zeroes: the loop driver sends write-zeroes so', async () => {
  const held = new HeldDevice(memory());
  held.releaseAll();
  await withKernel(held, async ({ kernel }) => {
    kernel.write(0, pattern(16_384, 1));
    await settle();
    const hole = kernel.fallocate(punchHole, 4096, 4096);
    const zeroes = kernel.fallocate(zeroRange, 8192, 4096);
    const other = kernel.fallocate(0, 0, 4096);
    await settle();
    assert.deepEqual(held.calls.slice(1), ['zero 4096 4096', 'zero 8192 4096 keep']);
    assert.deepEqual(
      [hole, zeroes, other].map((unique) => kernel.replyTo(unique).errno),
      [0, 0, EOPNOTSUPP],
    );
  });
});

/** A disk that zeroes only by writing zeroes. */
class SlowZeroes extends FilterDevice {
  override get capabilities(): Capabilities {
    return { ...this.below.capabilities, fastZeroes: false };
  }
}

test('where zeroing is writing, there is neither discard nor write-zeroes', async () => {
  await withKernel(new SlowZeroes(memory()), async ({ kernel }) => {
    const statfs = kernel.ask(17);
    const hole = kernel.fallocate(punchHole, 0, 4096);
    await settle();
    assert.equal(kernel.replyTo(statfs).errno, EOPNOTSUPP);
    assert.equal(kernel.replyTo(hole).errno, EOPNOTSUPP);
  });
  await withKernel(memory(), async ({ kernel }) => {
    const statfs = kernel.ask(17);
    await settle();
    const fields = new DataView(kernel.replyTo(statfs).body.buffer);
    assert.equal(fields.getUint32(40, true), 512, 'the granularity of discards');
  });
});

test('a file that is only read: opening it to write, writes and holes are refused', async () => {
  const device = memory();
  await withKernel(
    device,
    async ({ kernel }) => {
      const open = kernel.open(2);
      const write = kernel.write(0, pattern(512, 1));
      const hole = kernel.fallocate(punchHole, 0, 4096);
      const read = kernel.read(0, 512);
      await settle();
      assert.equal(kernel.replyTo(open).errno, EROFS);
      assert.notEqual(kernel.replyTo(write).errno, 0);
      assert.notEqual(kernel.replyTo(hole).errno, 0);
      assert.equal(kernel.replyTo(read).errno, 0);
      assert.ok(device.bytes.every((byte) => byte === 0));
    },
    { readOnly: true },
  );
});

test('what a block device needs not is answered so that the kernel does not ask again', async () => {
  await withKernel(memory(), async ({ kernel }) => {
    const asked = [1, 22, 25, 18, 4, 46].map((opcode) => kernel.ask(opcode, new Uint8Array(96)));
    for (const silent of [2, 36, 42]) kernel.ask(silent, new Uint8Array(16));
    await settle();
    assert.deepEqual(
      asked.map((unique) => kernel.replyTo(unique).errno),
      [ENOENT, ENOSYS, ENOSYS, 0, ENOSYS, ENOSYS],
    );
    assert.equal(kernel.taken, 2 + 9);
    assert.equal(kernel.replies.length, 2 + 6, 'FORGET, INTERRUPT and BATCH_FORGET have no answer');
  });
});

test('a kernel that speaks another version is told so, and let go', async () => {
  await withServer({}, async ({ server }) => {
    const kernel = new ScriptedKernel();
    server.serveOther((shared) => new FuseSession({ ...shared, channel: kernel }));
    const init = kernel.init(7, 30);
    await settle();
    assert.equal(kernel.replyTo(init).errno, EOPNOTSUPP);
    assert.ok(kernel.closedCount > 0);
  });
});

test('R30: a suspended server takes nothing from the kernel until it goes on', async () => {
  await withKernel(memory(), async ({ kernel, fixture }) => {
    fixture.server.suspend();
    await settle();
    const taken = kernel.taken;
    const read = kernel.read(0, 512);
    const sync = kernel.fsync();
    await settle();
    // One may have been waited for when it was suspended.
    assert.ok(kernel.taken <= taken + 1);
    assert.ok(kernel.replies.every(({ unique }) => unique !== sync));
    fixture.server.resume();
    await settle();
    assert.deepEqual(
      [read, sync].map((unique) => kernel.replyTo(unique).errno),
      [0, 0],
    );
  });
});

test('R36: what has no memory waits in the kernel, and is served when there is some', async () => {
  const device = new HeldDevice(memory());
  await withKernel(
    device,
    async ({ kernel, fixture }) => {
      const reads = Array.from({ length: 8 }, () => kernel.read(0, mebibyte));
      await settle();
      assert.ok(device.calls.length < 8, `${device.calls.length} reads have memory`);
      assert.ok(fixture.arena.usedBytes <= fixture.arena.memory.byteLength);
      assert.ok(fixture.server.unanswered(0, 10).oldest.some(({ phase }) => phase === 'memory'));
      device.releaseAll();
      for (let round = 0; round < 10; round += 1) await settle();
      for (const unique of reads) assert.equal(kernel.replyTo(unique).body.length, mebibyte);
    },
    { arenaBytes: 4.5 * mebibyte },
  );
});

test('a server that closes answers what is under way, and refuses what comes', async () => {
  const device = new HeldDevice(memory());
  await withServer({ device }, async (fixture) => {
    const kernel = new ScriptedKernel();
    fixture.server.serveOther((shared) => new FuseSession({ ...shared, channel: kernel }));
    kernel.init();
    kernel.open();
    const write = kernel.write(0, pattern(512, 1));
    await settle();
    assert.equal(fixture.server.clients, 1);
    const closing = fixture.close(1_000);
    const late = kernel.read(0, 512);
    await settle();
    assert.equal(kernel.replyTo(late).errno, ESHUTDOWN);
    device.releaseAll();
    assert.equal(await closing, 0);
    assert.equal(kernel.replyTo(write).errno, 0);
    assert.ok(kernel.closedCount > 0);
  });
});

test('a kernel that lets go while the device works leaves nothing, and gets no answer any more', async () => {
  const device = new HeldDevice(memory());
  await withServer({ device }, async (fixture) => {
    const kernel = new ScriptedKernel();
    let ended = false;
    const onEnd = (): void => {
      ended = true;
    };
    fixture.server.serveOther((shared) => new FuseSession({ ...shared, channel: kernel, onEnd }));
    kernel.init();
    kernel.open();
    kernel.write(0, pattern(512, 1));
    kernel.read(0, 4096);
    await settle();
    kernel.letGo();
    await settle();
    assert.equal(fixture.server.clients, 0);
    assert.equal(ended, false, 'the device still has its memory');
    const before = kernel.replies.length;
    device.releaseAll();
    await settle();
    assert.equal(kernel.replies.length, before);
    assert.equal(ended, true);
  });
});

test('a write does not overtake an unanswered one of an NBD client on the same bytes', async () => {
  const device = new HeldDevice(memory());
  await withKernel(
    device,
    async ({ kernel, fixture }) => {
      const wire = await fixture.transmission();
      const header = new DataView(new ArrayBuffer(28));
      header.setUint32(0, 0x2560_9513);
      header.setUint16(6, 1);
      header.setUint32(24, 512);
      await wire.send(
        Buffer.from(header.buffer).toString('hex') + Buffer.from(pattern(512, 1)).toString('hex'),
      );
      await settle();
      kernel.write(0, pattern(512, 2));
      kernel.write(4096, pattern(512, 3));
      await settle();
      assert.deepEqual(device.calls, ['write 0 512', 'write 4096 512'], 'the one behind it waits');
      device.releaseAll();
      await settle();
      assert.deepEqual(device.calls, ['write 0 512', 'write 4096 512', 'write 0 512']);
      const read = kernel.read(0, 512);
      await settle();
      assert.deepEqual(kernel.replyTo(read).body, pattern(512, 2));
    },
    { nbdClients: 1 },
  );
});
