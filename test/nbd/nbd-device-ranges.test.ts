import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type BlockDevice, type Extent, type ExtentState, IoFlags } from '../../src/block/block-device.ts';
import { DeviceError, deviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { extentsOfAllocation } from '../../src/nbd/allocation-extents.ts';
import { HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { Lab } from './remote-lab.ts';

const mebibyte = 1024 * 1024;

function memory(without: Partial<BlockDevice['capabilities']> = {}): MemoryDevice {
  const device = new MemoryDevice({ name: 'disk', sizeBytes: mebibyte });
  device.bytes.fill(0x77);
  Object.assign(device.capabilities, without);
  return device;
}

/** An open lab over a device that records its calls and holds none back. */
async function recorded(device: MemoryDevice): Promise<{ lab: Lab; calls: string[] }> {
  const held = new HeldDevice(device);
  held.releaseAll();
  return { lab: await Lab.open(held), calls: held.calls };
}

async function kindOf(request: Promise<unknown>): Promise<string> {
  return await request.then(
    () => 'ok',
    (error: unknown) => (error instanceof DeviceError ? error.kind : String(error)),
  );
}

describe('NbdDevice: trims, zeroes and the map', () => {
  it('sends them to the server, with their flags', async () => {
    const { lab, calls } = await recorded(memory());
    assert.deepEqual(
      [lab.disk.capabilities.discard, lab.disk.capabilities.writeZeroes, lab.disk.capabilities.fastZeroes],
      [true, true, true],
    );
    await lab.disk.discard(4096, 8192);
    await lab.disk.writeZeroes(0, 512, IoFlags.fua | IoFlags.keepAllocated | IoFlags.onlyIfFast);
    await lab.disk.writeZeroes(65536, 65536);
    assert.deepEqual(calls, ['discard 4096 8192', 'zero 0 512 fua keep fast', 'zero 65536 65536']);
    await lab.end();
  });

  it('M17 sends no trim that must leave the room allocated: the protocol cannot say so', async () => {
    const { lab, calls } = await recorded(memory());
    await lab.disk.discard(4096, 8192, IoFlags.keepAllocated);
    assert.deepEqual(calls, []);
    await lab.end();
  });

  it('writes zeros where the server does not zero, and trims nothing where it does not trim', async () => {
    const device = memory({ discard: false, writeZeroes: false });
    const { lab, calls } = await recorded(device);
    assert.deepEqual(
      [lab.disk.capabilities.discard, lab.disk.capabilities.writeZeroes, lab.disk.capabilities.fastZeroes],
      [false, true, false],
    );
    await lab.disk.discard(0, mebibyte);
    assert.equal(await kindOf(lab.disk.writeZeroes(0, 512, IoFlags.onlyIfFast)), 'unsupported');
    await lab.disk.writeZeroes(512, 128 * 1024, IoFlags.fua);
    assert.deepEqual(calls, ['write 512 65536 fua', 'write 66048 65536 fua']);
    const expected = new Uint8Array(mebibyte).fill(0x77).fill(0, 512, 512 + 128 * 1024);
    assert.deepEqual(device.bytes, expected);
    await lab.end();
  });

  it('a server that is connected to again and can less is not asked for more', async () => {
    const { lab } = await recorded(memory());
    const less = new Lab({ device: memory({ discard: false, writeZeroes: false }) });
    await lab.cut();
    lab.server = less.fixture;
    await lab.disk.reopen();
    await lab.disk.discard(0, 4096);
    await lab.disk.writeZeroes(0, 4096);
    assert.equal(await kindOf(lab.disk.writeZeroes(0, 4096, IoFlags.onlyIfFast)), 'unsupported');
    const target = new Uint8Array(8192);
    await lab.disk.read(target, 0);
    assert.deepEqual(target, new Uint8Array(8192).fill(0x77).fill(0, 0, 4096));
    await lab.disk.close();
    await less.fixture.end();
    await lab.fixture.end();
  });

  it('answers what the server says: ENOTSUP of a fast zeroing is no failure of the disk', async () => {
    class NotFast extends FilterDevice {
      override writeZeroes(offset: number, length: number): Promise<void> {
        return Promise.reject(deviceError(this.name, 'unsupported', offset, length));
      }
    }
    const lab = await Lab.open(new NotFast(memory()));
    assert.equal(await kindOf(lab.disk.writeZeroes(0, 512, IoFlags.onlyIfFast)), 'unsupported');
    assert.equal(await kindOf(lab.disk.writeZeroes(0, 512)), 'refused', 'EINVAL of a server');
    await lab.end();
  });

  it('tells the holes and zeros of the server, and data where it says nothing', async () => {
    class Sparse extends FilterDevice {
      override extents(offset: number, length: number): Promise<readonly Extent[]> {
        const all: readonly (readonly [number, ExtentState])[] = [
          [4096, 'data'],
          [4096, 'hole'],
          [4096, 'zero'],
          [512, 'gone'],
          [mebibyte, 'data'],
        ];
        let at = 0;
        const extents = all.flatMap(([extentLength, state]) => {
          const from = Math.max(at, offset);
          at += extentLength;
          return Math.min(at, offset + length) > from
            ? [{ length: Math.min(at, offset + length) - from, state }]
            : [];
        });
        return Promise.resolve(extents);
      }
    }
    const lab = await Lab.open(new Sparse(memory()));
    assert.deepEqual(await lab.disk.extents(0, mebibyte), [
      { length: 4096, state: 'data' },
      { length: 4096, state: 'hole' },
      { length: 4096, state: 'zero' },
      { length: mebibyte - 12288, state: 'data' },
    ]);
    await lab.end();
  });
});

describe('R33 trims and zeroes whose connection was lost', () => {
  for (const [name, send] of [
    ['discard', (disk: BlockDevice) => disk.discard(8192, 4096)],
    ['zero', (disk: BlockDevice) => disk.writeZeroes(8192, 4096)],
  ] as const) {
    it(`R33 ${name}: a write there is answered only when a flush behind it has succeeded`, async () => {
      const memoryDevice = memory();
      const held = new HeldDevice(memoryDevice);
      const lab = await Lab.open(held);
      const lost = kindOf(send(lab.disk));
      await settle();
      await lab.cut();
      assert.equal(await lost, 'path');
      await lab.disk.reopen();
      const write = kindOf(lab.disk.write(new Uint8Array(512).fill(5), 8704));
      const again = kindOf(send(lab.disk));
      const elsewhere = kindOf(lab.disk.write(new Uint8Array(512).fill(6), 0));
      await settle();
      assert.deepEqual(
        held.calls,
        [`${name} 8192 4096`, 'write 0 512'],
        'our server lets none overtake the lost one',
      );
      held.releaseOne();
      await settle();
      assert.deepEqual(held.calls.slice(2), ['write 8704 512']);
      held.releaseNewest();
      await settle();
      assert.deepEqual(held.calls.slice(3), ['flush'], 'the next change waits for its lock');
      held.releaseAll();
      assert.deepEqual(await Promise.all([write, again, elsewhere]), ['ok', 'ok', 'ok']);
      assert.deepEqual(held.calls.slice(4), [`${name} 8192 4096`]);
      await lab.end();
    });

    it(`R33 ${name}: sent again behind a lost write, it waits in the same way`, async () => {
      const held = new HeldDevice(memory());
      const lab = await Lab.open(held);
      const lost = kindOf(lab.disk.write(new Uint8Array(4096), 8192));
      await settle();
      await lab.cut();
      assert.equal(await lost, 'path');
      held.releaseAll();
      await lab.disk.reopen();
      held.calls.length = 0;
      assert.equal(await kindOf(send(lab.disk)), 'ok');
      assert.deepEqual(held.calls, [`${name} 8192 4096`, 'flush']);
      await lab.end();
    });
  }
});

describe('extentsOfAllocation', () => {
  it('any descriptors, any blocks: whole blocks, zeros only where all of a block is', () => {
    const descriptor = fc.record({
      length: fc.integer({ min: 1, max: 3000 }),
      flags: fc.constantFrom(0, 1, 2, 3),
    });
    fc.assert(
      fc.property(
        fc.array(descriptor, { minLength: 1, maxLength: 12 }),
        fc.constantFrom(512, 4096),
        fc.nat(20),
        fc.integer({ min: 1, max: 20 }),
        (descriptors, block, first, count) => {
          const offset = first * block;
          const length = count * block;
          const bytes: number[] = descriptors.flatMap((one) => new Array<number>(one.length).fill(one.flags));
          const extents = extentsOfAllocation(descriptors, offset, length, block);
          let at = 0;
          for (const [index, extent] of extents.entries()) {
            assert.ok(extent.length > 0 && extent.length % block === 0);
            assert.notEqual(extents[index + 1]?.state, extent.state);
            for (let byte = at; byte < at + extent.length && extent.state !== 'data'; byte += 1) {
              assert.equal(bytes[byte], extent.state === 'zero' ? 2 : 3);
            }
            at += extent.length;
          }
          assert.ok(at > 0 && at <= length);
          for (let start = 0; start + block <= Math.min(bytes.length, length); start += block) {
            const inside = new Set(bytes.slice(start, start + block));
            if (inside.size !== 1) continue;
            let end = 0;
            const extent = extents.find((one) => {
              end += one.length;
              return end > start;
            });
            const expected = { 0: 'data', 1: 'data', 2: 'zero', 3: 'hole' }[[...inside][0] ?? 0];
            assert.equal(extent?.state, expected);
          }
        },
      ),
    );
  });
});
