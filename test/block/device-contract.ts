import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { type BlockDevice, IoFlags } from '../../src/block/block-device.ts';
import type { BufferArena } from '../../src/block/buffer-arena.ts';
import { DeviceError } from '../../src/block/device-error.ts';

/** One fresh device for one test. */
export interface ContractSubject {
  /** Writable, at least 256 KiB, of any content. */
  readonly device: BlockDevice;
  /** Where the tests take their buffers from; plain memory by default. */
  readonly arena?: BufferArena;
  /** Called after the device was closed; checks and removes what is left. */
  readonly dispose: () => Promise<void>;
}

/** Bytes of the device that the tests use. */
const areaBytes = 256 * 1024;

/**
 * What every `BlockDevice` promises, whatever it is made of. A room calls it with a factory of its own device:
 *
 *     describeBlockDevice('MemoryDevice', async () => ({ device: new MemoryDevice(…), dispose: async () => {} }));
 */
export function describeBlockDevice(name: string, factory: () => Promise<ContractSubject>): void {
  describe(`${name} keeps the contract of a block device`, () => {
    let subject: ContractSubject;
    let device: BlockDevice;
    let block: number;
    let taken: Uint8Array[];

    beforeEach(async () => {
      subject = await factory();
      device = subject.device;
      block = device.geometry.logicalBlockBytes;
      taken = [];
    });

    afterEach(async () => {
      await device.close();
      for (const buffer of taken) subject.arena?.release(buffer);
      assert.equal(subject.arena?.usedBytes ?? 0, 0, 'the device gave every buffer back');
      await subject.dispose();
    });

    function buffer(length: number): Uint8Array {
      if (subject.arena === undefined) return new Uint8Array(length);
      const piece = subject.arena.take(length, 'client');
      assert.ok(piece, 'the arena of the test is large enough');
      taken.push(piece);
      return piece;
    }

    function pattern(length: number, seed: number): Uint8Array {
      const bytes = buffer(length);
      for (let index = 0; index < length; index += 1)
        bytes[index] = (seed * 31 + index * 7 + (index >> 8)) & 0xff;
      return bytes;
    }

    async function readBack(offset: number, length: number): Promise<Uint8Array> {
      const target = buffer(length);
      target.fill(0xee);
      await device.read(target, offset);
      return target;
    }

    async function assertRejects(promise: Promise<unknown>, kind: string): Promise<void> {
      await assert.rejects(promise, (error: unknown) => {
        assert.ok(error instanceof DeviceError, `a DeviceError, not ${String(error)}`);
        assert.equal(error.kind, kind);
        assert.equal(error.code, `DEVICE_${kind.toUpperCase().replace('-', '_')}`);
        return true;
      });
    }

    it('has a geometry that fits itself', () => {
      const { sizeBytes, logicalBlockBytes, physicalBlockBytes } = device.geometry;
      assert.ok(Number.isSafeInteger(sizeBytes) && sizeBytes >= areaBytes);
      assert.equal(Math.log2(logicalBlockBytes) % 1, 0);
      assert.equal(Math.log2(physicalBlockBytes) % 1, 0);
      assert.ok(logicalBlockBytes >= 512 && physicalBlockBytes >= logicalBlockBytes);
      assert.equal(sizeBytes % logicalBlockBytes, 0);
      assert.ok(device.capabilities.write);
    });

    it('reads the bytes that were written, and no others change', async () => {
      const before = await readBack(0, block * 8);
      const written = pattern(block * 2, 1);
      await device.write(written, block * 3);
      const expected = Uint8Array.from(before);
      expected.set(written, block * 3);
      assert.deepEqual(await readBack(0, block * 8), expected);
    });

    it('serves its first and its last block', async () => {
      const last = device.geometry.sizeBytes - block;
      await device.write(pattern(block, 2), 0);
      await device.write(pattern(block, 3), last);
      assert.deepEqual(await readBack(0, block), pattern(block, 2));
      assert.deepEqual(await readBack(last, block), pattern(block, 3));
    });

    it('does not change the source of a write', async () => {
      const source = pattern(block * 4, 4);
      const copy = Uint8Array.from(source);
      await device.write(source, 0);
      assert.deepEqual(source, copy);
    });

    it('lets go of a buffer when its promise settles', async () => {
      const source = pattern(block, 5);
      await device.write(source, 0);
      source.fill(0xff);
      assert.deepEqual(await readBack(0, block), pattern(block, 5));
      const target = await readBack(0, block);
      await device.write(pattern(block, 6), 0);
      assert.deepEqual(target, pattern(block, 5));
    });

    it('serves a part of a larger buffer', async () => {
      const whole = pattern(block * 4, 7);
      await device.write(whole.subarray(block, block * 3), block * 5);
      assert.deepEqual(
        await readBack(block * 5, block * 2),
        Uint8Array.from(whole.subarray(block, block * 3)),
      );
      const target = buffer(block * 3);
      target.fill(0xee);
      await device.read(target.subarray(block, block * 2), block * 5);
      assert.ok(target.subarray(0, block).every((byte) => byte === 0xee));
      assert.deepEqual(target.slice(block, block * 2), whole.slice(block, block * 2));
      assert.ok(target.subarray(block * 2).every((byte) => byte === 0xee));
    });

    it('serves memory that does not start at a page', async () => {
      const odd = buffer(block + 3).subarray(3);
      odd.set(pattern(block, 8));
      await device.write(odd, block);
      odd.fill(0);
      await device.read(odd, block);
      assert.deepEqual(Uint8Array.from(odd), Uint8Array.from(pattern(block, 8)));
    });

    it('serves plain memory', async () => {
      const source = Uint8Array.from(pattern(areaBytes / 2, 9));
      await device.write(source, 0);
      const target = new Uint8Array(source.length);
      await device.read(target, 0);
      assert.deepEqual(target, source);
    });

    it('rejects what is empty, not aligned or outside, and touches nothing', async () => {
      const size = device.geometry.sizeBytes;
      await device.write(pattern(block * 2, 10), 0);
      const wrong: readonly (readonly [number, number])[] = [
        [0, 0],
        [1, block],
        [0, block + 1],
        [block / 2, block],
        [0, block / 2],
        [-block, block],
        [size, block],
        [size - block, block * 2],
        [Number.NaN, block],
        [Number.MAX_SAFE_INTEGER, block],
        [0.5, block],
      ];
      for (const [offset, length] of wrong) {
        await assertRejects(device.read(buffer(Math.max(1, length)).subarray(0, length), offset), 'invalid');
        await assertRejects(
          device.write(pattern(Math.max(1, length), 11).subarray(0, length), offset),
          'invalid',
        );
        await assertRejects(device.writeZeroes(offset, length), 'invalid');
        await assertRejects(device.discard(offset, length), 'invalid');
        await assertRejects(device.extents(offset, length), 'invalid');
      }
      assert.deepEqual(await readBack(0, block * 2), pattern(block * 2, 10));
    });

    it('names the range of a request that it rejects', async () => {
      await assert.rejects(device.read(buffer(block), device.geometry.sizeBytes), (error: unknown) => {
        assert.ok(error instanceof DeviceError);
        assert.deepEqual(
          error.ranges.map(({ offset, length }) => ({ offset, length })),
          [{ offset: device.geometry.sizeBytes, length: block }],
        );
        return true;
      });
    });

    it('takes flags that it does not know', async () => {
      await device.write(pattern(block, 12), 0, 1 << 20);
      const target = buffer(block);
      await device.read(target, 0, 1 << 20);
      assert.deepEqual(target, pattern(block, 12));
    });

    it('writes with FUA and in the background', async () => {
      await device.write(pattern(block, 13), 0, IoFlags.fua);
      await device.write(pattern(block, 14), block, IoFlags.background);
      await device.write(pattern(block, 15), block * 2, IoFlags.fua | IoFlags.background);
      assert.deepEqual(await readBack(0, block), pattern(block, 13));
      assert.deepEqual(await readBack(block, block), pattern(block, 14));
      assert.deepEqual(await readBack(block * 2, block), pattern(block, 15));
    });

    it('flushes, also twice at once and with nothing to flush', async () => {
      await device.flush();
      await device.write(pattern(block, 16), 0);
      await Promise.all([device.flush(), device.flush()]);
      assert.deepEqual(await readBack(0, block), pattern(block, 16));
    });

    it('writes zeroes where it says it can, exactly', async () => {
      if (!device.capabilities.writeZeroes) return;
      await device.write(pattern(block * 4, 17), 0);
      await device.writeZeroes(block, block * 2, IoFlags.keepAllocated);
      const expected = Uint8Array.from(pattern(block * 4, 17)).fill(0, block, block * 3);
      assert.deepEqual(await readBack(0, block * 4), expected);
    });

    it('discards where it says it can, and nothing outside changes', async () => {
      if (!device.capabilities.discard) return;
      await device.write(pattern(block * 4, 18), 0);
      await device.discard(block, block * 2);
      assert.deepEqual((await readBack(0, block)).slice(), pattern(block * 4, 18).slice(0, block));
      assert.deepEqual((await readBack(block * 3, block)).slice(), pattern(block * 4, 18).slice(block * 3));
    });

    it('names the state of a range, at least the beginning of it', async () => {
      const extents = await device.extents(0, areaBytes);
      assert.ok(extents.length >= 1);
      const covered = extents.reduce((sum, extent) => sum + extent.length, 0);
      assert.ok(extents.every((extent) => extent.length > 0) && covered <= areaBytes);
    });

    it('serves many requests at once, each with its own bytes', async () => {
      const count = 64;
      await Promise.all(
        Array.from({ length: count }, (_, index) => device.write(pattern(block, index), index * block)),
      );
      const reads = await Promise.all(
        Array.from({ length: count }, (_, index) => readBack(index * block, block)),
      );
      for (const [index, bytes] of reads.entries())
        assert.deepEqual(bytes, pattern(block, index), `block ${index}`);
    });

    it('behaves as an array of bytes under any sequence of requests', async () => {
      const model = new Uint8Array(areaBytes);
      const blocks = areaBytes / block;
      const range = fc
        .tuple(fc.nat(blocks - 1), fc.integer({ min: 1, max: 16 }))
        .map(([first, count]) => ({ first, count: Math.min(count, blocks - first) }));
      const step = fc.record({
        what: fc.constantFrom('read', 'write', 'fua', 'zero', 'flush'),
        range,
        fill: fc.integer({ min: 1, max: 255 }),
      });
      await device.write(new Uint8Array(areaBytes), 0);
      const scratch = buffer(block * 16);
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
          for (const { what, range: at, fill } of steps) {
            const [from, to] = [at.first * block, (at.first + at.count) * block];
            const bytes = scratch.subarray(0, to - from);
            if (what === 'flush') {
              await device.flush();
            } else if (what === 'read') {
              await device.read(bytes, from);
              assert.deepEqual(Buffer.compare(bytes, model.subarray(from, to)), 0, `bytes ${from} to ${to}`);
            } else if (what === 'zero') {
              if (!device.capabilities.writeZeroes) continue;
              await device.writeZeroes(from, to - from, IoFlags.keepAllocated);
              model.fill(0, from, to);
            } else {
              bytes.fill(fill);
              await device.write(bytes, from, what === 'fua' ? IoFlags.fua : IoFlags.none);
              model.fill(fill, from, to);
            }
          }
        }),
        { numRuns: 15 },
      );
      const whole = new Uint8Array(areaBytes);
      await device.read(whole, 0);
      assert.equal(Buffer.compare(whole, model), 0);
    });

    it('I6 I8 answers what was in flight when it closes, and nothing after', async () => {
      const written = pattern(block * 8, 19);
      const writing = device.write(written, 0);
      const reading = device.read(buffer(block), block * 9);
      const closing = device.close();
      const late = [
        assertRejects(device.read(buffer(block), 0), 'closed'),
        assertRejects(device.write(pattern(block, 20), 0), 'closed'),
        assertRejects(device.flush(), 'closed'),
        assertRejects(device.discard(0, block), 'closed'),
        assertRejects(device.writeZeroes(0, block), 'closed'),
        assertRejects(device.extents(0, block), 'closed'),
      ];
      await Promise.all([writing, reading, ...late]);
      await closing;
      await device.close();
      await assertRejects(device.flush(), 'closed');
    });
  });
}
