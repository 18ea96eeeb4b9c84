import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { explainUsers, findBlockUsers, findUsers } from '../../src/io/disk-usage.ts';
import { addSataDisk, MachineDescription } from './machine-description.ts';

/** A line of /proc/self/mountinfo. */
function mount(deviceNumber: string, mountPoint: string, type: string, source: string): string {
  return `36 35 ${deviceNumber} / ${mountPoint} rw,noatime master:1 shared:2 - ${type} ${source} rw,errors=continue\n`;
}

async function usersOf(
  machine: MachineDescription,
  path: string,
  deviceNumber: string,
): Promise<readonly string[]> {
  return (await findBlockUsers(path, deviceNumber, machine)).map(({ text }) => text);
}

describe('R27 who uses a block device', () => {
  test('nobody', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.write('proc/self/mountinfo', mount('254:0', '/', 'ext4', '/dev/vda'));
    machine.write('proc/swaps', 'Filename\tType\tSize\tUsed\tPriority\n');
    assert.deepEqual(await usersOf(machine, '/dev/sda', '8:0'), []);
  });

  test('a file system, in a folder with a blank in its name', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.write('proc/self/mountinfo', mount('8:1', '/media/old\\040disk', 'ext4', '/dev/sda1'));
    assert.deepEqual(await findBlockUsers('/dev/sda1', '8:1', machine), [
      { kind: 'mounted', device: '/dev/sda1', text: 'mounted on /media/old disk' },
    ]);
  });

  test('a file system on a partition of it, told with the partition', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.write('proc/self/mountinfo', mount('8:2', '/home', 'ext4', '/dev/sda2'));
    assert.deepEqual(await usersOf(machine, '/dev/sda', '8:0'), ['/dev/sda2 mounted on /home']);
    assert.deepEqual(await usersOf(machine, '/dev/sda1', '8:1'), [], 'a neighbour is free');
  });

  test('a file system on the whole disk, asked about a partition', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.write('proc/self/mountinfo', mount('8:0', '/mnt', 'ext4', '/dev/sda'));
    assert.deepEqual(await usersOf(machine, '/dev/sda1', '8:1'), ['/dev/sda mounted on /mnt']);
  });

  test('a btrfs, which has a number of its own in the list of mounts', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.write('proc/self/mountinfo', mount('0:25', '/data', 'btrfs', '/dev/sda1'));
    assert.deepEqual(await usersOf(machine, '/dev/sda1', '8:1'), ['mounted on /data']);
  });

  test('a btrfs of several devices, by the one that is not in the list of mounts', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.write('sys/fs/btrfs/1234-abcd/devices/sda2/dev', '8:2\n');
    assert.deepEqual(await usersOf(machine, '/dev/sda2', '8:2'), ['part of the mounted btrfs 1234-abcd']);
  });

  test('swap, on a partition and through a link', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.write('proc/swaps', 'Filename\tType\tSize\tUsed\tPriority\n/dev/sda2   partition\t1024\t0\t-2\n');
    assert.deepEqual(await usersOf(machine, '/dev/disk/by-id/x', '8:0'), ['/dev/sda2 used as swap']);
    assert.deepEqual(await usersOf(machine, '/dev/sda2', '8:2'), ['used as swap']);
  });

  test('an array and a volume that stand on it, by the name people gave the volume', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.addBlock('md0', '9:0', { size: '8\n' });
    machine.addBlock('dm-3', '252:3', { size: '8\n', 'dm/name': 'vg-home\n' });
    machine.addHolder('sda1', 'md0');
    machine.addHolder('sda2', 'dm-3');
    assert.deepEqual(await usersOf(machine, '/dev/sda', '8:0'), [
      '/dev/sda1 held by md0',
      '/dev/sda2 held by dm-3 (vg-home)',
    ]);
  });

  test('a loop device over it, which the kernel does not list as a holder', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.addBlock('loop4', '7:4', { size: '8\n', 'loop/backing_file': '/dev/sda1\n' });
    machine.addBlock('loop5', '7:5', { size: '0\n' });
    assert.deepEqual(await usersOf(machine, '/dev/sda1', '8:1'), ['attached as /dev/loop4']);
  });

  test('a loop device over the same piece of the same file, of the device or of the disk of a partition', async () => {
    using machine = new MachineDescription();
    const path = join(machine.files, 'disk.img');
    writeFileSync(path, 'x');
    const loop = (number: number, offsetBytes: number, sectors: number): void =>
      machine.addBlock(`loop${number}`, `7:${number}`, {
        size: `${sectors}\n`,
        'loop/backing_file': `${path}\n`,
        'loop/offset': `${offsetBytes}\n`,
      });
    loop(0, 0, 8);
    loop(1, 4096, 8);
    loop(10, 7680, 2);
    machine.addBlock('loop1/loop1p1', '259:1', { size: '8\n', partition: '1\n' });
    const text = `its file ${path} is attached as /dev/loop10 too`;
    assert.deepEqual(await usersOf(machine, '/dev/loop0', '7:0'), [], 'a neighbour in the file is free');
    assert.deepEqual(await usersOf(machine, '/dev/loop1', '7:1'), [text]);
    assert.deepEqual(await usersOf(machine, '/dev/loop1p1', '259:1'), [`/dev/loop1 ${text}`]);
  });

  test('each user once, and all of them in one line', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.addBlock('md0', '9:0', { size: '8\n' });
    machine.addHolder('sda2', 'md0');
    const line = mount('8:1', '/home', 'ext4', '/dev/sda1');
    machine.write(
      'proc/self/mountinfo',
      `${line}${line}${mount('8:1', '/srv', 'ext4', '/dev/sda1')}garbage\n`,
    );
    assert.equal(
      explainUsers('/dev/sda', await findBlockUsers('/dev/sda', '8:0', machine)),
      '/dev/sda is in use: /dev/sda1 mounted on /home, /dev/sda1 mounted on /srv, /dev/sda2 held by md0',
    );
    assert.equal(explainUsers('/dev/sda', []), '');
  });
});

