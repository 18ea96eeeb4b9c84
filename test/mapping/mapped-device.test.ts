import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type BlockDevice, sectorBytes } from '../../src/block/block-device.ts';
import { DeviceError, deviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../src/mapping/mapped-device.ts';
import { TargetRegistry } from '../../src/mapping/registry.ts';
import type { Target, TargetType } from '../../src/mapping/target.ts';
import { TargetError } from '../../src/mapping/target-error.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import { linearTargetType } from '../../src/targets/linear-target.ts';
import { standardRegistry } from '../fixtures/standard-registry.ts';

const registry = standardRegistry();

/** Counts openings and closings of named devices. */
class Shelf {
  readonly #devices: ReadonlyMap<string, BlockDevice>;
  readonly opened: string[] = [];
  readonly closed: string[] = [];

  constructor(devices: Readonly<Record<string, BlockDevice>>) {
    this.#devices = new Map(Object.entries(devices));
  }

  readonly open = (path: string): Promise<BlockDevice> => {
    const device = this.#devices.get(path);
    if (device === undefined)
      return Promise.reject(new TargetError('TARGET_DEVICE', `${path}: no such device`));
    this.opened.push(path);
    const { closed } = this;
    class Closing extends FilterDevice {
      override close(): Promise<void> {
        closed.push(path);
        return super.close();
      }
    }
    return Promise.resolve(new Closing(device));
  };
}

function memory(sectors: number, options: { name?: string; logicalBlockBytes?: number } = {}): MemoryDevice {
  return new MemoryDevice({ sizeBytes: sectors * sectorBytes, ...options });
}

function mapped(table: string, devices: Readonly<Record<string, BlockDevice>>): Promise<MappedDevice> {
  return createMappedDevice({ name: 'mapped', table, registry, openDevice: new Shelf(devices).open });
}

/** A target that does nothing but note what is asked of its life. */
function ownTargetType(calls: string[]): TargetType {
  const note = (call: string) => () => {
    calls.push(call);
    return Promise.resolve();
  };
  const target: Target = {
    logicalBlockBytes: 512,
    physicalBlockBytes: 512,
    capabilities: memory(1).capabilities,
    devices: [],
    flushBypassesMap: false,
    flush: note('flush'),
    resume: note('resume'),
    dtr: note('dtr'),
    read: note('read'),
    write: note('write'),
    discard: note('discard'),
    writeZeroes: note('writeZeroes'),
    extents: () => Promise.resolve([]),
    message: () => Promise.resolve(''),
    status: () => '',
  };
  const ctr = () => Promise.resolve({ ...target });
  return { name: 'own', usage: '', argumentCountMin: 0, argumentCountMax: 0, ctr };
}

async function failureOf(promise: Promise<unknown>): Promise<DeviceError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof DeviceError, String(error));
    return error;
  }
  return assert.fail('it did not fail');
}

