import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { sealBlock } from '../../src/metadata/block-checksum.ts';
import { type MappingRecord, noSlot, StateCause } from '../../src/metadata/mapping-state.ts';
import {
  decodeRecordBlock,
  decodeRecords,
  encodeRecordBlock,
  type RecordBlockHeader,
  recordsPerBlock,
} from '../../src/metadata/record-block.ts';
import { recordBytes } from '../../src/metadata/record-codec.ts';
import { granules } from './metadata-fixture.ts';

const freshRegionCount = 32_768;
const units = { granuleBytes: 4096, mainSizeBytes: 2 ** 44, rowBytes: 2 ** 42, freshRegionCount };
const uuid = Uint8Array.from({ length: 16 }, (_, index) => 17 * index + 3);
const header: RecordBlockHeader = {
  kind: 'journal',
  uuid,
  generation: 2 ** 40 + 7,
  sessionNonce: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  sequence: 2 ** 52,
  firstSequence: 2 ** 52 - 1,
  predecessorChecksum: 0xdead_beef,
};
const plain = { noNullPrototype: true };
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
/** Of a granule of eight sectors. */
const bitmap = fc.integer({ min: 0, max: 0xff });

/** A sector is in one state at most: the encoder's callers see to it, the decoder refuses anything else. */
function disjoint<T extends { held: number; unreadable: number; gone: number }>(record: T): T {
  const unreadable = (record.unreadable & ~record.held) >>> 0;
  return { ...record, unreadable, gone: (record.gone & ~(record.held | unreadable)) >>> 0 };
}

const anyRecord: fc.Arbitrary<MappingRecord> = fc.oneof(
  fc
    .record(
      {
        type: fc.constant('granules' as const),
        granule: fc.integer({ min: 0, max: 2 ** 31 }),
        granuleCount: fc.integer({ min: 1, max: 2 ** 20 }),
        slot: fc.integer({ min: 0, max: 2 ** 29 }),
        held: bitmap,
        unreadable: bitmap,
        gone: bitmap,
        flags: fc.integer({ min: 0, max: 7 }),
        cause: fc.constantFrom(...Object.values(StateCause)),
        unixSeconds: u32,
      },
      plain,
    )
    .map(disjoint),
  fc
    .record(
      {
        type: fc.constant('granules' as const),
        granule: fc.integer({ min: 0, max: 2 ** 31 }),
        granuleCount: fc.integer({ min: 1, max: 2 ** 20 }),
        slot: fc.constant(noSlot),
        held: fc.constant(0),
        unreadable: bitmap,
        gone: bitmap,
        flags: fc.integer({ min: 0, max: 7 }),
        cause: fc.constantFrom(...Object.values(StateCause)),
        unixSeconds: u32,
      },
      plain,
    )
    .map(disjoint),
  fc.record(
    {
      type: fc.constant('retired-slots' as const),
      slot: fc.integer({ min: 0, max: 2 ** 29 }),
      slotCount: fc.integer({ min: 1, max: 2 ** 20 }),
    },
    plain,
  ),
  fc.record(
    {
      type: fc.constant('fresh-ended' as const),
      region: fc.integer({ min: 0, max: 16_384 }),
      regionCount: fc.integer({ min: 1, max: 16_384 }),
    },
    plain,
  ),
);

