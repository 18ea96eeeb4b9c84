import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Geometry } from '../../src/block/block-device.ts';
import { deviceError } from '../../src/block/device-error.ts';
import type { FailureKind } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { DoubtfulDevice, HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import { replyHex, requestHex } from './wire-client.ts';

const [read, write, flush, trim, cache, zero] = [0, 1, 3, 4, 5, 6];
const [fua, noHole, fastZero] = [1, 2, 16];
const [EPERM, EIO, EINVAL, ENOSPC, ENOTSUP, ESHUTDOWN] = [1, 5, 22, 28, 95, 108];
const mebibyte = 1024 * 1024;

function memory(sizeBytes = mebibyte): MemoryDevice {
  const device = new MemoryDevice({ name: 'disk', sizeBytes });
  device.bytes.fill(0x77);
  return device;
}

/** Nothing but a size: 5 GiB take no memory. */
class HugeDevice extends FilterDevice {
  readonly calls: string[] = [];
  readonly #geometry = { sizeBytes: 5 * 2 ** 30, logicalBlockBytes: 512, physicalBlockBytes: 4096 };

  override get geometry(): Geometry {
    return this.#geometry;
  }

  override discard(offset: number, length: number): Promise<void> {
    this.calls.push(`discard ${offset} ${length}`);
    return Promise.resolve();
  }

  override writeZeroes(offset: number, length: number): Promise<void> {
    this.calls.push(`zero ${offset} ${length}`);
    return Promise.resolve();
  }
}

/** Fails both commands in one way. */
class RefusingDevice extends FilterDevice {
  kind: FailureKind = 'medium';

  override discard(offset: number, length: number): Promise<void> {
    return Promise.reject(deviceError(this.name, this.kind, offset, length));
  }

  override writeZeroes(offset: number, length: number): Promise<void> {
    return Promise.reject(deviceError(this.name, this.kind, offset, length));
  }
}

describe('TRIM, WRITE_ZEROES and CACHE', () => {
  it('reach the device with their ranges and flags, with simple and structured replies', async () => {
    for (const structured of [false, true]) {
      const device = memory();
      const held = new HeldDevice(device);
      held.releaseAll();
      await withServer({ device: held }, async (fixture) => {
        const wire = structured ? await fixture.structured() : await fixture.transmission();
        await wire.send(requestHex(trim, 1, 4096, 8192));
        await wire.expect(replyHex(1));
        await wire.send(requestHex(zero, 2, 65536, 4096));
        await wire.expect(replyHex(2));
        await wire.send(requestHex(zero, 3, 512, 512, { flags: noHole | fua | fastZero }));
        await wire.expect(replyHex(3));
        await wire.send(requestHex(cache, 4, 0, mebibyte));
        await wire.expect(replyHex(4));
        assert.deepEqual(held.calls, ['discard 4096 8192', 'zero 65536 4096', 'zero 512 512 fua keep fast']);
        assert.deepEqual(device.bytes.slice(65536, 65536 + 4096), new Uint8Array(4096));
        assert.equal(device.bytes[65536 + 4096], 0x77);
        const { counters } = fixture.server;
        assert.deepEqual(
          [
            NbdCounter.trims,
            NbdCounter.bytesTrimmed,
            NbdCounter.zeroes,
            NbdCounter.bytesZeroed,
            NbdCounter.caches,
          ].map((at) => counters[at]),
          [1, 8192, 2, 4608, 1],
        );
      });
    }
  });

  it('take lengths far above a payload, and no memory for them', async () => {
    const device = new HugeDevice(memory());
    await withServer({ device, arenaBytes: 640 * 1024 }, async (fixture) => {
      const wire = await fixture.transmission();
      const longest = 2 ** 32 - 512;
      const before = fixture.arena.usedBytes;
      await wire.send(requestHex(trim, 1, 512, longest));
      await wire.expect(replyHex(1));
      await wire.send(requestHex(zero, 2, 2 ** 30, longest));
      await wire.expect(replyHex(2));
      await wire.send(requestHex(cache, 3, 0, longest));
      await wire.expect(replyHex(3));
      assert.deepEqual(device.calls, [`discard 512 ${longest}`, `zero ${2 ** 30} ${longest}`]);
      assert.equal(fixture.arena.usedBytes, before);
    });
  });

  it('FUA makes a trim durable: a flush follows it, and its failure is the answer', async () => {
    const held = new HeldDevice(memory());
    await withServer({ device: held }, async (fixture) => {
      const wire = await fixture.transmission();
      await wire.send(requestHex(trim, 1, 0, 512, { flags: fua }));
      await settle();
      assert.deepEqual(held.calls, ['discard 0 512']);
      held.releaseOne();
      await settle();
      assert.deepEqual(held.calls, ['discard 0 512', 'flush']);
      held.releaseAll();
      await wire.expect(replyHex(1));
    });
    class FlushFails extends FilterDevice {
      override flush(): Promise<void> {
        return Promise.reject(deviceError(this.name, 'suspect', 0, 512));
      }
    }
    await withServer({ device: new FlushFails(memory()) }, async (fixture) => {
      const wire = await fixture.transmission();
      await wire.send(requestHex(trim, 1, 0, 512) + requestHex(trim, 2, 0, 512, { flags: fua }));
      await wire.expect(replyHex(1) + replyHex(2, EIO));
    });
  });

  it('R7 a failed flush is told with FUA of TRIM and WRITE_ZEROES too', async () => {
    const device = new DoubtfulDevice(memory());
    await withServer({ device }, async (fixture) => {
      for (const command of [trim, zero]) {
        const wire = await fixture.transmission();
        await settle();
        device.failedFlushes += 1;
        await wire.send(requestHex(command, 1, 0, 512));
        await wire.expect(replyHex(1));
        await wire.send(requestHex(command, 2, 0, 512, { flags: fua }));
        await wire.expect(replyHex(2, EIO));
        await wire.send(requestHex(command, 3, 0, 512, { flags: fua }));
        await wire.expect(replyHex(3));
      }
    });
  });

  const kinds: readonly (readonly [FailureKind, number])[] = [
    ['medium', EIO],
    ['path', EIO],
    ['no-space', ENOSPC],
    ['refused', EPERM],
    ['closed', ESHUTDOWN],
    ['unsupported', EINVAL],
  ];
  for (const [kind, errno] of kinds) {
    it(`answer ${errno} for a failure of kind ${kind}, in both styles`, async () => {
      const device = new RefusingDevice(memory());
      device.kind = kind;
      await withServer({ device }, async (fixture) => {
        for (const wire of [await fixture.transmission(), await fixture.structured()]) {
          await wire.send(requestHex(trim, 1, 0, 512));
          await wire.expect(replyHex(1, errno));
          await wire.send(requestHex(zero, 2, 0, 512));
          await wire.expect(replyHex(2, errno));
        }
        assert.equal(fixture.server.counters[NbdCounter.errors], 4);
      });
    });
  }

  it('R21 FAST_ZERO alone answers ENOTSUP', async () => {
    const device = new RefusingDevice(memory());
    device.kind = 'unsupported';
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.transmission();
      await wire.send(requestHex(zero, 1, 0, 512, { flags: fastZero }));
      await wire.expect(replyHex(1, ENOTSUP));
      await wire.send(requestHex(zero, 2, 0, 512));
      await wire.expect(replyHex(2, EINVAL));
    });
  });

  it('are refused with EPERM on a read-only export, whatever the device can', async () => {
    const held = new HeldDevice(memory());
    held.releaseAll();
    const moreExports = [{ name: 'raw', device: held, readOnly: true }];
    await withServer({ device: held, moreExports }, async (fixture) => {
      const wire = fixture.wire();
      await wire.receive(18);
      await wire.send(`00000003 49484156454f5054 00000001 00000003 726177`.replaceAll(' ', ''));
      await wire.receive(10);
      await wire.send(
        requestHex(trim, 1, 0, 512) + requestHex(zero, 2, 0, 512) + requestHex(cache, 3, 0, 512),
      );
      await wire.expect(replyHex(1, EPERM) + replyHex(2, EPERM) + replyHex(3));
      assert.deepEqual(held.calls, []);
    });
  });

  it('R3 are not overtaken by writes of another connection, and overtake none', async () => {
    for (const command of [trim, zero]) {
      const device = memory();
      const held = new HeldDevice(device);
      await withServer({ device: held }, async (fixture) => {
        const first = await fixture.transmission();
        const second = await fixture.transmission();
        const name = command === trim ? 'discard' : 'zero';
        const payload = new Uint8Array(512).fill(9);
        await first.send(requestHex(command, 1, 0, 4096));
        await settle();
        await second.send(requestHex(write, 2, 512, 512, { payload }) + requestHex(read, 3, 0, 512));
        await settle();
        assert.deepEqual(held.calls, [`${name} 0 4096`, 'read 0 512'], 'the write waits, a read does not');
        await first.stream.close();
        await settle();
        assert.equal(held.calls.length, 2, 'also when its connection is gone');
        held.releaseOne();
        await settle();
        assert.deepEqual(held.calls.slice(2), ['write 512 512']);
        const third = await fixture.transmission();
        await third.send(requestHex(command, 4, 512, 512) + requestHex(command, 5, 8192, 512));
        await settle();
        assert.deepEqual(held.calls.slice(3), [`${name} 8192 512`]);
        held.releaseAll();
        await third.expect(replyHex(5) + replyHex(4));
        await second.expect(replyHex(3));
        assert.deepEqual(device.bytes.slice(0, 1536), new Uint8Array(1536));
      });
    }
  });

  it('R22 a flush covers trims and zeroes that were answered before it', async () => {
    const held = new HeldDevice(memory());
    await withServer({ device: held }, async (fixture) => {
      const first = await fixture.transmission();
      const second = await fixture.transmission();
      for (const [command, offset] of [
        [trim, 0],
        [zero, 512],
      ] as const) {
        await first.send(requestHex(command, 1, offset, 512));
        await settle();
        held.releaseOne();
        await first.expect(replyHex(1));
      }
      await second.send(requestHex(flush, 3, 0, 0));
      await settle();
      assert.deepEqual(held.calls, ['discard 0 512', 'zero 512 512', 'flush']);
      held.releaseAll();
      await second.expect(replyHex(3));
    });
  });

  it('count as requests in flight, and hold up no others below the limit', async () => {
    const held = new HeldDevice(memory());
    await withServer({ device: held, limits: { requestsInFlightMax: 4 } }, async (fixture) => {
      const wire = await fixture.transmission();
      await wire.send([1, 2, 3].map((cookie) => requestHex(zero, cookie, cookie * 4096, 4096)).join(''));
      await wire.send(requestHex(read, 4, 0, 512) + requestHex(read, 5, 0, 512));
      await settle();
      assert.equal(held.calls.length, 4, 'the fifth waits for a place');
      held.releaseNewest();
      await wire.receive(16 + 512);
      await settle();
      assert.equal(held.calls.length, 5);
      held.releaseAll();
      await wire.receive(3 * 16 + 16 + 512);
    });
  });
});
