import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type Extent, IoFlags } from '../../src/block/block-device.ts';
import { createImage } from '../../src/io/create-image.ts';
import { extentsPerAnswerMax } from '../../src/io/file-extents.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';

const mebibyte = 1024 * 1024;
const block = 4096;
const imageBytes = 8 * mebibyte;

describe('discard, zeroing and holes of image files', { timeout: 20_000 }, () => {
  let fixture: DataPlaneFixture;
  let path: string;

  beforeEach(async () => {
    fixture = await dataPlaneFixture();
    path = join(fixture.directory, 'image');
  });

  afterEach(() => fixture.dispose());

  const allocated = (): number => statSync(path).blocks * 512;

  it('R21 zeroing gives room back only where it may, is never sent to the disk as bytes, and is exact', async () => {
    for (const cache of ['none', 'writeback'] as const) {
      writeFileSync(path, Buffer.alloc(imageBytes, 7));
      const device = await fixture.plane.openFile({ path, cache });
      assert.equal(device.capabilities.fastZeroes, true);
      const before = allocated();
      await device.writeZeroes(mebibyte, 2 * mebibyte, IoFlags.keepAllocated | IoFlags.onlyIfFast);
      assert.equal(allocated(), before, 'kept');
      await device.writeZeroes(4 * mebibyte, 2 * mebibyte, IoFlags.onlyIfFast | IoFlags.fua);
      // A hole more may cost the file system a block for its tables.
      assert.ok(allocated() <= before - 2 * mebibyte + 64 * 1024, 'given back');
      await device.flush();
      await device.close();
      const bytes = readFileSync(path);
      const expected = Buffer.alloc(imageBytes, 7).fill(0, mebibyte, 3 * mebibyte);
      assert.ok(bytes.equals(expected.fill(0, 4 * mebibyte, 6 * mebibyte)), cache);
    }
  });

  it('R15 a file system that does not know a command is asked once, and told of no more', async () => {
    // tmpfs makes holes and does not know how to zero in place.
    const memory = await dataPlaneFixture({}, '/dev/shm');
    const file = join(memory.directory, 'image');
    writeFileSync(file, Buffer.alloc(mebibyte, 7));
    const device = await memory.plane.openFile({ path: file, cache: 'none' });
    assert.equal(device.capabilities.fastZeroes, true);
    await assert.rejects(device.writeZeroes(0, block, IoFlags.keepAllocated | IoFlags.onlyIfFast), {
      kind: 'unsupported',
    });
    await device.writeZeroes(block, block, IoFlags.keepAllocated);
    const held = statSync(file).blocks;
    await device.writeZeroes(2 * block, block, IoFlags.onlyIfFast);
    assert.ok(statSync(file).blocks < held, 'a hole');
    await device.close();
    const expected = Buffer.alloc(mebibyte, 7).fill(0, block, 3 * block);
    assert.ok(readFileSync(file).equals(expected));
    await memory.dispose();
  });

  it('R29 tells holes where the file system has them, and data where anything was written', async () => {
    writeFileSync(path, '');
    truncateSync(path, imageBytes);
    for (const cache of ['none', 'writeback'] as const) {
      const device = await fixture.plane.openFile({ path, cache });
      await device.writeZeroes(0, imageBytes);
      assert.deepEqual(await device.extents(0, imageBytes), [{ length: imageBytes, state: 'hole' }]);
      await device.write(new Uint8Array(block).fill(1), 2 * mebibyte);
      await device.write(new Uint8Array(block).fill(1), imageBytes - block);
      assert.deepEqual(await device.extents(0, imageBytes), [
        { length: 2 * mebibyte, state: 'hole' },
        { length: block, state: 'data' },
        { length: imageBytes - 2 * mebibyte - 2 * block, state: 'hole' },
        { length: block, state: 'data' },
      ]);
      assert.deepEqual(await device.extents(2 * mebibyte, block), [{ length: block, state: 'data' }]);
      await device.close();
    }
  });

  it('R29 a block that is a hole in part is data, whatever the unit of the device is', async () => {
    writeFileSync(path, '');
    truncateSync(path, imageBytes);
    const device = await fixture.plane.openFile({ path, cache: 'writeback' });
    await device.write(new Uint8Array(512).fill(1), mebibyte + 1536);
    const extents = await device.extents(mebibyte + 1024, mebibyte);
    assert.equal(extents[0]?.state, 'data');
    assert.ok(extents[0].length >= 1024 && extents.every(({ length }) => length % 512 === 0));
    await device.close();
  });

  it('R29 what was acknowledged before the question is never called a hole, whatever else is being written', async () => {
    writeFileSync(path, '');
    truncateSync(path, imageBytes);
    for (const cache of ['none', 'writeback'] as const) {
      const device = await fixture.plane.openFile({ path, cache });
      await device.writeZeroes(0, imageBytes);
      const written = new Set<number>();
      const blocks = imageBytes / block;
      const questions = 12;
      let asked = 0;
      let writes = 0;
      let wroteMeanwhile = 0;
      // A machine that is busy may write nothing while it answers: it is then asked again.
      const isDone = (): boolean => asked >= questions && wroteMeanwhile > 0;
      const writer = async (lane: number): Promise<void> => {
        for (let at = lane; !isDone(); at = (at + 5 * 8) % blocks) {
          await device.write(new Uint8Array(block).fill(1), at * block);
          written.add(at);
          writes += 1;
        }
      };
      const writers = Promise.all(Array.from({ length: 8 }, (_, lane) => writer(lane)));
      for (; !isDone(); asked += 1) {
        const before = [...written];
        const writesBefore = writes;
        const holes = holesOf(await device.extents(0, imageBytes));
        wroteMeanwhile += writes - writesBefore;
        for (const at of before)
          assert.ok(!holes.some(([from, to]) => at * block >= from && at * block < to), `${at}`);
      }
      await writers;
      await device.close();
    }
  });

  it('I2 an answer looks for so many changes at most, and covers less then', async () => {
    writeFileSync(path, '');
    truncateSync(path, imageBytes);
    const device = await fixture.plane.openFile({ path, cache: 'none' });
    const step = 2 * block;
    for (let at = 0; at < imageBytes; at += step) await device.write(new Uint8Array(block).fill(1), at);
    const extents = await device.extents(0, imageBytes);
    assert.equal(extents.length, extentsPerAnswerMax);
    let at = extents.reduce((sum, { length }) => sum + length, 0);
    assert.ok(at < imageBytes);
    while (at < imageBytes)
      at += (await device.extents(at, imageBytes - at)).reduce((sum, one) => sum + one.length, 0);
    assert.equal(at, imageBytes, 'the rest of the answers');
    await device.close();
  });

  it('R29 what lies behind the end of a file that was cut does not pass for zeros', async () => {
    writeFileSync(path, Buffer.alloc(imageBytes, 7));
    const device = await fixture.plane.openFile({ path, cache: 'none' });
    truncateSync(path, mebibyte);
    assert.deepEqual(holesOf(await device.extents(0, imageBytes)), []);
    await device.close();
  });
});

