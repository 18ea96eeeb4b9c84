import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type IdentifiedDisk,
  type IdentifiedTable,
  identityDifference,
  identityRecord,
  recordedMain,
} from '../../../src/device/main/main-identity.ts';
import { SetupError } from '../../../src/device/setup-error.ts';
import { type DiskIdentity, identityFromPairs } from '../../../src/io/disk-identity.ts';

function disk(pairs: Record<string, string>): IdentifiedDisk {
  const identity: DiskIdentity = identityFromPairs({ sizeBytes: '1048576', ...pairs });
  return { access: 'direct', identity, path: identity.path };
}

function table(path: string, ...disks: IdentifiedDisk[]): IdentifiedTable {
  return { access: 'table', path, disks, device: { geometry: { sizeBytes: 1_048_576 } } };
}

const file = disk({ kind: 'file', path: '/a.img', key: 'file 8:1 77' });
const block = disk({ kind: 'block', path: '/dev/sdb', wwn: '5000c5', serial: 'S1', model: 'OLD' });

test('a disk with a WWN is the same under every device name', () => {
  const renamed = disk({ kind: 'block', path: '/dev/sdz', wwn: '5000c5', serial: 'S1', model: 'OLD' });
  assert.equal(identityDifference(identityRecord(block), renamed), undefined);
});

test('M15 another disk under the old name is refused, naming old and new', () => {
  const other = disk({ kind: 'block', path: '/dev/sdb', wwn: '5000ff', serial: 'S2', model: 'NEW' });
  const difference = identityDifference(identityRecord(block), other);
  assert.match(difference ?? '', /remembers .*serial S1.*; this is .*serial S2/);
  assert.match(difference ?? '', /WWN was 5000c5, is 5000ff/);
});

test('an image is the same in its place, and under its inode after a rename or another boot', () => {
  const recorded = identityRecord(file);
  assert.equal(
    identityDifference(recorded, disk({ kind: 'file', path: '/a.img', key: 'file 8:1 99' })),
    undefined,
  );
  assert.equal(
    identityDifference(recorded, disk({ kind: 'file', path: '/b.img', key: 'file 9:4 77' })),
    undefined,
  );
});

test('M15 another image elsewhere is refused', () => {
  const other = disk({ kind: 'file', path: '/b.img', key: 'file 8:1 78' });
  assert.match(identityDifference(identityRecord(file), other) ?? '', /\/a\.img.*\/b\.img/);
});

test('a table is what it lies on: its faults may change, its files may not', () => {
  const second = disk({ kind: 'file', path: '/c.img', key: 'file 8:1 79' });
  const recorded = identityRecord(table('table:/x', file, second));
  assert.equal(identityDifference(recorded, table('table:/y', second, file, file)), undefined);
  assert.match(identityDifference(recorded, table('table:/x', file)) ?? '', /inode:77 inode:79/);
});

test('a file that was under a table may be taken as it is, and back', () => {
  assert.equal(identityDifference(identityRecord(table('table:/x', file)), file), undefined);
  assert.equal(identityDifference(identityRecord(file), table('table:/x', file)), undefined);
});

test('a spare that remembers nothing accepts what it is given', () => {
  assert.equal(identityDifference({}, file), undefined);
});

test('main is where the spare last saw it', () => {
  assert.deepEqual(recordedMain(identityRecord(block)), { kind: 'path', path: '/dev/sdb' });
  assert.throws(() => recordedMain({}), SetupError);
  assert.throws(() => recordedMain({ path: 'table:/does/not/exist' }), /give --main-table/);
});

test('a spare that names something without an end as the file of a table is refused, not read', () => {
  for (const label of ['/dev/zero', '/', '-', '/a\0b']) {
    assert.throws(() => recordedMain({ path: `table:${label}` }), /give --main-table/);
  }
});
