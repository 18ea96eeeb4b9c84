import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { AttachError } from '../../src/attach/attach-error.ts';
import { makeLinks, partitionsOf, removeLinks } from '../../src/attach/links.ts';

let folder: string;
let sysfs: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-links-'));
  sysfs = join(folder, 'sys');
  mkdirSync(join(sysfs, 'loop7'), { recursive: true });
});

afterEach(() => rmSync(folder, { recursive: true }));

function links(): Record<string, string> {
  const place = join(folder, 'dev');
  if (!existsSync(place)) return {};
  return Object.fromEntries(readdirSync(place).map((name) => [name, readlinkSync(join(place, name))]));
}

function make(name: string, device: string): readonly string[] {
  return makeLinks(name, device, { folder: join(folder, 'dev'), sysfs });
}

function remove(name: string, device: string): void {
  removeLinks(name, device, join(folder, 'dev'));
}

test('a device and its partitions have links, which follow the partition table', () => {
  for (const entry of ['loop7p1', 'loop7p12', 'queue', 'loop7x', 'power'])
    mkdirSync(join(sysfs, 'loop7', entry));
  assert.deepEqual(
    [...partitionsOf('loop7', sysfs)],
    [
      [1, 'loop7p1'],
      [12, 'loop7p12'],
    ],
  );
  make('disk', 'loop7');
  assert.deepEqual(links(), { disk: '../loop7', 'disk-part1': '../loop7p1', 'disk-part12': '../loop7p12' });
  rmSync(join(sysfs, 'loop7', 'loop7p12'), { recursive: true });
  make('disk', 'loop7');
  assert.deepEqual(links(), { disk: '../loop7', 'disk-part1': '../loop7p1' });
  remove('disk', 'loop7');
  assert.equal(existsSync(join(folder, 'dev')), false, 'nor the folder');
});

test("what is another device's stays", () => {
  mkdirSync(join(sysfs, 'loop77'), { recursive: true });
  mkdirSync(join(sysfs, 'loop7', 'loop'), { recursive: true });
  writeFileSync(join(sysfs, 'loop7', 'loop', 'backing_file'), '/');
  make('disk', 'loop7');
  make('disk-two', 'loop77');
  assert.throws(
    () => make('disk', 'loop77'),
    (error) => error instanceof AttachError && error.reason === 'busy',
  );
  remove('disk', 'loop77');
  assert.deepEqual(links(), { disk: '../loop7', 'disk-two': '../loop77' });
  // Of a device that is nothing any more the name is free.
  rmSync(join(sysfs, 'loop7', 'loop'), { recursive: true });
  make('disk', 'loop77');
  assert.deepEqual(links(), { disk: '../loop77', 'disk-two': '../loop77' });
});

test('what is no link of ours is not touched', () => {
  mkdirSync(join(folder, 'dev'));
  writeFileSync(join(folder, 'dev', 'disk'), 'precious');
  assert.throws(() => make('disk', 'loop7'), /no link of ours/);
  symlinkSync('/dev/sda', join(folder, 'dev', 'other'));
  assert.throws(() => make('other', 'loop7'), /no link of ours/);
});