describe('a record block', () => {
  it('M10 gives back every header field and every record', () => {
    fc.assert(
      fc.property(
        fc.array(anyRecord, { maxLength: recordsPerBlock }),
        fc.constantFrom('journal' as const, 'checkpoint' as const),
        (records, kind) => {
          const block = new Uint8Array(4096).fill(0xdb);
          const checksum = encodeRecordBlock(block, { ...header, kind }, records, units);
          const decoded = decodeRecordBlock(block, kind, uuid);
          assert.ok(decoded !== undefined);
          assert.deepEqual(decoded, { ...header, kind, checksum, recordCount: records.length });
          assert.deepEqual(decodeRecords(block, decoded, units), records);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('R25 leaves the room for a checksum of the slot’s data zero, and takes no notice of what a later format puts there', () => {
    const records = [granules(3, 9), granules(4, noSlot, { gone: 1 }), granules(70_000, 12)];
    const block = new Uint8Array(4096).fill(0xdb);
    encodeRecordBlock(block, header, records, units);
    const view = new DataView(block.buffer);
    for (let record = 0; record < recordsPerBlock; record += 1) {
      const at = 4096 - (recordsPerBlock - record) * recordBytes + 44;
      assert.equal(view.getUint32(at, true), 0, `record ${record}`);
      view.setUint32(at, 0xfeed_f00d, true);
    }
    sealBlock(block);
    const decoded = decodeRecordBlock(block, 'journal', uuid);
    assert.ok(decoded !== undefined);
    assert.deepEqual(decodeRecords(block, decoded, units), records);
  });

  for (const kind of ['journal', 'checkpoint'] as const) {
    it(`M6 detects every flipped bit of a ${kind} block`, () => {
      const block = new Uint8Array(4096);
      encodeRecordBlock(
        block,
        { ...header, kind },
        [granules(3, 9), granules(4, noSlot, { gone: 1 })],
        units,
      );
      for (let bit = 0; bit < 4096 * 8; bit += 1) {
        block[bit >> 3]! ^= 1 << (bit & 7);
        assert.equal(decodeRecordBlock(block, kind, uuid), undefined, `bit ${bit}`);
        block[bit >> 3]! ^= 1 << (bit & 7);
      }
      assert.ok(decodeRecordBlock(block, kind, uuid) !== undefined);
    });

    it(`M6 detects a torn ${kind} block: any mixture of its sectors with older ones`, () => {
      const older = new Uint8Array(4096);
      const newer = new Uint8Array(4096);
      // A full block, so that no sector is the same in both.
      const records = (slot: number) =>
        Array.from({ length: recordsPerBlock }, (_, index) => granules(index, slot + index));
      encodeRecordBlock(older, { ...header, kind, sequence: 1 }, records(1000), units);
      encodeRecordBlock(newer, { ...header, kind, sequence: 2 }, records(2000), units);
      for (let mask = 1; mask < 255; mask += 1) {
        const mixed = older.slice();
        for (let sector = 0; sector < 8; sector += 1) {
          if ((mask & (1 << sector)) === 0) continue;
          mixed.set(newer.subarray(sector * 512, (sector + 1) * 512), sector * 512);
        }
        assert.equal(decodeRecordBlock(mixed, kind, uuid), undefined, `sectors ${mask.toString(2)}`);
      }
    });
  }

  it('M6 is nothing to another device, nor as another kind', () => {
    const block = new Uint8Array(4096);
    encodeRecordBlock(block, header, [], units);
    const other = uuid.slice();
    other[15]! ^= 1;
    assert.equal(decodeRecordBlock(block, 'journal', other), undefined);
    assert.equal(decodeRecordBlock(block, 'checkpoint', uuid), undefined);
    // Even with its UUID written over, the seed of the checksum tells.
    block.set(other, 16);
    assert.equal(decodeRecordBlock(block, 'journal', other), undefined);
  });

  it('has zeroes where nothing is', () => {
    const block = new Uint8Array(4096).fill(0xdb);
    encodeRecordBlock(block, header, [granules(1, 2)], units);
    assert.ok(block.subarray(72, 112).every((byte) => byte === 0));
    assert.ok(block.subarray(112 + 48).every((byte) => byte === 0));
  });

  it('refuses a place that cannot be, though the checksum is right', () => {
    const corrupt = (change: (view: DataView) => void): void => {
      const block = new Uint8Array(4096);
      encodeRecordBlock(block, header, [granules(1, 2)], units);
      change(new DataView(block.buffer));
      sealBlock(block);
      const decoded = decodeRecordBlock(block, 'journal', uuid);
      assert.ok(decoded !== undefined);
      assert.throws(() => decodeRecords(block, decoded, units), { code: 'METADATA_CORRUPT' });
    };
    corrupt((view) => view.setUint8(112, 9));
    // Ended regions that the device does not have.
    corrupt((view) => {
      view.setUint8(112, 3);
      view.setUint32(112 + 8, freshRegionCount + 1, true);
      view.setUint32(112 + 16, 0, true);
    });
    corrupt((view) => {
      view.setUint8(112, 3);
      view.setUint32(112 + 8, 0, true);
    });
    corrupt((view) => view.setUint32(112 + 8, 0, true));
    corrupt((view) => view.setUint32(112 + 8, 7, true));
    // Two states for one sector: held and unreadable, held and gone.
    corrupt((view) => view.setUint32(112 + 32, 0xff, true));
    corrupt((view) => view.setUint32(112 + 36, 0x80, true));
    // Sectors behind the end of the granule: held ones would be in somebody else's slot.
    corrupt((view) => view.setUint32(112 + 12, 0x1ff, true));
    corrupt((view) => view.setUint32(112 + 32, 0x100, true));
    corrupt((view) => view.setUint32(112 + 36, 0x8000_0000, true));
    corrupt((view) => view.setUint32(112 + 20, 0x7fff_ffff, true));
    corrupt((view) => view.setUint32(112 + 16, 3, true));
    corrupt((view) => view.setUint32(112 + 24, 3, true));
    corrupt((view) => view.setUint32(112 + 28, 0x7fff_ffff, true));
  });
});
