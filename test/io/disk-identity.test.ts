import assert from 'node:assert/strict';
import { linkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import {
  type DiskIdentity,
  describeIdentity,
  identifyBlock,
  identifyDevice,
  identityFromPairs,
  identityToPairs,
  onOneDisk,
  sameIdentity,
} from '../../src/io/disk-identity.ts';
import { formatDeviceNumber } from '../../src/io/system-files.ts';
import { addSataDisk, MachineDescription, vitalPage } from './machine-description.ts';

describe('M15 what identifies a block device', () => {
  test('of a SATA disk', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    assert.deepEqual(await identifyBlock('/dev/sda', '8:0', machine), {
      kind: 'block',
      path: '/dev/sda',
      strength: 'strong',
      key: 'block 8:0',
      wholeDiskKeys: ['block 8:0'],
      sizeBytes: 1_000_204_886_016,
      logicalBlockBytes: 512,
      physicalBlockBytes: 4096,
      wwn: '50014ee2b1',
      serial: 'WD-WCC3F7',
      model: 'WDC WD10EZEX-08W',
      vendor: 'ATA',
      partitionUuid: '',
      partitionStartBytes: 0,
      rotational: true,
      writeCache: 'write back',
    });
  });

  test('of a partition: its own place and UUID, its disk for the rest', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    const identity = await identifyBlock('/dev/sda2', '8:2', machine);
    assert.equal(identity.partitionUuid, '0fc63daf-0002');
    assert.equal(identity.partitionStartBytes, 4096 * 512);
    assert.equal(identity.sizeBytes, 2_048_000 * 512);
    assert.equal(identity.wwn, '50014ee2b1');
    assert.equal(identity.serial, 'WD-WCC3F7');
    assert.equal(identity.writeCache, 'write back');
    assert.equal(identity.key, 'block 8:2');
    assert.deepEqual(identity.wholeDiskKeys, ['block 8:0']);
  });

  test('of an NVMe disk', async () => {
    using machine = new MachineDescription();
    machine.addBlock('nvme0n1', '259:0', {
      size: '2048\n',
      wwid: 'eui.0025385B71B0C8A1\n',
      'device/model': 'Samsung SSD 980 PRO 1TB                 \n',
      'device/serial': 'S5GXNX0T      \n',
      'queue/write_cache': 'write through\n',
    });
    const identity = await identifyBlock('/dev/nvme0n1', '259:0', machine);
    assert.equal(identity.wwn, '0025385b71b0c8a1');
    assert.equal(identity.serial, 'S5GXNX0T');
    assert.equal(identity.model, 'Samsung SSD 980 PRO 1TB');
    assert.equal(identity.writeCache, 'write through');
    assert.equal(identity.rotational, false);
    assert.equal(identity.strength, 'strong');
  });

  test('of a virtio disk: a serial only, or nothing at all', async () => {
    using machine = new MachineDescription();
    machine.addBlock('vda', '254:0', { size: '2048\n', serial: 'abc' });
    machine.addBlock('vdb', '254:16', { size: '2048\n' });
    assert.equal((await identifyBlock('/dev/vda', '254:0', machine)).strength, 'strong');
    const nameless = await identifyBlock('/dev/vdb', '254:16', machine);
    assert.equal(nameless.strength, 'weak');
    assert.equal(nameless.writeCache, 'unknown');
  });

  test('of a logical volume: its UUID; it lies on the disk below its physical volume', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.addBlock('dm-0', '252:0', { size: '2048\n', 'dm/uuid': 'LVM-w5Yx\n', 'dm/name': 'vg-home\n' });
    machine.addHolder('sda2', 'dm-0');
    const identity = await identifyBlock('/dev/dm-0', '252:0', machine);
    assert.equal(identity.strength, 'strong');
    assert.equal(identity.wwn, 'lvm-w5yx');
    assert.deepEqual(identity.wholeDiskKeys, ['block 8:2', 'block 8:0']);
  });

  test('is taken from udev where sysfs is silent', async () => {
    using machine = new MachineDescription();
    machine.addBlock('sdb', '8:16', { size: '2048\n' });
    machine.addBlock('sdb/sdb1', '8:17', { size: '1024\n', start: '63\n', partition: '1\n' });
    machine.addUdev('8:16', { ID_WWN: '0x50014EE2B1', ID_SERIAL_SHORT: 'WD-1', ID_MODEL: 'WDC_WD10EZEX' });
    machine.addUdev('8:17', { ID_PART_ENTRY_UUID: '1234ABCD-01', ID_SERIAL_SHORT: 'not the disk' });
    const identity = await identifyBlock('/dev/sdb1', '8:17', machine);
    assert.deepEqual(
      [identity.wwn, identity.serial, identity.model, identity.partitionUuid],
      ['50014ee2b1', 'WD-1', 'WDC WD10EZEX', '1234abcd-01'],
    );
  });

  test('an odd page of vital product data is no serial', async () => {
    using machine = new MachineDescription();
    machine.addBlock('sdb', '8:16', { size: '8\n', 'device/vpd_pg80': Buffer.from([0, 0x83, 0, 1, 65]) });
    machine.addBlock('sdc', '8:32', { size: '8\n', 'device/vpd_pg80': vitalPage('\0\0  ') });
    assert.equal((await identifyBlock('/dev/sdb', '8:16', machine)).serial, '');
    assert.equal((await identifyBlock('/dev/sdc', '8:32', machine)).serial, '');
  });

  test('volumes that claim to stand on each other end the search', async () => {
    using machine = new MachineDescription();
    machine.addBlock('dm-0', '252:0', { size: '8\n' });
    machine.addBlock('dm-1', '252:1', { size: '8\n' });
    machine.addHolder('dm-0', 'dm-1');
    machine.addHolder('dm-1', 'dm-0');
    assert.deepEqual((await identifyBlock('/dev/dm-0', '252:0', machine)).wholeDiskKeys, ['block 252:1']);
  });

  test('a number that the kernel does not know gives a weak, empty identity', async () => {
    using machine = new MachineDescription();
    const identity = await identifyBlock('/dev/sdz', '65:144', machine);
    assert.equal(identity.strength, 'weak');
    assert.equal(identity.sizeBytes, 0);
  });
});

