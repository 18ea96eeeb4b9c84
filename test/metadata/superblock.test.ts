import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { sealBlock } from '../../src/metadata/block-checksum.ts';
import { planLayout } from '../../src/metadata/layout.ts';
import { MetadataError } from '../../src/metadata/metadata-error.ts';
import { decodeProperties, encodeProperties } from '../../src/metadata/property-codec.ts';
import {
  decodeSuperblock,
  encodeSuperblock,
  propertyBytesMax,
  type Superblock,
} from '../../src/metadata/superblock.ts';
import { granuleBytes, mainSizeBytes, properties, smallLayout } from './metadata-fixture.ts';

const superblock: Superblock = {
  replica: 1,
  shared: {
    uuid: Uint8Array.from({ length: 16 }, (_, index) => 200 - index),
    features: { compatible: 0x8000_0001, readOnlyCompatible: 0, incompatible: 0 },
    cleanlyClosed: true,
    revision: 2 ** 45,
    membershipEpoch: 12,
    inSyncMask: 0b11,
    layout: planLayout(3 << 20, mainSizeBytes, granuleBytes, smallLayout),
    logicalBlockBytes: 512,
    createdUnixSeconds: 1_767_225_600,
    writtenUnixSeconds: 5_000_000_000,
    properties: { properties, unknown: [{ type: 0x4001, value: Uint8Array.of(9, 8, 7) }] },
    reachedSequence: 2 ** 51,
  },
  checkpoint: {
    generation: 77,
    sessionNonce: Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1),
    area: 1,
    journal: 1,
    blockCount: 4,
    recordCount: 300,
    checksum: 0xffff_fffe,
    lastSequence: 2 ** 50,
  },
};

function encoded(changes: Partial<Superblock> = {}): Uint8Array {
  const block = new Uint8Array(4096).fill(0xdb);
  encodeSuperblock(block, { ...superblock, ...changes });
  return block;
}

describe('a superblock', () => {
  it('M10 M15 gives back everything, unknown properties too', () => {
    const finding = decodeSuperblock(encoded());
    assert.ok(finding.found === 'superblock');
    const { layout, ...shared } = finding.superblock.shared;
    const { layout: expectedLayout, ...expectedShared } = superblock.shared;
    assert.deepEqual(shared, expectedShared);
    assert.deepEqual(layout, expectedLayout);
    assert.deepEqual(layout.reservedRanges(), expectedLayout.reservedRanges());
    assert.deepEqual(finding.superblock.checkpoint, superblock.checkpoint);
    assert.equal(finding.superblock.replica, 1);
  });

  it('detects every flipped bit', () => {
    const block = encoded();
    for (let bit = 0; bit < 4096 * 8; bit += 1) {
      block[bit >> 3]! ^= 1 << (bit & 7);
      assert.notEqual(decodeSuperblock(block).found, 'superblock', `bit ${bit}`);
      block[bit >> 3]! ^= 1 << (bit & 7);
    }
    assert.equal(decodeSuperblock(block).found, 'superblock');
  });

  it('M10 tells a newer format and an unknown incompatible feature from damage', () => {
    const newer = encoded();
    new DataView(newer.buffer).setUint16(12, 2, true);
    assert.deepEqual(decodeSuperblock(newer), { found: 'damaged', detail: 'its checksum is wrong' });
    sealBlock(newer);
    assert.deepEqual(decodeSuperblock(newer), { found: 'newer', version: 2 });
    const feature = encoded();
    new DataView(feature.buffer).setUint32(40, 0x8000_0000, true);
    sealBlock(feature);
    assert.deepEqual(decodeSuperblock(feature), { found: 'unknown-feature', bits: 0x8000_0000 });
  });

  it('is nothing in zeroes, and damage in any sealed nonsense', () => {
    assert.deepEqual(decodeSuperblock(new Uint8Array(4096)), { found: 'nothing' });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 44, max: 4095 }), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
        }),
        (changes) => {
          const block = encoded();
          for (const [at, value] of changes) block[at] = value;
          sealBlock(block);
          // Whatever it is taken for, it is never an exception.
          assert.ok(['superblock', 'damaged'].includes(decodeSuperblock(block).found));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('properties', () => {
  it('give back any text', () => {
    const pairs = fc.dictionary(
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.string({ unit: 'binary', maxLength: 30 }),
      { maxKeys: 6 },
    );
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        pairs,
        pairs,
        pairs,
        (name, mainIdentity, spareIdentity, policies) => {
          const area = { properties: { name, mainIdentity, spareIdentity, policies }, unknown: [] };
          const decoded = decodeProperties(encodeProperties(area, 1 << 20));
          assert.ok(typeof decoded !== 'string');
          assert.equal(decoded.properties.name, name);
          for (const part of ['mainIdentity', 'spareIdentity', 'policies'] as const) {
            assert.deepEqual(Object.entries(decoded.properties[part]), Object.entries(area.properties[part]));
          }
        },
      ),
    );
  });

  it('fit the block exactly or are refused', () => {
    const empty = { name: '', mainIdentity: {}, spareIdentity: {}, policies: {} };
    const room =
      propertyBytesMax - encodeProperties({ properties: empty, unknown: [] }, propertyBytesMax).byteLength;
    const fits = { properties: { ...empty, name: 'x'.repeat(room) }, unknown: [] };
    assert.equal(encodeProperties(fits, propertyBytesMax).byteLength, propertyBytesMax);
    const over = { properties: { ...empty, name: 'x'.repeat(room + 1) }, unknown: [] };
    assert.throws(() => encodeProperties(over, propertyBytesMax), MetadataError);
  });

  it('are never an exception, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decodeProperties(bytes);
      }),
      { numRuns: 2000 },
    );
  });
});
