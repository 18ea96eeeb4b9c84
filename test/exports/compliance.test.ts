import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { deviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { missingForMounts } from '../end-to-end/foreign-tool.ts';
import { byFuse, byLibrary, byNbd, type ExportedDisk } from './exported-disk.ts';

const mebibyte = 1024 * 1024;
const sizeBytes = 4 * mebibyte;

/** What every way to a device must do alike. The device below counts, and fails as it is told. */
class JudgedDevice extends FilterDevice {
  /** In the order of their end. */
  readonly done: string[] = [];
  badOffset = -1;
  flushFails = false;

  override async read(target: Uint8Array, offset: number): Promise<void> {
    await this.below.read(target, offset);
    if (this.#isBad(offset, target.length)) throw deviceError(this.name, 'medium', this.badOffset, 512);
    this.done.push('read');
  }

  override async write(source: Uint8Array, offset: number): Promise<void> {
    if (this.#isBad(offset, source.length)) throw deviceError(this.name, 'medium', this.badOffset, 512);
    await this.below.write(source, offset);
    this.done.push('write');
  }

  override async flush(): Promise<void> {
    if (this.flushFails) throw deviceError(this.name, 'suspect', 0, sizeBytes);
    await this.below.flush();
    this.done.push('flush');
  }

  #isBad(offset: number, length: number): boolean {
    return this.badOffset >= offset && this.badOffset < offset + length;
  }
}

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + seed * 17 + (at >> 8)) & 0xff);
}

interface Subject {
  readonly device: JudgedDevice;
  readonly memory: MemoryDevice;
  readonly disk: ExportedDisk;
}

function complies(
  name: string,
  connect: (device: BlockDevice) => Promise<ExportedDisk>,
  skip: string | false,
): void {
  async function use(body: (subject: Subject) => Promise<void>, logicalBlockBytes = 512): Promise<void> {
    const memory = new MemoryDevice({ name: 'disk', sizeBytes, logicalBlockBytes });
    const device = new JudgedDevice(memory);
    const disk = await connect(device);
    try {
      await body({ device, memory, disk });
    } finally {
      await disk.close();
    }
  }

  describe(`the export compliance suite: ${name}`, { skip }, () => {
    test('it has the size of the device', () =>
      use(async ({ disk }) => {
        assert.equal(disk.sizeBytes, sizeBytes);
        await assert.rejects(disk.read(sizeBytes, 4096));
        await assert.rejects(disk.write(new Uint8Array(4096), sizeBytes));
      }));

    for (const blockBytes of [512, 4096]) {
      test(`writes, zeroes and reads are the device's, in blocks of ${blockBytes}`, () =>
        use(async ({ disk, memory }) => {
          const blocks = sizeBytes / blockBytes;
          const place = fc.tuple(fc.nat(blocks - 65), fc.integer({ min: 1, max: 64 }), fc.nat(255));
          const step = fc.record({ kind: fc.constantFrom('write', 'write', 'zero', 'read'), place });
          const model = new Uint8Array(sizeBytes);
          for (const { kind, place: at } of fc.sample(step, 60)) {
            const [offset, length] = [at[0] * blockBytes, at[1] * blockBytes];
            const bytes = kind === 'zero' ? new Uint8Array(length) : pattern(length, at[2]);
            if (kind === 'read') {
              assert.deepEqual(await disk.read(offset, length), model.slice(offset, offset + length));
              continue;
            }
            await (kind === 'zero' ? disk.zero(offset, length) : disk.write(bytes, offset));
            model.set(bytes, offset);
          }
          assert.deepEqual(memory.bytes, model);
          assert.deepEqual(await disk.read(0, sizeBytes), model, 'in one piece');
        }, blockBytes));
    }

    test('many at once, each its own bytes', () =>
      use(async ({ disk, memory }) => {
        const count = 64;
        const length = sizeBytes / count;
        const all = Array.from({ length: count }, (_, index) => index);
        await Promise.all(all.map((index) => disk.write(pattern(length, index), index * length)));
        const read = await Promise.all(all.map((index) => disk.read(index * length, length)));
        for (const index of all) {
          assert.deepEqual(read[index], pattern(length, index));
          assert.deepEqual(memory.bytes.slice(index * length, (index + 1) * length), pattern(length, index));
        }
      }));

    test('a flush is done by the device, behind the writes that were answered', () =>
      use(async ({ disk, device }) => {
        for (let round = 1; round <= 3; round += 1) {
          await disk.write(pattern(4096, round), 0);
          assert.equal(
            device.done.filter((call) => call === 'flush').length,
            round - 1,
            'not before it is asked for',
          );
          await disk.flush();
          assert.equal(device.done.at(-1), 'flush');
          assert.equal(device.done.filter((call) => call === 'flush').length, round);
        }
      }));

    test('a flush that fails is told, and the next one is asked for again', () =>
      use(async ({ disk, device }) => {
        await disk.write(pattern(4096, 1), 0);
        device.flushFails = true;
        await assert.rejects(disk.flush());
        await assert.rejects(disk.flush());
        device.flushFails = false;
        await disk.flush();
        assert.equal(device.done.at(-1), 'flush');
      }));

    test('a bad sector fails the reads and writes that touch it, and no others', () =>
      use(async ({ disk, device, memory }) => {
        await disk.write(pattern(65_536, 7), 0);
        device.badOffset = 8192;
        await assert.rejects(disk.read(8192, 512));
        await assert.rejects(disk.read(4096, 8192));
        await assert.rejects(disk.write(pattern(512, 1), 8192));
        assert.deepEqual(await disk.read(8704, 4096), pattern(65_536, 7).slice(8704, 12_800));
        assert.deepEqual(await disk.read(0, 8192), pattern(65_536, 7).slice(0, 8192));
        await disk.write(pattern(512, 9), 8704);
        assert.deepEqual(memory.bytes.slice(8704, 9216), pattern(512, 9));
        device.badOffset = -1;
        assert.deepEqual(
          await disk.read(8192, 512),
          pattern(65_536, 7).slice(8192, 8704),
          'it is not remembered',
        );
      }));
  });
}

complies('library', byLibrary, false);
complies('NBD', byNbd, false);
complies('FUSE', byFuse, missingForMounts());