describe('R27 who uses a file', () => {
  test('R36 a file system that may hang is asked nothing about files elsewhere, also where no mount is known', async () => {
    using machine = new MachineDescription();
    const path = join(machine.files, 'spare.img');
    const net = join(machine.files, 'net');
    writeFileSync(path, 'x');
    mkdirSync(net);
    // The same inode, so that asking would show: only a question not asked finds nothing.
    linkSync(path, join(net, 'spare.img'));
    machine.addBlock('loop1', '7:1', { size: '8\n', 'loop/backing_file': `${join(net, 'spare.img')}\n` });
    const attached = [{ kind: 'loop', device: path, text: 'attached as /dev/loop1' }];
    assert.deepEqual(await findUsers(path, machine), attached, 'no mounts known: a plain file system');
    machine.write('proc/self/mountinfo', mount('0:50', net, 'fuse.nbdfuse', 'nbdfuse'));
    assert.deepEqual(await findUsers(path, machine), []);
    machine.write('proc/self/mountinfo', mount('0:50', machine.files, 'fuse.nbdfuse', 'nbdfuse'));
    assert.deepEqual(await findUsers(path, machine), attached, 'both on it: it must be asked');
  });

  test('a loop device and swap, whatever name they opened it by', async () => {
    using machine = new MachineDescription();
    const path = join(machine.files, 'spare disk.img');
    const alias = join(machine.files, 'alias.img');
    writeFileSync(path, 'x');
    linkSync(path, alias);
    assert.deepEqual(await findUsers(path, machine), []);
    machine.addBlock('loop1', '7:1', { size: '8\n', 'loop/backing_file': `${alias}\n` });
    machine.addBlock('loop2', '7:2', {
      size: '8\n',
      'loop/backing_file': `${join(machine.files, 'gone')} (deleted)\n`,
    });
    machine.write('proc/swaps', `Filename Type\n${path.replaceAll(' ', '\\040')}   file\t8\t0\t-2\n`);
    assert.deepEqual(await findUsers(path, machine), [
      { kind: 'loop', device: path, text: 'attached as /dev/loop1' },
      { kind: 'swap', device: path, text: 'used as swap' },
    ]);
  });

  test("a file that is not there is the system's error", async () => {
    await assert.rejects(findUsers('/nonexistent/spare.img'), { code: 'ENOENT' });
  });
});

test('R27 the disk that carries this machine is found to be in use', async (context) => {
  // In a chroot or container there may be no line for `/`, and findmnt then says so by its exit code alone.
  const { stdout } = spawnSync('findmnt', ['-n', '-o', 'SOURCE', '/'], { encoding: 'utf8' });
  const source = stdout.trim().replace(/\[.*$/, '');
  if (statSync(source, { throwIfNoEntry: false })?.isBlockDevice() !== true) {
    context.skip('the root file system of this machine is on no block device of its view');
    return;
  }
  const users = await findUsers(source);
  assert.ok(
    users.some(({ text }) => text === 'mounted on /'),
    JSON.stringify(users),
  );
});
