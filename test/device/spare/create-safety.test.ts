import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type CandidateFacts,
  createRefusal,
  createWarnings,
} from '../../../src/device/spare/create-safety.ts';

const main: CandidateFacts = {
  path: '/dev/sdb',
  kind: 'block',
  keys: ['8:16'],
  wholeDiskKeys: [],
  sizeBytes: 1_000_000_000,
  model: 'OLD',
  serial: 'A1',
  uses: [],
  isSpare: false,
  spareName: '',
  signatures: ['ext4'],
  unreadable: false,
};

const spare: CandidateFacts = {
  ...main,
  path: '/dev/sdc',
  keys: ['8:32'],
  sizeBytes: 64_000_000,
  model: 'NEW',
  serial: 'B2',
  signatures: [],
};

const careful = { overwriteSpare: false };
const overwriting = { overwriteSpare: true };

function reasonOf(...parameters: Parameters<typeof createRefusal>): string | undefined {
  return createRefusal(...parameters)?.reason;
}

test('M17 a used main and an empty smaller spare are accepted', () => {
  assert.equal(createRefusal(main, spare, careful), undefined);
  assert.deepEqual(createWarnings(main, spare), []);
});

test('M17 one disk under two names is refused, whatever was overridden', () => {
  const again = { ...main, path: '/dev/disk/by-id/x' };
  assert.match(
    createRefusal(main, again, overwriting)!.message,
    /by-id\/x: main and spare are the same device/,
  );
});

test('M17 a table that uses the spare as one of its files is refused', () => {
  const table: CandidateFacts = { ...main, kind: 'table', keys: ['1:5', '1:9'] };
  assert.equal(reasonOf(table, { ...spare, kind: 'file', keys: ['1:9'] }, overwriting), 'refused');
});

test('M17 a partition of the other disk is refused both ways', () => {
  const part = { ...spare, keys: ['8:17'], wholeDiskKeys: ['8:16'] };
  assert.match(createRefusal(main, part, overwriting)!.message, /lies on main/);
  const mainPart = { ...main, keys: ['8:33'], wholeDiskKeys: ['8:32'] };
  assert.match(createRefusal(mainPart, spare, overwriting)!.message, /would destroy main/);
});

test('M17 mounts and holders of either disk are never overridable', () => {
  const used = ['mounted on /home'];
  for (const [one, other] of [
    [{ ...main, uses: used }, spare],
    [main, { ...spare, uses: used }],
  ] as const) {
    const refusal = createRefusal(one, other, overwriting)!;
    assert.equal(refusal.reason, 'busy');
    assert.match(refusal.message, /in use: mounted on \/home/);
  }
});

test('M17 swapped arguments: a spare given as main is never formatted over', () => {
  const swappedMain = { ...spare, isSpare: true };
  assert.match(createRefusal(swappedMain, main, overwriting)!.message, /are main and spare swapped/);
});

test('M17 swapped arguments: data on the spare and none on main is refused even with --overwrite-spare', () => {
  const refusal = createRefusal(spare, main, overwriting)!;
  assert.equal(refusal.reason, 'refused');
  assert.match(
    refusal.message,
    /^\/dev\/sdb: given as spare, but it carries ext4 .* wipefs --all \/dev\/sdb$/,
  );
});

test('M17 swapped arguments: data on a spare larger than main is refused even with --overwrite-spare', () => {
  const old = { ...spare, signatures: ['vfat'] };
  const refusal = createRefusal(old, main, overwriting)!;
  assert.equal(refusal.reason, 'refused');
  assert.match(refusal.message, /carries ext4 while main \/dev\/sdc is smaller; are they swapped/);
  assert.equal(createRefusal(main, old, overwriting), undefined, 'the right way round');
  assert.equal(createRefusal(old, { ...main, sizeBytes: old.sizeBytes }, overwriting), undefined, 'as large');
});

test('M17 a main that cannot be read is the failing one: --overwrite-spare then works', () => {
  const unreadable = { ...main, signatures: [], unreadable: true };
  const dirty = { ...spare, signatures: ['vfat'] };
  assert.equal(reasonOf(unreadable, dirty, careful), 'refused');
  assert.equal(createRefusal(unreadable, dirty, overwriting), undefined);
});

test('M17 contents, another spare, an unreadable or larger spare each want --overwrite-spare', () => {
  const cases: [Partial<CandidateFacts>, RegExp][] = [
    [{ signatures: ['vfat', 'gpt'] }, /carries vfat, gpt/],
    [{ isSpare: true, spareName: 'old' }, /is a dm-remap spare \(of old\) already/],
    [{ unreadable: true }, /cannot be read/],
    [{ sizeBytes: main.sizeBytes + 512 }, /larger than main/],
  ];
  for (const [facts, message] of cases) {
    const refusal = createRefusal(main, { ...spare, ...facts }, careful);
    assert.equal(refusal?.reason, 'refused', String(message));
    assert.match(refusal.message, message);
    assert.match(refusal.message, /--overwrite-spare/);
    assert.equal(createRefusal(main, { ...spare, ...facts }, overwriting), undefined, String(message));
  }
});

test('M17 no pair is accepted in both orders without an override when one side has contents', () => {
  const facts = fc.record({
    sizeBytes: fc.constantFrom(1_000, 2_000),
    signatures: fc.constantFrom<readonly string[]>([], ['ext4']),
    isSpare: fc.boolean(),
    unreadable: fc.boolean(),
  });
  fc.assert(
    fc.property(facts, facts, (a, b) => {
      const one = { ...main, ...a };
      const other = { ...spare, ...b };
      const bothWays = [createRefusal(one, other, careful), createRefusal(other, one, careful)];
      if (bothWays.every((refusal) => refusal === undefined)) {
        // Nothing tells them apart and nothing known is on either.
        for (const disk of [one, other]) {
          assert.deepEqual([disk.signatures, disk.isSpare, disk.unreadable], [[], false, false]);
        }
        assert.equal(one.sizeBytes, other.sizeBytes);
      }
    }),
  );
});

test('M17 both on one disk is a warning, image files aside', () => {
  const [first, second] = [
    { ...main, keys: ['8:17'], wholeDiskKeys: ['8:16'] },
    { ...spare, keys: ['8:18'], wholeDiskKeys: ['8:16'] },
  ];
  assert.match(createWarnings(first, second)[0]!, /on one disk/);
  assert.deepEqual(createWarnings({ ...first, kind: 'file' }, { ...second, kind: 'file' }), []);
});
