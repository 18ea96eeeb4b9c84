import assert from 'node:assert/strict';
import test from 'node:test';
import { fileSystemOf } from '../../bench/file-system.ts';

const mountInfo = `22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /dev/shm rw - tmpfs tmpfs rw
24 22 0:22 / /mnt/a\\040b rw shared:1 - btrfs /dev/vdb rw
25 22 0:23 / /mnt/twice rw - xfs /dev/vdc rw
26 25 0:24 / /mnt/twice rw - tmpfs tmpfs rw`;

test('a folder is on the deepest file system above it, the last one mounted there', () => {
  assert.equal(fileSystemOf('/tmp', mountInfo).type, 'ext4');
  assert.equal(fileSystemOf('/dev/shm', mountInfo).type, 'tmpfs');
  assert.equal(fileSystemOf('/dev/shm/x', mountInfo).type, 'tmpfs');
  assert.equal(fileSystemOf('/dev/shmx', mountInfo).type, 'ext4');
  assert.equal(fileSystemOf('/mnt/a b/c', mountInfo).type, 'btrfs');
  assert.equal(fileSystemOf('/mnt/twice/x', mountInfo).type, 'tmpfs');
});

test('asks this machine when it is told nothing: /proc is what it always is', () => {
  assert.equal(fileSystemOf('/proc').type, 'proc');
});
