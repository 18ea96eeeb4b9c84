import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { blockBytes } from '../../src/metadata/block-size.ts';
import { checkTable } from '../../src/metadata/check-metadata.ts';
import { planLayout } from '../../src/metadata/layout.ts';
import {
  type GranuleRecord,
  type MappingRecord,
  noSlot,
  type StateCause,
} from '../../src/metadata/mapping-state.ts';
import { decodeDump, encodeDump } from '../../src/metadata/metadata-dump.ts';
import { encodeSuperblock, type Superblock } from '../../src/metadata/superblock.ts';

const mib = 1_048_576;
const layout = planLayout(32 * mib, 64 * mib, 4096, { fresh: true });

const superblock: Superblock = {
  replica: 1,
  shared: {
    uuid: Uint8Array.from({ length: 16 }, (_, at) => at * 3 + 1),
    features: { compatible: 0, readOnlyCompatible: 0, incompatible: 1 },
    cleanlyClosed: true,
    revision: 77,
    membershipEpoch: 2,
    inSyncMask: 3,
    layout,
    logicalBlockBytes: 512,
    createdUnixSeconds: 1_790_000_000,
    writtenUnixSeconds: 1_790_000_500,
    reachedSequence: 40,
    properties: {
      properties: { name: 'disk', mainIdentity: { path: '/dev/sdb' }, spareIdentity: {}, policies: {} },
      unknown: [{ type: 99, value: Uint8Array.of(1, 2, 3) }],
    },
  },
  checkpoint: {
    generation: 6,
    sessionNonce: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    area: 1,
    journal: 0,
    blockCount: 0,
    recordCount: 0,
    checksum: 0,
    lastSequence: 39,
  },
};

function dumpOf(records: readonly MappingRecord[]): string {
  const block = new Uint8Array(blockBytes);
  encodeSuperblock(block, superblock);
  return encodeDump(block, 40, records, ['for people\nin one line']);
}

const word = fc.integer({ min: 0, max: 0xffff_ffff });
/** Of a granule of eight sectors. */
const bitmap = fc.integer({ min: 0, max: 0xff });
const granules: fc.Arbitrary<MappingRecord> = fc
  .tuple(
    fc.nat(16_384 - 99),
    fc.integer({ min: 1, max: 99 }),
    fc.option(fc.nat(8_192 - 99)),
    bitmap,
    bitmap,
    fc.nat(8),
    word,
  )
  .map(([granule, granuleCount, slot, hold, loss, cause, unixSeconds]) => ({
    type: 'granules',
    granule,
    granuleCount,
    slot: slot ?? noSlot,
    held: slot === null ? 0 : (hold & ~loss) >>> 0,
    unreadable: (loss & ~hold) >>> 0,
    gone: (hold & loss) >>> 0,
    flags: 1,
    cause: cause as StateCause,
    unixSeconds,
  }));
const slots = fc.tuple(fc.nat(8_000), fc.integer({ min: 1, max: 192 }));
const regions = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 4 }));
const others: fc.Arbitrary<MappingRecord> = fc.oneof(
  slots.map(([slot, slotCount]) => ({ type: 'retired-slots' as const, slot, slotCount })),
  regions.map(([region, regionCount]) => ({ type: 'fresh-ended' as const, region, regionCount })),
);

test('M13 a dump gives back superblock, sequence and every record, unknown properties too', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(granules, others), { maxLength: 30 }), (records) => {
      const dump = decodeDump(dumpOf(records));
      assert.ok(typeof dump === 'object');
      assert.deepEqual(dump.records, records);
      assert.deepEqual(dump.superblock, superblock);
      assert.equal(dump.sequence, 40);
    }),
    { numRuns: 50 },
  );
});

test('M13 a dump with any character changed or cut is not used', () => {
  const text = dumpOf(fc.sample(granules, 5));
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.constantFrom('0', '7', 'f', ' ', '\n', 'x'), (at, character) => {
      const changed = text.slice(0, at) + character + text.slice(at + 1);
      if (changed !== text) assert.equal(typeof decodeDump(changed), 'string', `character ${at}`);
      assert.equal(typeof decodeDump(text.slice(0, at)), 'string', `cut at ${at}`);
    }),
    { numRuns: 500 },
  );
});

function mapped(granule: number, slot: number): GranuleRecord {
  const bits = { held: 255, unreadable: 0, gone: 0, flags: 0 };
  return { type: 'granules', granule, granuleCount: 1, slot, ...bits, cause: 1, unixSeconds: 0 };
}

test('M13 a table is checked for slots claimed twice and slots inside the metadata', () => {
  const free = layout.reservedRanges()[0]!;
  const slot = (free.offset + free.length) / 4096;
  assert.deepEqual(checkTable([mapped(5, slot), mapped(6, slot + 1)], layout), []);
  // A later record of the same granule replaces the earlier one: nothing is claimed twice then.
  assert.deepEqual(checkTable([mapped(5, slot), mapped(5, slot + 1), mapped(6, slot)], layout), []);
  assert.deepEqual(checkTable([mapped(5, slot), mapped(6, slot)], layout), [
    `slot ${slot}: claimed by granules 5 and 6`,
  ]);
  assert.deepEqual(checkTable([mapped(5, slot - 1)], layout), [
    `slot ${slot - 1} of granule 5: lies in the metadata`,
  ]);
});

test('M18 more lost ranges than there is room for are found', () => {
  const lost = { ...mapped(0, noSlot), held: 0, unreadable: 1, granuleCount: 12 };
  const small = planLayout(32 * mib, 64 * mib, 4096, { lostRangesMax: 11 });
  assert.deepEqual(checkTable([lost], small), ['12 lost granules, room for 11']);
  assert.deepEqual(checkTable([{ ...lost, granuleCount: 11 }], small), []);
});

test('M13 a dump that names more than its device has is not used, whatever its checksum says', () => {
  const state = { held: 0, unreadable: 1, gone: 0, flags: 0, cause: 0, unixSeconds: 0 } as const;
  const records: readonly MappingRecord[] = [
    { type: 'granules', granule: 0, granuleCount: Number.MAX_SAFE_INTEGER, slot: noSlot, ...state },
    { type: 'granules', granule: 0, granuleCount: 2, slot: 8_191, ...state },
    { type: 'granules', granule: 0, granuleCount: 1, slot: 3, ...state, held: 0x100 },
    { type: 'retired-slots', slot: 0, slotCount: 2 ** 40 },
    { type: 'fresh-ended', region: 64, regionCount: 1 },
  ];
  for (const record of records) {
    const wrong = decodeDump(dumpOf([record]));
    assert.ok(typeof wrong === 'string', record.type);
    assert.match(wrong, /^has a line about what its device does not have: /);
  }
});
