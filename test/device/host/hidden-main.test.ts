import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { HiddenMain, hiddenFolder } from '../../../src/device/host/hidden-main.ts';

let folder: string;
let ueventPath: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-hidden-'));
  ueventPath = `${folder}.uevent`;
  writeFileSync(ueventPath, '');
});

afterEach(() => {
  rmSync(folder, { recursive: true });
  rmSync(ueventPath, { force: true });
});

test('M16 a main is marked by what udev calls it until it may be seen again, and then udev looks anew', () => {
  const hidden = new HiddenMain(folder, { names: ['serial-A-part1', 'dm-B'], ueventPath });
  assert.deepEqual(readdirSync(folder).sort(), ['dm-B', 'serial-A-part1']);
  assert.equal(readFileSync(ueventPath, 'utf8'), '');
  hidden.show();
  assert.deepEqual(readdirSync(folder), []);
  assert.equal(readFileSync(ueventPath, 'utf8'), 'change');
});

test('M16 the marks of a session that was killed are taken over by the next one', () => {
  new HiddenMain(folder, { names: ['serial-A'], ueventPath });
  const next = new HiddenMain(folder, { names: ['serial-A'], ueventPath });
  assert.deepEqual(readdirSync(folder), ['serial-A']);
  rmSync(ueventPath);
  // The disk was pulled out: nobody has to look at it.
  next.show();
  assert.deepEqual(readdirSync(folder), []);
});

test('a machine that was not set up has no folder for marks', () => {
  assert.equal(hiddenFolder({ DM_REMAP_HIDDEN_DIR: folder }), folder);
  assert.equal(hiddenFolder({ DM_REMAP_HIDDEN_DIR: join(folder, 'none') }), undefined);
});
