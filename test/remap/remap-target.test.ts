import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BlockDevice, sectorBytes } from '../../src/block/block-device.ts';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../src/mapping/mapped-device.ts';
import { TargetRegistry } from '../../src/mapping/registry.ts';
import { MetadataStore } from '../../src/metadata/metadata-store.ts';
import { remapTargetType } from '../../src/remap/remap-target.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { standardTargets } from '../../src/targets/standard-targets.ts';
import { patternOf } from './remap-stack.ts';

const mainSectors = 4096;

/** Devices by name, a formatted spare among them, and tables over all of them. */
class Lab {
  readonly random = new SeededRandom('remap-target');
  readonly clock = new VirtualClock(this.random.fork('clock'));
  readonly arena = new PagedArena(new ArrayBuffer(2 << 20), {
    remapBytes: 1 << 18,
    metadataBytes: 1 << 19,
    poison: true,
  });
  readonly devices = new Map<string, BlockDevice>();

  static async make(): Promise<Lab> {
    const lab = new Lab();
    for (const name of ['other', 'disk']) {
      lab.devices.set(
        name,
        new MemoryDevice({ name, sizeBytes: mainSectors * sectorBytes, physicalBlockBytes: 4096 }),
      );
    }
    // The failing main is a table itself: its sectors 1000 and 1001 fail every request.
    const table = `0 1000 linear disk 0\n1000 2 error\n1002 ${mainSectors - 1002} linear disk 1002`;
    lab.devices.set('main', await lab.open(table));
    const spare = new MemoryDevice({ name: 'spare', sizeBytes: 4 << 20, physicalBlockBytes: 4096 });
    lab.devices.set('spare', spare);
    await lab.clock.run(
      MetadataStore.create(
        { spare, arena: lab.arena, clock: lab.clock, random: lab.random },
        {
          mainSizeBytes: mainSectors * sectorBytes,
          logicalBlockBytes: sectorBytes,
          granuleBytes: 4096,
          properties: { name: 'lab', mainIdentity: {}, spareIdentity: {}, policies: {} },
          layout: { lostRangesMax: 128, journalBytes: 8 * 4096, slotsMin: 64 },
        },
      ),
    );
    return lab;
  }

  open(table: string): Promise<MappedDevice> {
    const registry = new TargetRegistry([...standardTargets(this), remapTargetType(this)]);
    const openDevice = (path: string): Promise<BlockDevice> => {
      const device = this.devices.get(path);
      return device === undefined ? Promise.reject(new Error(`no ${path}`)) : Promise.resolve(device);
    };
    return this.clock.run(createMappedDevice({ name: 'mapped', table, registry, openDevice }));
  }
}

describe('the remap target', () => {
  it('is a segment among others: bad sectors move, replies and status come through, bytes are right', async () => {
    const lab = await Lab.make();
    const mapped = await lab.open(`0 2048 linear other 0\n2048 ${mainSectors} remap main spare`);
    const bytes = patternOf(7, 64);
    // Across the border of the two segments, and over the two bad sectors of main.
    await lab.clock.run(mapped.write(bytes, 2040 * sectorBytes));
    await lab.clock.run(mapped.write(bytes, (2048 + 980) * sectorBytes));
    await lab.clock.run(mapped.flush());
    const read = new Uint8Array(bytes.length);
    for (const sector of [2040, 2048 + 980]) {
      await lab.clock.run(mapped.read(read, sector * sectorBytes));
      assert.deepEqual(read, bytes, `sector ${sector}`);
    }
    assert.match(await lab.clock.run(mapped.message(2048, ['list'])), /^1000 8 \d+ writeError$/);
    const [, info] = mapped.status('info');
    assert.match(info ?? '', new RegExp(`^2048 ${mainSectors} remap ok 1/\\d+ lost 0 replicas 2/2$`));
    assert.equal(mapped.status('table')[1], `2048 ${mainSectors} remap main spare`);
    await lab.clock.run(mapped.close());
    assert.equal(lab.arena.usedBytes, 0);
  });

  it('keeps its moves over a close: the same line opens them again', async () => {
    const lab = await Lab.make();
    const line = `0 ${mainSectors} remap main spare`;
    const bytes = patternOf(3, 8);
    const first = await lab.open(line);
    await lab.clock.run(first.write(bytes, 1000 * sectorBytes));
    // Closing a table closes its devices; this test's memory must outlive it, so only the target ends.
    await lab.clock.run(first.flush());
    const second = await lab.open(line);
    const read = new Uint8Array(4096);
    await lab.clock.run(second.read(read, 1000 * sectorBytes));
    assert.deepEqual(read, bytes);
  });

  it('refuses unknown words, a wrong length, one device twice and a spare that is none, each in one line', async () => {
    const lab = await Lab.make();
    const mapped = await lab.open(`0 ${mainSectors} remap main spare`);
    await assert.rejects(lab.clock.run(mapped.message(0, ['dance'])), { code: 'MESSAGE_UNKNOWN' });
    await assert.rejects(lab.clock.run(mapped.message(0, ['remap', 'x'])), { code: 'MESSAGE_ARGUMENT' });
    for (const [line, message] of [
      ['0 8 remap main spare', /spare is for a main of 4096 sectors, the line has 8/],
      ['0 8 remap main main', /main and spare are both main/],
      [`0 ${mainSectors} remap main other`, /^[^\n]*other[^\n]*$/],
    ] as const) {
      const fresh = await Lab.make();
      await assert.rejects(fresh.open(line), { name: 'TargetError', message });
    }
  });
});
