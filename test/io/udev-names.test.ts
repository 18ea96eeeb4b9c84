import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { udevNames, udevNamesOfNumber } from '../../src/io/udev-names.ts';
import { addSataDisk, MachineDescription } from './machine-description.ts';

test('M16 a disk and a partition are named as udev names them, each by its own', async () => {
  using machine = new MachineDescription();
  addSataDisk(machine);
  machine.write('udev/b8:0', 'S:disk/by-id/x\nE:ID_SERIAL=WDC_WD10EZEX_WD-WCC3F7\nE:ID_WWN=0x5\n');
  assert.deepEqual((await udevNamesOfNumber('8:0', machine)).names, ['serial-WDC_WD10EZEX_WD-WCC3F7']);
  const partition = await udevNamesOfNumber('8:2', machine);
  assert.deepEqual(partition.names, ['serial-WDC_WD10EZEX_WD-WCC3F7-part2']);
  assert.match(partition.ueventPath, /sda2\/uevent$/);
});

test('M16 volumes have names of their own, and what is no name of a file is none', async () => {
  using machine = new MachineDescription();
  machine.addBlock('dm-0', '253:0', { size: '2048\n' });
  machine.write('udev/b253:0', 'E:DM_UUID=LVM-abc\nE:MD_UUID=../../etc/passwd\n');
  assert.deepEqual((await udevNamesOfNumber('253:0', machine)).names, ['dm-LVM-abc']);
  assert.deepEqual((await udevNamesOfNumber('9:9', machine)).names, [], 'udev does not know it');
});

test('M16 an image file is hidden from nobody: no automounter looks into it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dm-remap-names-'));
  assert.deepEqual((await udevNames(folder)).names, []);
  rmSync(folder, { recursive: true });
});
