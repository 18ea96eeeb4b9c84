import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockDevice } from '../../../src/block/block-device.ts';
import { deviceError } from '../../../src/block/device-error.ts';
import { Errno } from '../../../src/block/errno.ts';
import { FilterDevice } from '../../../src/block/filter-device.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import { readContents } from '../../../src/device/spare/disk-contents.ts';
import { RealClock } from '../../../src/io/real-clock.ts';
import { HandClock } from '../hand-clock.ts';

const sizeBytes = 8 * 1_048_576;
const deadlineMs = 2_000;

function swapDisk(): MemoryDevice {
  const disk = new MemoryDevice({ sizeBytes });
  new DataView(disk.bytes.buffer).setUint32(1024, 1, true);
  new DataView(disk.bytes.buffer).setUint32(1028, sizeBytes / 4096 - 1, true);
  disk.bytes.set(Buffer.from('SWAPSPACE2'), 4086);
  return disk;
}

class FailingReads extends FilterDevice {
  readonly #fails: (offset: number) => boolean;

  constructor(below: BlockDevice, fails: (offset: number) => boolean) {
    super(below);
    this.#fails = fails;
  }

  override read(target: Uint8Array, offset: number): Promise<void> {
    if (!this.#fails(offset)) return this.below.read(target, offset);
    return Promise.reject(deviceError(this.name, 'medium', offset, target.length, Errno.ENODATA));
  }
}

test('an empty disk carries nothing', async () => {
  const contents = await readContents(new MemoryDevice({ sizeBytes }), new RealClock(), deadlineMs);
  assert.deepEqual(contents, { isSpare: false, spareName: '', signatures: [], unreadable: false });
});

test('what blkid knows is named', async () => {
  const contents = await readContents(swapDisk(), new RealClock(), deadlineMs);
  assert.equal(contents.signatures.length, 1);
  assert.match(contents.signatures[0]!, /swap/i);
  assert.equal(contents.isSpare, false);
});

test('our superblock is found at any of its places, damaged too', async () => {
  for (const offset of [65_536, 65_536 + 4096, sizeBytes - 1_048_576]) {
    const disk = new MemoryDevice({ sizeBytes });
    disk.bytes.set(Buffer.from('dmRMsupr'), offset);
    const contents = await readContents(disk, new RealClock(), deadlineMs);
    assert.equal(contents.isSpare, true, `at byte ${offset}`);
  }
});

test('a place that cannot be read may hide something and is not taken for empty', async () => {
  const disk = new FailingReads(swapDisk(), (offset) => offset === 0);
  const contents = await readContents(disk, new RealClock(), deadlineMs);
  assert.equal(contents.unreadable, true);
});

test('I1 a disk whose reads hang is given up at the deadline', async () => {
  const clock = new HandClock();
  let reads = 0;
  class Hanging extends FilterDevice {
    override read(): Promise<void> {
      reads += 1;
      return new Promise(() => {});
    }
  }
  const looking = readContents(new Hanging(new MemoryDevice({ sizeBytes })), clock, deadlineMs);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(reads, 1);
  clock.advance(deadlineMs);
  const contents = await looking;
  assert.deepEqual(contents, { isSpare: false, spareName: '', signatures: [], unreadable: true });
  assert.equal(reads, 1, 'nothing more was asked of it');
  assert.equal(clock.waitingCount, 0);
});