describe('M15 what identifies a file', () => {
  test('its inode and size, always weakly; every name of it has the same key', async () => {
    using machine = new MachineDescription();
    const path = join(machine.files, 'main.img');
    writeFileSync(path, new Uint8Array(4096));
    linkSync(path, join(machine.files, 'hard.img'));
    symlinkSync(path, join(machine.files, 'soft.img'));
    const identity = await identifyDevice(path, machine);
    assert.equal(identity.kind, 'file');
    assert.equal(identity.strength, 'weak');
    assert.equal(identity.sizeBytes, 4096);
    for (const name of ['hard.img', 'soft.img']) {
      assert.equal((await identifyDevice(join(machine.files, name), machine)).key, identity.key);
    }
    assert.equal((await identifyDevice(join(machine.files, 'soft.img'), machine)).path, identity.path);
    writeFileSync(join(machine.files, 'other.img'), new Uint8Array(4096));
    assert.notEqual((await identifyDevice(join(machine.files, 'other.img'), machine)).key, identity.key);
  });

  test('what is neither a file nor a block device is refused, what is not there as the system says', async () => {
    using machine = new MachineDescription();
    await assert.rejects(
      identifyDevice(machine.files, machine),
      /is neither a block device nor a regular file/,
    );
    await assert.rejects(identifyDevice('/dev/null', machine), /\/dev\/null: is neither/);
    await assert.rejects(identifyDevice(join(machine.files, 'none'), machine), { code: 'ENOENT' });
  });
});

describe('M17 two names on one disk', () => {
  test('two partitions of it, and the disk itself', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    addSataDisk(machine, 'sdb', 16, 'WD-OTHER', '0014ee2b2');
    const [disk, one, two, other] = await Promise.all([
      identifyBlock('/dev/sda', '8:0', machine),
      identifyBlock('/dev/sda1', '8:1', machine),
      identifyBlock('/dev/sda2', '8:2', machine),
      identifyBlock('/dev/sdb1', '8:17', machine),
    ]);
    assert.equal(onOneDisk(one, two), true);
    assert.equal(onOneDisk(disk, two), true);
    assert.equal(onOneDisk(one, other), false);
  });

  test('two paths of one multipath disk', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    addSataDisk(machine, 'sdb', 16);
    assert.equal(
      onOneDisk(
        await identifyBlock('/dev/sda', '8:0', machine),
        await identifyBlock('/dev/sdb', '8:16', machine),
      ),
      true,
    );
  });

  test('a loop device over a file of a btrfs, which hides its disk', async () => {
    using machine = new MachineDescription();
    addSataDisk(machine);
    machine.addBlock('loop0', '7:0', { size: '8\n', 'loop/backing_file': '/dev/sda1\n' });
    const loop = await identifyBlock('/dev/loop0', '7:0', machine);
    assert.equal(onOneDisk(loop, await identifyBlock('/dev/sda2', '8:2', machine)), true);
  });
});

const strong: DiskIdentity = {
  kind: 'block',
  path: '/dev/sdb',
  strength: 'strong',
  key: 'block 8:16',
  wholeDiskKeys: ['block 8:16'],
  sizeBytes: 1_000_000,
  logicalBlockBytes: 512,
  physicalBlockBytes: 4096,
  wwn: '5001',
  serial: 'A1',
  model: 'M',
  vendor: 'V',
  partitionUuid: '',
  partitionStartBytes: 0,
  rotational: true,
  writeCache: 'write back',
};
const weak: DiskIdentity = { ...strong, strength: 'weak', wwn: '', serial: '' };

