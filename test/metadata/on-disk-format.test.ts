import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import type { InUseMark } from '../../src/metadata/in-use-mark.ts';
import { type MappingRecord, noSlot } from '../../src/metadata/mapping-state.ts';
import { MetadataError } from '../../src/metadata/metadata-error.ts';
import { CrashModel } from './crash-model.ts';
import { type GoldenExpectation, goldenHost, goldenImages, makeImage } from './golden-images.ts';
import { commit, type OpenDevice, TestSpare, tableOf, withSpare } from './metadata-fixture.ts';
import { type ReadMark, type ReadRecord, readSpare } from './second-reader.ts';

const folder = fileURLToPath(new URL('../../../test/golden/format-1/', import.meta.url));
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.img.gz'))
  .map((file) => file.slice(0, -'.img.gz'.length));

function golden(name: string): { image: Uint8Array; expectation: GoldenExpectation } {
  const image = new Uint8Array(gunzipSync(readFileSync(`${folder}${name}.img.gz`)));
  return {
    image,
    expectation: JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8')) as GoldenExpectation,
  };
}

/** A record of the implementation in the words of the second reader. */
function inSectors(record: MappingRecord, granuleSectors: number): ReadRecord {
  const nothing = { cause: 0, flags: 0, held: 0, mainSector: 0, unreadable: 0, gone: 0, time: 0 };
  if (record.type === 'fresh-ended') {
    return { type: 3, ...nothing, sectors: record.regionCount, mainSector: record.region, spareSector: 0 };
  }
  if (record.type === 'retired-slots') {
    const sectors = record.slotCount * granuleSectors;
    return { type: 2, ...nothing, sectors, spareSector: record.slot * granuleSectors };
  }
  return {
    type: 1,
    cause: record.cause,
    flags: record.flags,
    sectors: record.granuleCount * granuleSectors,
    held: record.held,
    mainSector: record.granule * granuleSectors,
    spareSector: record.slot === noSlot ? -1 : record.slot * granuleSectors,
    unreadable: record.unreadable,
    gone: record.gone,
    time: record.unixSeconds,
  };
}

function inTheirWords(mark: InUseMark | undefined): ReadMark | undefined {
  if (mark === undefined) return undefined;
  const { writtenUnixSeconds, ...same } = mark;
  return { ...same, written: writtenUnixSeconds };
}

/** What else is written while a device serves: properties, beats, ended regions. */
async function otherWork(device: OpenDevice, fresh: boolean): Promise<void> {
  for (let round = 0; round < 12; round += 1) {
    await device.store.updateProperties({ policies: { round: String(round) } });
    await device.store.heartbeat();
    if (fresh)
      await commit(device, [{ type: 'fresh-ended', region: 5 * round, regionCount: 1 + (round % 3) }]);
  }
}

describe('M20 golden images of format 1', () => {
  it('are all there', () => {
    assert.deepEqual(names.sort(), goldenImages.map(({ name }) => name).sort());
  });

  for (const name of names) {
    it(`${name} opens to what it held when it was made, and is upgraded`, () =>
      withSpare({}, async (spare) => {
        const { image, expectation } = golden(name);
        spare.disk.load(image);
        const opened = await spare.open();
        // Later versions say more about an image than was known of it when it was made, and nothing else.
        assert.deepEqual({ ...opened.facts, ...expectation.facts }, opened.facts);
        assert.deepEqual(opened.report.inUse, expectation.inUse);
        assert.deepEqual(opened.records, expectation.records);
        assert.deepEqual(
          opened.report.replicas.map(({ condition }) => condition),
          expectation.replicas,
        );
        await opened.store.settle(tableOf(opened.records));
        await opened.store.close();
        const again = await spare.open();
        assert.equal(again.report.replicasValid, again.report.replicasTotal);
        assert.deepEqual(tableOf(again.records).contents(), tableOf(expectation.records).contents());
      }));

    it(`${name} is read alike by the reader written from the page`, () => {
      const { image, expectation } = golden(name);
      const read = readSpare(image);
      assert.ok(read !== undefined);
      const { facts, records } = expectation;
      assert.equal(read.uuid, facts.uuid);
      assert.equal(read.generation, facts.generation);
      assert.equal(read.mainSectors * 512, facts.mainSizeBytes);
      assert.equal(read.granuleSectors * 512, facts.granuleBytes);
      assert.equal(read.logicalBlockBytes, facts.logicalBlockBytes);
      assert.equal(read.freshSectors * 512, facts.freshSizeBytes ?? 0);
      assert.deepEqual(read.mark, inTheirWords(expectation.inUse));
      assert.equal(read.name, facts.properties.name);
      assert.deepEqual(read.mainIdentity, Object.entries(facts.properties.mainIdentity));
      assert.deepEqual(read.policies, Object.entries(facts.properties.policies));
      assert.deepEqual(
        read.others?.spares ?? [],
        (facts.members ?? []).map(({ uuid, epoch, baseBytes, sizeBytes, closed, leaving, identity }) => ({
          ...{ uuid, epoch, closed, leaving, identity: Object.entries(identity) },
          ...{ baseSector: baseBytes / 512, sectors: sizeBytes / 512 },
        })),
      );
      assert.deepEqual(
        read.records,
        records.map((record) => inSectors(record, read.granuleSectors)),
      );
    });
  }

  it('can be made again by the writer of today', async () => {
    for (const image of goldenImages) {
      const { expectation } = await makeImage(image);
      assert.deepEqual(
        tableOf(expectation.records).contents(),
        tableOf(golden(image.name).expectation.records).contents(),
        image.name,
      );
    }
  });
});

describe('the reader written from the page', () => {
  it('agrees about spares after power cuts, whole and damaged', async () => {
    let read = 0;
    let refused = 0;
    for (let seed = 1; seed <= 60; seed += 1) {
      const fresh = seed % 2 === 0;
      const spare = new TestSpare({ seed: `second reader ${seed}`, fresh });
      try {
        const model = new CrashModel(spare.random.fork('model'));
        const device = await spare.createSettled({ host: goldenHost });
        const gone = spare.cutAfter(1 + spare.random.below(600));
        await Promise.race([gone, Promise.all([model.work(device, 60), otherWork(device, fresh)])]);
        spare.onOperation = () => {};
        spare.powerCut();
        // Damage: up to 40 blocks of the metadata, so that some spares must be refused by both.
        const damaged = seed % 3 === 0 ? 0 : spare.random.below(160);
        const ranges = device.opened.layout.reservedRanges();
        for (let count = 0; count < damaged; count += 1) {
          const range = spare.random.pick(ranges);
          const offset = range.offset + spare.random.below(range.length / 4096) * 4096;
          spare.disk.load(new Uint8Array(4096), offset);
        }
        const second = readSpare(spare.disk.cachedImage());
        const first = await spare.open().catch((error: unknown) => {
          if (error instanceof MetadataError) return undefined;
          throw error;
        });
        const expected = first?.records.map((record) => inSectors(record, 8));
        assert.deepEqual(second?.records, expected, `seed ${seed}`);
        assert.equal(second?.freshSectors, first && first.facts.freshSizeBytes / 512);
        assert.deepEqual(second?.mark, inTheirWords(first?.report.inUse));
        assert.deepEqual(second?.policies, first && Object.entries(first.facts.properties.policies));
        if (first === undefined) refused += 1;
        else read += 1;
      } finally {
        await spare.end();
      }
    }
    assert.ok(read >= 20 && refused >= 2, `${read} read, ${refused} refused`);
  });
});
