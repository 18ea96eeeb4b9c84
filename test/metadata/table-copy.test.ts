import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type MappingRecord, noSlot, type StateCause } from '../../src/metadata/mapping-state.ts';
import {
  decodeTableCopy,
  decodeTableCopyHeader,
  recordsPerPiece,
  TableCopyEncoder,
  tableCopyEntriesMax,
} from '../../src/metadata/table-copy.ts';
import type { TableCopyHeader } from '../../src/metadata/table-copy-header.ts';
import { readSigned, readVarint, writeSigned, writeVarint } from '../../src/metadata/varint.ts';

const granulesMax = 2 ** 38;

const header: TableCopyHeader = {
  format: 1,
  uuid: '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11',
  name: 'disk',
  mainSizeBytes: granulesMax * 16_384,
  logicalBlockBytes: 512,
  granuleBytes: 16_384,
  mainIdentity: { kind: 'block', path: '/dev/sdb', wwn: '5000c5' },
  spareIdentity: { kind: 'file', path: '/srv/spare.img' },
  sequence: 17,
  sessionNonce: '0011223344556677',
  complete: false,
  writtenUnixSeconds: 1_790_000_000,
};

function encode(records: readonly MappingRecord[]): Uint8Array {
  const encoder = new TableCopyEncoder();
  const pieces = [encoder.begin(header)];
  for (let at = 0; at < records.length; at += recordsPerPiece) {
    pieces.push(encoder.records(records.slice(at, at + recordsPerPiece)));
  }
  return Uint8Array.from(Buffer.concat([...pieces, encoder.end()]));
}

const granules: fc.Arbitrary<MappingRecord> = fc
  .record({
    granule: fc.integer({ min: 0, max: granulesMax - 100 }),
    granuleCount: fc.integer({ min: 1, max: 100 }),
    slot: fc.oneof(fc.constant(noSlot), fc.integer({ min: 0, max: 2 ** 40 })),
    bits: fc.tuple(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: 0xffff_ffff })),
    flags: fc.integer({ min: 0, max: 0xffff }),
    cause: fc.integer({ min: 0, max: 8 }),
    unixSeconds: fc.integer({ min: 0, max: 0xffff_ffff }),
  })
  .map(({ bits: [hold, loss], ...record }) => ({
    type: 'granules',
    ...record,
    cause: record.cause as StateCause,
    held: record.slot === noSlot ? 0 : (hold & ~loss) >>> 0,
    unreadable: (loss & ~hold) >>> 0,
    gone: (hold & loss) >>> 0,
  }));

const retired: fc.Arbitrary<MappingRecord> = fc
  .tuple(fc.integer({ min: 0, max: 2 ** 40 }), fc.integer({ min: 1, max: 1_000 }))
  .map(([slot, slotCount]) => ({ type: 'retired-slots', slot, slotCount }));

const freshEnded: fc.Arbitrary<MappingRecord> = fc
  .tuple(fc.integer({ min: 0, max: 32_767 }), fc.integer({ min: 1, max: 1_000 }))
  .map(([region, regionCount]) => ({ type: 'fresh-ended', region, regionCount }));

const records = fc.array(fc.oneof(granules, retired, freshEnded), { maxLength: 1200 });

test('M13 a copy of the table gives back every record as it was', () => {
  fc.assert(
    fc.property(records, (list) => {
      assert.deepEqual(decodeTableCopy(encode(list)), { header, records: list });
    }),
    { numRuns: 60 },
  );
});

test('M13 a copy with any byte changed, cut or added is not used', () => {
  const bytes = encode(fc.sample(granules, 40));
  const changes = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }));
  fc.assert(
    fc.property(changes, ([at, difference]) => {
      const damaged = bytes.slice();
      damaged[at] = damaged[at]! ^ difference;
      assert.equal(typeof decodeTableCopy(damaged), 'string', `byte ${at}`);
      assert.equal(typeof decodeTableCopy(bytes.subarray(0, at)), 'string', `cut at ${at}`);
    }),
    { numRuns: 400 },
  );
  assert.equal(decodeTableCopy(Buffer.concat([bytes, Uint8Array.of(0)])), 'goes on behind its end');
});

test('M13 the header is read without the records', () => {
  const bytes = encode(fc.sample(granules, 600));
  assert.deepEqual(decodeTableCopyHeader(bytes.subarray(0, 1024)), header);
  assert.equal(decodeTableCopyHeader(new Uint8Array(100)), 'is no copy of a table');
});

test('M13 a record outside of main is not believed, whatever the checksum says', () => {
  const outside: MappingRecord = {
    type: 'granules',
    granule: granulesMax,
    granuleCount: 1,
    slot: noSlot,
    held: 0,
    unreadable: 1,
    gone: 0,
    flags: 0,
    cause: 0,
    unixSeconds: 0,
  };
  assert.equal(decodeTableCopy(encode([outside])), 'has a record that cannot be');
});

test('M13 a record of sectors that its granule does not have is not believed', () => {
  const encoder = new TableCopyEncoder();
  const small = { ...header, granuleBytes: 4096 };
  const record: MappingRecord = {
    ...{ type: 'granules', granule: 1, granuleCount: 1, slot: 2, held: 0x100, unreadable: 0, gone: 0 },
    ...{ flags: 0, cause: 0, unixSeconds: 0 },
  };
  const bytes = Buffer.concat([encoder.begin(small), encoder.records([record]), encoder.end()]);
  assert.equal(decodeTableCopy(bytes), 'has a record that cannot be');
});

test('M13 a copy that names more blocks than any device of ours is not used: loading it would not end', () => {
  const slots = (slotCount: number): MappingRecord => ({ type: 'retired-slots', slot: 0, slotCount });
  assert.equal(typeof decodeTableCopy(encode([slots(tableCopyEntriesMax)])), 'object');
  const wrong = `names more than ${tableCopyEntriesMax} blocks`;
  assert.equal(decodeTableCopy(encode([slots(tableCopyEntriesMax + 1)])), wrong);
  const regions: MappingRecord = { type: 'fresh-ended', region: 0, regionCount: 2 ** 40 };
  assert.equal(decodeTableCopy(encode([regions])), wrong);
});

test('M13 a copy takes about ten bytes a run', () => {
  let granule = 0;
  const runs = Array.from({ length: 10_000 }, (_, index): MappingRecord => {
    granule += 1 + ((index * 7919) % 1000);
    return {
      type: 'granules',
      granule,
      granuleCount: 1,
      slot: 100 + index,
      held: 0xff,
      unreadable: 0,
      gone: 0,
      flags: 0,
      cause: 1,
      unixSeconds: 1_790_000_000 + index,
    };
  });
  const perRun = encode(runs).length / runs.length;
  assert.ok(perRun < 13, `${perRun} bytes`);
});

test('numbers of any size and sign come back from their bytes', () => {
  const bytes = new Uint8Array(16);
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.integer({ min: -(2 ** 51), max: 2 ** 51 }), (unsigned, signed) => {
      const end = writeVarint(bytes, 0, unsigned);
      assert.deepEqual(readVarint(bytes.subarray(0, end), 0), { value: unsigned, next: end });
      assert.equal(readVarint(bytes.subarray(0, end - 1), 0), undefined);
      assert.equal(readSigned(bytes.subarray(0, writeSigned(bytes, 0, signed)), 0)?.value, signed);
    }),
  );
});
