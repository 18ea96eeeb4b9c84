import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { PagedArena } from '../../../src/block/buffer-arena.ts';
import { deviceError } from '../../../src/block/device-error.ts';
import { Errno } from '../../../src/block/errno.ts';
import { FilterDevice } from '../../../src/block/filter-device.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import { SetupError } from '../../../src/device/setup-error.ts';
import { burnIn, retireSlots } from '../../../src/device/spare/burn-in.ts';
import { firstPlaceOffset, planLayout, type SpareLayout } from '../../../src/metadata/layout.ts';
import { MetadataStore } from '../../../src/metadata/metadata-store.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';

const mib = 1_048_576;
const granuleBytes = 4096;
const spareBytes = 24 * mib;

/** A disk with granules that fail, or keep other bytes than they were given. */
class WornDisk extends FilterDevice {
  readonly failsWrites = new Set<number>();
  readonly failsReads = new Set<number>();
  readonly forgets = new Set<number>();
  /** Above it, writes go round to the beginning: a disk that says that it is larger than it is. */
  realBytes = spareBytes;
  readonly written = new Set<number>();
  gone = false;

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    const granules = this.#granules(offset, source.length);
    if (this.gone) return Promise.reject(deviceError(this.name, 'path', offset, source.length, Errno.ENODEV));
    if (granules.some((granule) => this.failsWrites.has(granule))) return this.#fail(offset, source.length);
    for (const granule of granules) this.written.add(granule);
    if (granules.some((granule) => this.forgets.has(granule))) {
      if (granules.length === 1) return Promise.resolve();
      return this.#writeEach(source, offset);
    }
    return super.write(source, offset % this.realBytes, flags);
  }

  override read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    if (this.#granules(offset, target.length).some((granule) => this.failsReads.has(granule))) {
      return this.#fail(offset, target.length);
    }
    return super.read(target, offset % this.realBytes, flags);
  }

  async #writeEach(source: Uint8Array, offset: number): Promise<void> {
    for (let from = 0; from < source.length; from += granuleBytes) {
      await this.write(source.subarray(from, from + granuleBytes), offset + from);
    }
  }

  #granules(offset: number, length: number): number[] {
    const first = offset / granuleBytes;
    return Array.from({ length: length / granuleBytes }, (_, at) => first + at);
  }

  #fail(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'medium', offset, length, Errno.EIO));
  }
}

let disk: WornDisk;
let layout: SpareLayout;
let arena: PagedArena;
let progress: number[];

beforeEach(() => {
  disk = new WornDisk(
    new MemoryDevice({ sizeBytes: spareBytes, logicalBlockBytes: 512, physicalBlockBytes: 4096 }),
  );
  layout = planLayout(spareBytes, 64 * mib, granuleBytes);
  arena = new PagedArena(new ArrayBuffer(16 * mib), { remapBytes: 4 * mib, metadataBytes: 4 * mib });
  progress = [];
});

const check = (): ReturnType<typeof burnIn> =>
  burnIn({
    device: disk,
    arena,
    random: new SeededRandom(1),
    layout,
    onProgress: (done, total) => progress.push(done / total),
  });

/** The first slots that can be given out, some apart. */
function slots(count: number): number[] {
  const reserved = layout.reservedRanges();
  const isFree = (slot: number): boolean =>
    reserved.every(
      ({ offset, length }) => slot * granuleBytes < offset || slot * granuleBytes >= offset + length,
    );
  const free = Array.from({ length: spareBytes / granuleBytes }, (_, slot) => slot).filter(isFree);
  return free.filter((_, at) => at % 3 === 1).slice(0, count);
}

test('a healthy spare passes: every slot and every place of the metadata was written, and nothing in front of them', async () => {
  assert.deepEqual(await check(), { slotsChecked: layout.slotCount, badSlots: [] });
  assert.equal(disk.written.has(firstPlaceOffset / granuleBytes - 1), false);
  const last = layout.replicas.at(-1)!.superblockOffset / granuleBytes;
  for (let granule = firstPlaceOffset / granuleBytes; granule < last; granule += 1) {
    assert.ok(disk.written.has(granule), `granule ${granule}`);
  }
  assert.equal(disk.written.has(last), false);
  assert.equal(progress.at(-1), 1);
  assert.equal(arena.usedBytes, 0);
});

test('slots that fail writes, fail reads or keep other bytes are found exactly', async () => {
  const [a, b, c] = slots(3);
  disk.failsWrites.add(a!);
  disk.failsReads.add(b!);
  disk.forgets.add(c!);
  assert.deepEqual(
    (await check()).badSlots,
    [a, b, c].sort((x, y) => x! - y!),
  );
});

test('a disk that is smaller than it says is no spare', async () => {
  disk.realBytes = 16 * mib;
  await assert.rejects(
    check(),
    (error) => error instanceof SetupError && /not fit to be a spare/.test(error.message),
  );
});

test('a spare is refused that has bad blocks where the metadata goes, too many bad slots, or that is gone', async () => {
  const place = layout.replicas[0]!.journalOffsets[1] / granuleBytes;
  disk.failsReads.add(place);
  await assert.rejects(check(), new RegExp(`block ${place} is bad, and the metadata would be there`));
  disk.failsReads.clear();
  const most = Math.max(8, Math.floor(layout.slotCount / 100));
  for (const slot of slots(most)) disk.failsReads.add(slot);
  assert.equal((await check()).badSlots.length, most);
  disk.failsReads.add(slots(most + 1).at(-1)!);
  await assert.rejects(check(), new RegExp(`${most + 1} of ${layout.slotCount} slots are bad`));
  disk.gone = true;
  await assert.rejects(check(), /not fit to be a spare/);
  assert.equal(arena.usedBytes, 0);
});

test('M9 what proved bad is retired before the first session, and stays so', async () => {
  const clock = new VirtualClock(new SeededRandom(3));
  const parts = { spare: disk, arena, clock, random: new SeededRandom(2) };
  const bad = slots(3);
  await clock.run(
    MetadataStore.create(parts, {
      mainSizeBytes: 64 * mib,
      logicalBlockBytes: 512,
      granuleBytes,
      properties: { name: 'disk', mainIdentity: {}, spareIdentity: {}, policies: {} },
    }),
  );
  await clock.run(retireSlots(parts, bad));
  const { records, facts } = await clock.run(MetadataStore.open(parts));
  assert.ok(facts.cleanlyClosed);
  const retired = records.flatMap((record) => (record.type === 'retired-slots' ? [record.slot] : []));
  assert.deepEqual(retired, bad);
});
