import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeMemberSuperblock, encodeMemberSuperblock } from '../../src/metadata/member-superblock.ts';
import {
  decodeMemberTable,
  encodeMemberTable,
  type MemberEntry,
  memberAlignmentBytes,
  memberReservedRanges,
  membersMax,
} from '../../src/metadata/member-table.ts';
import { decodeSuperblock } from '../../src/metadata/superblock.ts';

const mib = memberAlignmentBytes;
const hex = (bytes: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((value) => Buffer.from(value).toString('hex'));

const entry = fc.record({
  uuid: hex(16),
  epoch: hex(8),
  sizeBytes: fc.integer({ min: 1, max: 4096 }).map((count) => count * mib),
  gapBytes: fc.integer({ min: 0, max: 64 }).map((count) => count * mib),
  closed: fc.boolean(),
  leaving: fc.boolean(),
  identity: fc.dictionary(fc.constantFrom('path', 'wwn', 'serial'), fc.string({ maxLength: 40 }), {
    noNullPrototype: true,
  }),
});

/** One behind the other, behind a home. */
const members = fc.array(entry, { maxLength: membersMax }).map((entries): MemberEntry[] => {
  let end = 8 * mib;
  return entries.map(({ gapBytes, ...one }) => {
    const baseBytes = end + gapBytes;
    end = baseBytes + one.sizeBytes;
    return { ...one, baseBytes };
  });
});

function endOf(entries: readonly MemberEntry[]): number {
  return Math.max(8 * mib, ...entries.map(({ baseBytes, sizeBytes }) => baseBytes + sizeBytes));
}

describe('the list of other spares', () => {
  it('says what it was given', () => {
    fc.assert(
      fc.property(members, (entries) => {
        const table = { rowBytes: endOf(entries), members: entries };
        assert.deepEqual(decodeMemberTable(encodeMemberTable(table)), table);
      }),
    );
  });

  it('gives a list or one clause, whatever stands there, and never two spares in one place', () => {
    fc.assert(
      fc.property(
        members,
        fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }),
        (entries, damage) => {
          const bytes = encodeMemberTable({ rowBytes: endOf(entries), members: entries });
          for (const [at, value] of damage) if (at < bytes.length) bytes[at] = value;
          const found = decodeMemberTable(bytes);
          if (typeof found === 'string') return;
          const sorted = found.members.toSorted((a, b) => a.baseBytes - b.baseBytes);
          sorted.forEach(({ baseBytes, sizeBytes }, index) => {
            const next = sorted[index + 1]?.baseBytes ?? found.rowBytes;
            assert.ok(baseBytes + sizeBytes <= next);
          });
        },
      ),
    );
  });

  it('one in another, and one behind the end of the row, are damage', () => {
    const one: MemberEntry = {
      ...{ uuid: '01'.repeat(16), epoch: '02'.repeat(8), baseBytes: 8 * mib, sizeBytes: 4 * mib },
      ...{ closed: false, leaving: false, identity: {} },
    };
    const two = { ...one, baseBytes: 11 * mib };
    assert.equal(
      typeof decodeMemberTable(encodeMemberTable({ rowBytes: 20 * mib, members: [one, two] })),
      'string',
    );
    assert.equal(
      typeof decodeMemberTable(encodeMemberTable({ rowBytes: 11 * mib, members: [one] })),
      'string',
    );
  });

  it('leaves the front, the superblocks and the end of another spare alone', () => {
    for (const sizeBytes of [2 * mib, 9 * mib, 64 * mib, 66 * mib, 200 * mib]) {
      const ranges = memberReservedRanges(sizeBytes);
      assert.equal(ranges[0]!.offset, 0);
      const last = ranges.at(-1)!;
      assert.equal(last.offset + last.length, sizeBytes);
      for (const place of [64 * 1024, sizeBytes - mib, ...(sizeBytes > 66 * mib ? [64 * mib] : [])]) {
        assert.ok(
          ranges.some(({ offset, length }) => offset <= place && place + 8192 <= offset + length),
          `${place} of ${sizeBytes}`,
        );
      }
    }
  });
});

describe('the superblock of another spare', () => {
  const member = {
    uuid: Uint8Array.from({ length: 16 }, (_, index) => index),
    memberUuid: '0a'.repeat(16),
    ...{ revision: 7, epoch: '0b'.repeat(8), epochBefore: '0c'.repeat(8), closed: true },
    ...{ baseBytes: 8 * mib, sizeBytes: 4 * mib, writtenUnixSeconds: 5, deviceName: 'old disk' },
  };

  it('says what it was given, and is no home', () => {
    const block = new Uint8Array(4096);
    encodeMemberSuperblock(block, member);
    assert.deepEqual(decodeMemberSuperblock(block), member);
    assert.deepEqual(decodeSuperblock(block), { found: 'member', member });
  });

  it('a program that does not know it refuses it by its feature', () => {
    const block = new Uint8Array(4096);
    encodeMemberSuperblock(block, member);
    assert.equal(new DataView(block.buffer).getUint32(40, true), 4);
    assert.equal(Buffer.from(block.subarray(0, 8)).toString('latin1'), 'dmRMsupr');
  });
});