/** Holes as `[from, to]`. */
function holesOf(extents: readonly Extent[]): [number, number][] {
  const holes: [number, number][] = [];
  let at = 0;
  for (const { length, state } of extents) {
    if (state !== 'data') holes.push([at, at + length]);
    at += length;
  }
  return holes;
}

const probe = spawnSync('losetup', ['-f'], { encoding: 'utf8' });
const skip = process.getuid?.() === 0 && probe.status === 0 ? false : 'needs root and loop devices';

describe('discard and zeroing of block devices', { skip, timeout: 30_000 }, () => {
  let fixture: DataPlaneFixture;
  let image: string;
  let loop: string;

  beforeEach(async () => {
    fixture = await dataPlaneFixture();
    image = join(fixture.directory, 'image');
    await createImage(image, mebibyte);
    writeFileSync(image, Buffer.alloc(mebibyte, 7));
    loop = execFileSync('losetup', ['-f', '--show', image], { encoding: 'utf8' }).trim();
  });

  afterEach(async () => {
    execFileSync('losetup', ['-d', loop]);
    await fixture.dispose();
  });

  it('R20 R21 reach the disk as discard and as zeroes, and change nothing outside', async () => {
    const device = await fixture.plane.openFile({ path: loop, cache: 'none' });
    assert.equal(device.capabilities.discard, true);
    assert.equal(device.capabilities.fastZeroes, true);
    const before = statSync(image).blocks;
    await device.discard(0, 64 * 1024);
    assert.ok(statSync(image).blocks < before, 'the loop device makes a hole of it');
    await device.writeZeroes(128 * 1024, 64 * 1024, IoFlags.onlyIfFast);
    const held = statSync(image).blocks;
    await device.writeZeroes(256 * 1024, 64 * 1024, IoFlags.keepAllocated);
    assert.equal(statSync(image).blocks, held, 'kept');
    assert.deepEqual(await device.extents(0, mebibyte), [{ length: mebibyte, state: 'data' }]);
    await device.flush();
    const target = new Uint8Array(mebibyte);
    await device.read(target, 0);
    await device.close();
    const expected = Buffer.alloc(mebibyte, 7);
    for (const at of [0, 128 * 1024, 256 * 1024]) expected.fill(0, at, at + 64 * 1024);
    assert.ok(expected.equals(target));
  });

  it('I6 close waits for a discard, which keeps the data thread from nothing', async () => {
    const device = await fixture.plane.openFile({ path: loop, cache: 'none' });
    let done = false;
    void device.discard(0, mebibyte).then(() => {
      done = true;
    });
    assert.equal(done, false);
    await device.close();
    assert.equal(done, true);
  });

  it('R15 a disk or file system that knows no discard says so, before the first one or from it on', async () => {
    // ramfs knows no holes, and so does a disk that lies on it.
    const folder = join(fixture.directory, 'ramfs');
    mkdirSync(folder);
    execFileSync('mount', ['-t', 'ramfs', 'none', folder]);
    const file = join(folder, 'image');
    let disk = '';
    try {
      writeFileSync(file, Buffer.alloc(mebibyte, 7));
      const told = await fixture.plane.openFile({ path: file, cache: 'none' });
      assert.equal(told.capabilities.discard, true, 'not known yet');
      await told.discard(0, 4096);
      assert.equal(told.capabilities.discard, false);
      await told.discard(0, 4096);
      await assert.rejects(told.writeZeroes(0, 4096, IoFlags.onlyIfFast), { kind: 'unsupported' });
      assert.equal(told.capabilities.fastZeroes, false);
      await told.close();
      disk = execFileSync('losetup', ['-f', '--show', file], { encoding: 'utf8' }).trim();
      const asked = await fixture.plane.openFile({ path: disk, cache: 'none' });
      assert.equal(asked.capabilities.discard, false);
      assert.equal(asked.capabilities.fastZeroes, false);
      await asked.discard(0, 4096);
      await asked.writeZeroes(4096, 4096);
      await asked.close();
      const expected = Buffer.alloc(mebibyte, 7).fill(0, 4096, 8192);
      assert.ok(readFileSync(file).equals(expected));
    } finally {
      if (disk !== '') execFileSync('losetup', ['-d', disk]);
      execFileSync('umount', [folder]);
    }
  });
});
