import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { wholeDisksOf, wholeDisksUnder } from '../../../src/control/health/whole-disks.ts';
import { MachineDescription } from '../../io/machine-description.ts';

let machine: MachineDescription;

beforeEach(() => {
  machine = new MachineDescription();
  machine.addBlock('sda', '8:0', { 'device/wwid': 'naa.5000c500a1b2c3d4\n', 'device/timeout': '30\n' });
  machine.addBlock('sda/sda1', '8:1', { partition: '1\n' });
  machine.addBlock('sdb', '8:16', { 'device/model': 'X\n' });
  machine.addBlock('cciss!c0d0', '104:0', { 'device/model': 'Y\n' });
});

afterEach(() => machine[Symbol.dispose]());

async function devices(number: string): Promise<string[]> {
  return (await wholeDisksOf('main', '/dev/x', number, machine)).map(({ device }) => device).sort();
}

test('a whole disk, a partition and a disk whose name has a folder lead to the disk', async () => {
  assert.deepEqual(await devices('8:0'), ['/dev/sda']);
  assert.deepEqual(await devices('8:1'), ['/dev/sda']);
  assert.deepEqual(await devices('104:0'), ['/dev/cciss/c0d0']);
  const [disk] = await wholeDisksOf('spare', '/dev/sda1', '8:1', machine);
  assert.equal(disk?.key, 'spare 5000c500a1b2c3d4');
  assert.equal(disk?.role, 'spare');
  assert.equal(disk?.underFile, false);
});

test('a volume over partitions of two disks leads to both', async () => {
  machine.addBlock('dm-0', '253:0', { 'dm/uuid': 'LVM-1\n' });
  machine.addHolder('sda1', 'dm-0');
  machine.addHolder('sdb', 'dm-0');
  assert.deepEqual(await devices('253:0'), ['/dev/sda', '/dev/sdb']);
});

test('a loop device leads to the disk of its file, which is under a file then', async () => {
  const backing = join(machine.files, 'disk.img');
  writeFileSync(backing, 'x');
  machine.addBlock('loop0', '7:0', { 'loop/backing_file': `${backing}\n` });
  const found = await wholeDisksOf('main', '/dev/loop0', '7:0', machine);
  assert.ok(found.every(({ underFile, device }) => underFile && device !== '/dev/loop0'));
});

test('a virtual device without anything plugged in has no disk, and neither has an image file or nothing at all', async () => {
  machine.addBlock('zram0', '252:0', {});
  assert.deepEqual(await devices('252:0'), []);
  assert.deepEqual(await devices('99:0'), []);
  const image = join(machine.files, 'image');
  writeFileSync(image, 'x');
  assert.deepEqual(await wholeDisksUnder('main', image, machine), []);
  assert.deepEqual(await wholeDisksUnder('main', join(machine.files, 'absent'), machine), []);
});