describe('MappedDevice: data', () => {
  it('agrees with a plain array of bytes over any table of linear segments', async () => {
    const total = 48;
    const cut = fc.uniqueArray(fc.integer({ min: 1, max: total - 1 }), { maxLength: 6 });
    const request = fc.record({
      write: fc.boolean(),
      sector: fc.nat(total - 1),
      count: fc.integer({ min: 1, max: total }),
      fill: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(cut, fc.array(request, { maxLength: 12 }), async (cuts, requests) => {
        const bounds = [0, ...cuts.toSorted((left, right) => left - right), total];
        const below = [memory(total), memory(total)];
        // Segments alternate between two devices, in reverse order of place.
        const lines = bounds.slice(0, -1).map((start, index) => {
          const count = bounds[index + 1]! - start;
          return `${start} ${count} linear /dev/${index % 2} ${total - start - count}`;
        });
        const device = await mapped(lines.join('\n'), { '/dev/0': below[0]!, '/dev/1': below[1]! });
        const model = new Uint8Array(total * sectorBytes);
        for (const { write, sector, count, fill } of requests) {
          const offset = sector * sectorBytes;
          const length = Math.min(count, total - sector) * sectorBytes;
          if (write) {
            const source = new Uint8Array(length).map((_, index) => (fill + index) & 0xff);
            const copy = source.slice();
            await device.write(source, offset);
            model.set(copy, offset);
            assert.deepEqual(source, copy, 'I9 the source is never changed');
          } else {
            const target = new Uint8Array(length);
            await device.read(target, offset);
            assert.deepEqual(target, model.subarray(offset, offset + length));
          }
        }
        bounds.slice(0, -1).forEach((start, index) => {
          const count = bounds[index + 1]! - start;
          const place = (total - start - count) * sectorBytes;
          assert.deepEqual(
            below[index % 2]!.bytes.subarray(place, place + count * sectorBytes),
            model.subarray(start * sectorBytes, (start + count) * sectorBytes),
          );
        });
      }),
      { numRuns: 100 },
    );
  });

  it('I9 delivers the good parts of a request over three segments, and names exactly the bad one', async () => {
    const left = memory(8);
    const right = memory(8);
    left.bytes.fill(0x11);
    right.bytes.fill(0x22);
    const table = '0 8 linear /dev/left 0\n8 3 error\n11 8 linear /dev/right 0';
    const device = await mapped(table, { '/dev/left': left, '/dev/right': right });
    const expected = [{ offset: 8 * 512, length: 3 * 512, kind: 'suspect', errno: Errno.EIO }];

    const target = new Uint8Array(13 * sectorBytes).fill(0xcc);
    const readError = await failureOf(device.read(target, 4 * sectorBytes));
    assert.deepEqual(readError.ranges, expected);
    assert.equal(readError.device, 'mapped');
    assert.ok(target.subarray(0, 4 * 512).every((byte) => byte === 0x11));
    assert.ok(target.subarray(7 * 512).every((byte) => byte === 0x22));

    const source = new Uint8Array(13 * sectorBytes).fill(0x33);
    assert.deepEqual((await failureOf(device.write(source, 4 * sectorBytes))).ranges, expected);
    assert.ok(left.bytes.subarray(4 * 512).every((byte) => byte === 0x33));
    assert.ok(right.bytes.subarray(0, 6 * 512).every((byte) => byte === 0x33));
    assert.ok(right.bytes.subarray(6 * 512).every((byte) => byte === 0x22));

    assert.deepEqual((await failureOf(device.writeZeroes(4 * 512, 13 * 512))).ranges, expected);
    assert.ok(left.bytes.subarray(4 * 512).every((byte) => byte === 0));
    assert.deepEqual((await failureOf(device.discard(4 * 512, 13 * 512))).ranges, expected);
  });

  it('names the bytes of the whole device when one segment fails on its own', async () => {
    const device = await mapped('0 8 linear /dev/a 0\n8 8 error', { '/dev/a': memory(8) });
    const expected = [{ offset: 10 * 512, length: 1024, kind: 'suspect', errno: Errno.EIO }];
    for (const request of [
      device.read(new Uint8Array(1024), 10 * 512),
      device.write(new Uint8Array(1024), 10 * 512),
      device.writeZeroes(10 * 512, 1024),
      device.discard(10 * 512, 1024),
    ]) {
      assert.deepEqual((await failureOf(request)).ranges, expected);
    }
  });

  it('names every failed range in ascending order, neighbours joined', async () => {
    const device = await mapped('0 2 error\n2 2 linear /dev/a 0\n4 1 error\n5 3 error', {
      '/dev/a': memory(2),
    });
    const error = await failureOf(device.read(new Uint8Array(8 * 512), 0));
    assert.deepEqual(
      error.ranges.map((range) => [range.offset / 512, range.length / 512]),
      [
        [0, 2],
        [4, 4],
      ],
    );
  });

  it('waits for every part before it answers: until then the buffer is lent', async () => {
    let release = () => {};
    class Slow extends FilterDevice {
      override read(target: Uint8Array, offset: number): Promise<void> {
        return new Promise<void>((resolve) => {
          release = resolve;
        }).then(() => super.read(target, offset));
      }
    }
    const device = await mapped('0 1 error\n1 1 linear /dev/slow 0', { '/dev/slow': new Slow(memory(1)) });
    let settled = false;
    const reading = failureOf(device.read(new Uint8Array(1024), 0)).then((error) => {
      settled = true;
      return error;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(settled, false);
    release();
    assert.equal((await reading).ranges.length, 1);
  });

  it('lets a bug through as a bug, from one segment and from several', async () => {
    class Broken extends FilterDevice {
      override read(): Promise<void> {
        return Promise.reject(new RangeError('a bug'));
      }
    }
    const device = await mapped('0 1 error\n1 1 linear /dev/a 0', { '/dev/a': new Broken(memory(1)) });
    await assert.rejects(device.read(new Uint8Array(1024), 0), RangeError);
    await assert.rejects(device.read(new Uint8Array(512), 512), RangeError);
  });

  it('returns the very promise of the device for a request inside one segment at offset 0', async () => {
    const answer = Promise.resolve();
    class Marked extends FilterDevice {
      override read(): Promise<void> {
        return answer;
      }
    }
    const device = await mapped('0 8 linear /dev/a 0\n8 8 error', { '/dev/a': new Marked(memory(8)) });
    assert.equal(device.read(new Uint8Array(512), 0), answer);
    assert.equal(device.read(new Uint8Array(8 * 512), 0), answer);
  });

  it('rejects what leaves the device or is not whole blocks, and touches nothing', async () => {
    const below = new RecordingDevice(memory(16, { logicalBlockBytes: 4096 }), new OperationCounter());
    const device = await mapped('0 16 linear /dev/a 0', { '/dev/a': below });
    assert.equal((await failureOf(device.read(new Uint8Array(512), 0))).kind, 'invalid');
    assert.equal((await failureOf(device.write(new Uint8Array(4096), 512))).kind, 'invalid');
    assert.equal((await failureOf(device.discard(8192, 4096))).kind, 'invalid');
    assert.equal((await failureOf(device.extents(0, 0))).kind, 'invalid');
    assert.equal(below.operations.length, 0);
  });
});

describe('MappedDevice: shape', () => {
  it('takes the largest blocks of its segments and the size of the table', async () => {
    const device = await mapped('0 8 linear /dev/a 0\n8 16 linear /dev/b 0', {
      '/dev/a': memory(8),
      '/dev/b': memory(16, { logicalBlockBytes: 4096 }),
    });
    assert.deepEqual(device.geometry, {
      sizeBytes: 24 * 512,
      logicalBlockBytes: 4096,
      physicalBlockBytes: 4096,
    });
  });

  it('refuses segments that are not whole logical blocks', async () => {
    const devices = { '/dev/a': memory(8), '/dev/b': memory(16, { logicalBlockBytes: 4096 }) };
    await assert.rejects(mapped('0 7 linear /dev/a 0\n7 8 linear /dev/b 0', devices), (error: unknown) => {
      assert.ok(error instanceof TargetError);
      assert.equal(error.code, 'TABLE_ALIGNMENT');
      assert.match(error.message, /segment 0 7 linear \/dev\/a 0 is not whole logical blocks of 4096 bytes/);
      return true;
    });
  });

  it('can what all its segments can; an error segment takes nothing away', async () => {
    class Poor extends FilterDevice {
      override get capabilities() {
        return { ...super.capabilities, discard: false, rotational: true };
      }
    }
    const table = '0 8 linear /dev/a 0\n8 8 error';
    const rich = await mapped(table, { '/dev/a': memory(8) });
    assert.deepEqual(rich.capabilities, memory(8).capabilities);
    const poor = await mapped(table, { '/dev/a': new Poor(memory(8)) });
    assert.deepEqual(poor.capabilities, { ...memory(8).capabilities, discard: false, rotational: true });
  });

  it('prints its lines as dmsetup does', async () => {
    const device = await mapped('0 8 linear /dev/a\\ b 4\n8 2 error\n10 8 dust /dev/c 0 512', {
      '/dev/a b': memory(16),
      '/dev/c': memory(16),
    });
    assert.deepEqual(device.status('table'), [
      '0 8 linear /dev/a\\ b 4',
      '8 2 error',
      '10 8 dust /dev/c 0 512',
    ]);
    assert.deepEqual(device.status('info'), ['0 8 linear', '8 2 error', '10 8 dust /dev/c bypass verbose']);
  });

  it('sends a message to the target at a sector, and gives its reply', async () => {
    const device = await mapped('0 8 dust /dev/a 0 512\n8 8 dust /dev/b 0 512', {
      '/dev/a': memory(8),
      '/dev/b': memory(8),
    });
    assert.equal(await device.message(15, ['addbadblock', '3']), '');
    assert.equal(await device.message(8, ['countbadblocks']), 'countbadblocks: 1 badblock(s) found');
    assert.equal(await device.message(7, ['countbadblocks']), 'countbadblocks: 0 badblock(s) found');
    for (const sector of [16, -1, 0.5, Number.NaN]) {
      await assert.rejects(device.message(sector, ['enable']), /outside the device of 16 sectors/);
    }
    await assert.rejects(device.message(0, []), /empty/);
  });

  it('gives the extents of the first segment that a range touches', async () => {
    const device = await mapped('0 8 linear /dev/a 0\n8 8 error', { '/dev/a': memory(8) });
    assert.deepEqual(await device.extents(4 * 512, 8 * 512), [{ length: 4 * 512, state: 'data' }]);
  });
});

describe('MappedDevice: flush and close', () => {
  it('flushes every distinct device once, however many segments it has', async () => {
    const counter = new OperationCounter();
    const first = new RecordingDevice(memory(16), counter);
    const second = new RecordingDevice(memory(16), counter);
    const table = '0 4 linear /dev/a 0\n4 4 linear /dev/b 0\n8 4 error\n12 4 linear /dev/a 8';
    const device = await mapped(table, { '/dev/a': first, '/dev/b': second });
    await device.flush();
    for (const { operations } of [first, second]) {
      assert.deepEqual(
        operations.map(({ kind, phase }) => `${kind} ${phase}`),
        ['flush submit', 'flush settle'],
      );
    }
  });

  it('fails a flush when one device does, after all have answered, for the whole of itself', async () => {
    class Failing extends FilterDevice {
      override flush(): Promise<void> {
        return Promise.reject(deviceError('below', 'path', 0, 512, Errno.ENODEV));
      }
    }
    const good = new RecordingDevice(memory(8), new OperationCounter());
    const device = await mapped('0 8 linear /dev/bad 0\n8 8 linear /dev/good 0', {
      '/dev/bad': new Failing(memory(8)),
      '/dev/good': good,
    });
    const error = await failureOf(device.flush());
    assert.deepEqual(error.ranges, [{ offset: 0, length: 16 * 512, kind: 'path', errno: Errno.ENODEV }]);
    assert.equal(good.operations.length, 2);
  });

  it('asks a target that flushes in its own way', async () => {
    const calls: string[] = [];
    const device = await createMappedDevice({
      name: 'mapped',
      table: '0 1 own\n1 1 own',
      registry: new TargetRegistry([ownTargetType(calls)]),
      openDevice: new Shelf({}).open,
    });
    await device.flush();
    assert.deepEqual(calls, ['resume', 'resume', 'flush', 'flush']);
  });

  it('resumes each target before the first request, and ends each of them before its devices', async () => {
    const calls: string[] = [];
    class Closing extends FilterDevice {
      override close(): Promise<void> {
        calls.push('close');
        return super.close();
      }
    }
    const options = {
      name: 'mapped',
      registry: new TargetRegistry([ownTargetType(calls), linearTargetType]),
      openDevice: new Shelf({ '/dev/a': new Closing(memory(1)) }).open,
    };
    const device = await createMappedDevice({ ...options, table: '0 1 linear /dev/a 0\n1 1 own' });
    await device.close();
    assert.deepEqual(calls, ['resume', 'dtr', 'close']);
    calls.length = 0;
    const refused = createMappedDevice({
      ...options,
      table: '0 1 own\n1 1 linear /dev/a 0\n2 1 linear /dev/b 0',
    });
    await assert.rejects(refused, /no such device/);
    assert.deepEqual(calls, ['dtr', 'close']);
  });

  it('R32 opens every disk below again that can be, and says when one is not there', async () => {
    const opened: string[] = [];
    let away = true;
    class Pluggable extends FilterDevice {
      override readonly reopen = (): Promise<void> => {
        opened.push(this.name);
        return away
          ? Promise.reject(deviceError(this.name, 'path', 0, 512, Errno.ENODEV))
          : Promise.resolve();
      };
    }
    const device = await mapped('0 8 linear /dev/a 0\n8 8 linear /dev/b 0', {
      '/dev/a': new Pluggable(memory(8)),
      '/dev/b': memory(8),
    });
    assert.ok(device.reopen !== undefined);
    const error = await failureOf(device.reopen());
    assert.deepEqual(error.ranges, [{ offset: 0, length: 16 * 512, kind: 'path', errno: Errno.ENODEV }]);
    away = false;
    await device.reopen();
    assert.equal(opened.length, 2);
    const without = await mapped('0 8 linear /dev/b 0', { '/dev/b': memory(8) });
    assert.equal(without.reopen, undefined);
  });

  it('R3 waits for late writes of every disk below that gives up on them', async () => {
    const asked: string[] = [];
    class Late extends FilterDevice {
      override readonly drained = (offset: number, length: number): Promise<void> => {
        asked.push(`${this.name} ${offset} ${length}`);
        return Promise.resolve();
      };
    }
    const device = await mapped('0 8 linear /dev/a 0\n8 8 linear /dev/b 0', {
      '/dev/a': new Late(memory(8)),
      '/dev/b': memory(8),
    });
    assert.ok(device.drained !== undefined);
    await device.drained(0, 512);
    assert.equal(asked.length, 1);
    assert.match(asked[0]!, / 0 4096$/);
    const without = await mapped('0 8 linear /dev/b 0', { '/dev/b': memory(8) });
    assert.equal(without.drained, undefined);
  });

  it('I6 opens each path once, closes it once, and refuses requests from the call of close on', async () => {
    const shelf = new Shelf({ '/dev/a': memory(16), '/dev/b': memory(16) });
    const table = '0 4 linear /dev/a 0\n4 4 linear /dev/b 0\n8 4 dust /dev/a 8 512';
    const device = await createMappedDevice({ name: 'mapped', table, registry, openDevice: shelf.open });
    assert.deepEqual(shelf.opened, ['/dev/a', '/dev/b']);
    const closing = device.close();
    for (const refused of [
      device.read(new Uint8Array(512), 0),
      device.write(new Uint8Array(512), 0),
      device.flush(),
      device.discard(0, 512),
      device.writeZeroes(0, 512),
      device.extents(0, 512),
    ]) {
      assert.equal((await failureOf(refused)).kind, 'closed');
    }
    await closing;
    await device.close();
    assert.deepEqual(shelf.closed.toSorted(), ['/dev/a', '/dev/b']);
  });

  it('closes what it opened when a later line cannot be made', async () => {
    const shelf = new Shelf({ '/dev/a': memory(16) });
    const make = (table: string) =>
      createMappedDevice({ name: 'mapped', table, registry, openDevice: shelf.open });
    await assert.rejects(make('0 4 linear /dev/a 0\n4 4 linear /dev/missing 0'), /no such device/);
    await assert.rejects(
      make('0 4 linear /dev/a 0\n4 4 linear /dev/a 13'),
      /has 16 sectors, the segment needs 17/,
    );
    assert.deepEqual(shelf.closed, ['/dev/a', '/dev/a']);
  });
});