describe('M15 is it the recorded disk', () => {
  const cases: readonly (readonly [
    title: string,
    recorded: DiskIdentity,
    found: DiskIdentity,
    verdict: 'same' | 'weak' | 'different',
    reason: RegExp | undefined,
  ])[] = [
    [
      'the same under another name',
      strong,
      { ...strong, path: '/dev/sdx', key: 'block 65:1' },
      'same',
      undefined,
    ],
    ['another serial', strong, { ...strong, serial: 'B2' }, 'different', /^serial was A1, is B2$/],
    ['another WWN', strong, { ...strong, wwn: '5002' }, 'different', /^WWN was 5001, is 5002$/],
    [
      'a smaller disk',
      strong,
      { ...strong, sizeBytes: 999_424 },
      'different',
      /^size was 1000000, is 999424$/,
    ],
    [
      'M21 a disk that grew',
      strong,
      { ...strong, sizeBytes: 2_000_000 },
      'same',
      /^size was 1000000, is 2000000$/,
    ],
    [
      'other blocks',
      strong,
      { ...strong, logicalBlockBytes: 4096 },
      'different',
      /^logical block was 512, is 4096$/,
    ],
    ['an enclosure that renames it', strong, { ...strong, model: 'USB' }, 'same', /^model was M, is USB$/],
    [
      'another partition of it',
      { ...strong, partitionUuid: 'u1', partitionStartBytes: 512 },
      { ...strong, partitionUuid: 'u2', partitionStartBytes: 512 },
      'different',
      /^partition UUID was u1, is u2$/,
    ],
    [
      'a partition that moved',
      { ...strong, partitionStartBytes: 512 },
      { ...strong, partitionStartBytes: 1024 },
      'different',
      /^partition start was 512, is 1024$/,
    ],
    [
      'the whole disk instead of a partition',
      { ...strong, partitionStartBytes: 512 },
      strong,
      'different',
      /partition start/,
    ],
    ['a serial alone that agrees', { ...strong, wwn: '' }, strong, 'same', undefined],
    ['a recorded name that is not told now', strong, weak, 'weak', /no WWN and no serial/],
    [
      'two that tell nothing',
      weak,
      weak,
      'weak',
      /no WWN and no serial to tell \/dev\/sdb from another block device/,
    ],
    [
      'a model that changed, with nothing better known',
      weak,
      { ...weak, model: 'N' },
      'different',
      /^model was M, is N$/,
    ],
    [
      'a file instead of a disk',
      strong,
      { ...weak, kind: 'file' },
      'different',
      /was a block device, is a file/,
    ],
  ];
  for (const [title, recorded, found, verdict, reason] of cases) {
    test(`${title}: ${verdict}`, () => {
      const judged = sameIdentity(recorded, found);
      assert.equal(judged.verdict, verdict, judged.reasons.join(', '));
      if (reason === undefined) assert.deepEqual(judged.reasons, []);
      else
        assert.ok(
          judged.reasons.some((text) => reason.test(text)),
          judged.reasons.join(', '),
        );
    });
  }

  test('what the superblock keeps of it decides the same', () => {
    const kept = identityFromPairs(identityToPairs(strong));
    assert.deepEqual(sameIdentity(kept, strong), { verdict: 'same', reasons: [] });
    assert.equal(sameIdentity(kept, { ...strong, serial: 'B2' }).verdict, 'different');
    assert.equal(kept.strength, 'strong');
    assert.equal(identityFromPairs(identityToPairs(weak)).strength, 'weak');
  });

  test('garbage in the kept pairs is unknown, not a number', () => {
    assert.equal(identityFromPairs({ sizeBytes: 'lots', logicalBlockBytes: '-4' }).sizeBytes, 0);
    assert.equal(identityFromPairs({ sizeBytes: 'lots', logicalBlockBytes: '-4' }).logicalBlockBytes, 0);
  });

  test('one line tells a person which disk it is', () => {
    assert.equal(describeIdentity(strong), '/dev/sdb: V M, serial A1, 976.6 KiB (1000000 bytes)');
    assert.equal(
      describeIdentity({ ...weak, kind: 'file', path: '/tmp/a.img', model: '', vendor: '' }),
      '/tmp/a.img: file, 976.6 KiB (1000000 bytes)',
    );
  });
});

test('device numbers are taken apart as the C library does', () => {
  // The encoded numbers are os.makedev's of Python, which calls the C library.
  assert.equal(formatDeviceNumber(0x801n), '8:1');
  assert.equal(formatDeviceNumber(0x11032cn), '259:300');
  assert.equal(formatDeviceNumber(0xffffffffn), '4095:1048575');
  assert.equal(formatDeviceNumber(0x11004c4b17040n), '70000:5000000');
});

test('a name with a zero byte is one that no file has, and no bug', async () => {
  await assert.rejects(identifyDevice('/dev/sd\0a'), { code: 'OPEN_NOT_FOUND' });
});
