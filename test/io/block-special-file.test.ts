import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { apart, IoFlags } from '../../src/block/block-device.ts';
import { createImage } from '../../src/io/create-image.ts';
import { describeBlockDevice } from '../block/device-contract.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';

const imageBytes = 2 * 1024 * 1024;

/** A loop device over an image: only an administrator gets one. */
function attachLoop(image: string, blockBytes: number): string {
  return execFileSync('losetup', ['-f', '--show', '-b', String(blockBytes), image], {
    encoding: 'utf8',
  }).trim();
}

const probe = spawnSync('losetup', ['-f'], { encoding: 'utf8' });
const skip = process.getuid?.() === 0 && probe.status === 0 ? false : 'needs root and loop devices';

describe('block special files', { skip, timeout: 30_000 }, () => {
  let fixture: DataPlaneFixture;
  let loop: string;

  beforeEach(async () => {
    fixture = await dataPlaneFixture();
    const image = join(fixture.directory, 'image');
    await createImage(image, imageBytes);
    loop = attachLoop(image, 512);
  });

  afterEach(async () => {
    execFileSync('losetup', ['-d', loop]);
    await fixture.dispose();
  });

  it('tells size and blocks as the kernel does', async () => {
    const device = await fixture.plane.openFile({ path: loop, cache: 'none' });
    const ask = (option: string): number =>
      Number(execFileSync('blockdev', [option, loop], { encoding: 'utf8' }));
    assert.equal(device.kind, 'block');
    assert.equal(device.buffered, false);
    assert.equal(device.geometry.sizeBytes, ask('--getsize64'));
    assert.equal(device.geometry.logicalBlockBytes, ask('--getss'));
    assert.equal(device.geometry.physicalBlockBytes, ask('--getpbsz'));
    await device.close();
  });

  it('is ours alone: a second exclusive open is refused (R27)', async () => {
    const device = await fixture.plane.openFile({ path: loop, cache: 'none' });
    await assert.rejects(fixture.plane.openFile({ path: loop, cache: 'none' }), { code: 'OPEN_IN_USE' });
    const look = await fixture.plane.openFile({ path: loop, cache: 'none', readOnly: true, lock: false });
    await look.close();
    await device.close();
  });

  it('R32 is opened again, exclusively, while it is the same coming of the disk', async () => {
    const { plane } = fixture;
    const device = await plane.openFile({ path: loop, cache: 'none' });
    await device.write(new Uint8Array(512).fill(7), 1024);
    await device.reopen();
    const target = new Uint8Array(512);
    await device.read(target, 1024);
    assert.ok(target.every((byte) => byte === 7));
    assert.equal(await device.identityTrouble(), undefined);
    await assert.rejects(plane.openFile({ path: loop, cache: 'none' }), { code: 'OPEN_IN_USE' });
    await device.close();
    await (await plane.openFile({ path: loop, cache: 'none' })).close();
  });

  it('R32 is not taken for itself when another file is behind its name, nor when the same one is again', async () => {
    const { plane, directory } = fixture;
    const device = await plane.openFile({ path: loop, cache: 'none' });
    // The kernel waits with it until the last user has closed: that is what opening again does first.
    execFileSync('losetup', ['-d', loop]);
    await assert.rejects(device.reopen(), { kind: 'path' });
    assert.equal(await device.identityTrouble(), 'the disk has gone');
    const other = join(directory, 'other');
    await createImage(other, imageBytes);
    for (const file of [other, join(directory, 'image')]) {
      execFileSync('losetup', [loop, file]);
      await assert.rejects(device.reopen(), /no WWN and no serial to tell/);
      await assert.rejects(device.read(new Uint8Array(512), 0), { kind: 'path' });
      if (file === other) execFileSync('losetup', ['-d', loop]);
    }
    await device.close();
  });

  it('I17 the kernel joins neighbouring requests, and none that are kept apart', async () => {
    const { plane } = fixture;
    const device = await plane.openFile({ path: loop, cache: 'none' });
    const requests = 64;
    const buffer = plane.arena.take(requests * 512, 'client');
    assert.ok(buffer);
    /** Requests that reached the disk: /sys/block/NAME/stat, reads or writes. */
    const requestsOf = async (
      kind: 'read' | 'write',
      flagsOf: (index: number) => number,
    ): Promise<number> => {
      const count = (): number =>
        Number(
          readFileSync(`/sys/block/${basename(loop)}/stat`, 'utf8')
            .trim()
            .split(/\s+/)[kind === 'read' ? 0 : 4],
        );
      const before = count();
      const all = Array.from({ length: requests }, (_, index) => {
        const piece = buffer.subarray(index * 512, (index + 1) * 512);
        return device[kind](piece, index * 512, flagsOf(index));
      });
      await Promise.all(all);
      return count() - before;
    };
    for (const kind of ['read', 'write'] as const) {
      // What libuv's threads send one by one is seldom joined; what the ring submits together always is.
      const joined = await requestsOf(kind, () => IoFlags.none);
      assert.ok(joined < requests || plane.engineName === 'node', `${kind}: this kernel joins`);
      assert.equal(await requestsOf(kind, apart), requests, kind);
      const everySecond = await requestsOf(kind, (index) => (index % 2 === 0 ? apart(index) : IoFlags.none));
      assert.equal(everySecond, requests, `${kind} beside others`);
    }
    plane.arena.release(buffer);
    await device.close();
  });

  it('refuses writeback', async () => {
    await assert.rejects(fixture.plane.openFile({ path: loop, cache: 'writeback' }), {
      code: 'OPEN_WRITEBACK_ON_DISK',
    });
  });

  it('refuses to write to a disk that is read-only, and reads it', async () => {
    execFileSync('blockdev', ['--setro', loop]);
    await assert.rejects(fixture.plane.openFile({ path: loop, cache: 'none' }), (error: unknown) => {
      assert.ok(error instanceof Error && 'code' in error);
      assert.ok(error.code === 'OPEN_READ_ONLY' || error.code === 'OPEN_PERMISSION', String(error.code));
      return true;
    });
    const device = await fixture.plane.openFile({ path: loop, cache: 'none', readOnly: true });
    await device.read(new Uint8Array(512), 0);
    await device.close();
    execFileSync('blockdev', ['--setrw', loop]);
  });

  it('R27 sees what others left in the page cache, and is not hidden by it', async () => {
    const other = openSync(loop, constants.O_RDWR);
    writeSync(other, new Uint8Array(4096).fill(7), 0, 4096, 8192);
    const device = await fixture.plane.openFile({ path: loop, cache: 'none' });
    const target = new Uint8Array(4096);
    await device.read(target, 8192);
    assert.ok(
      target.every((byte) => byte === 7),
      'written back before we read',
    );
    await device.write(new Uint8Array(4096).fill(8), 8192);
    readSync(other, target, 0, 4096, 8192);
    assert.ok(
      target.every((byte) => byte === 8),
      'the cache was dropped',
    );
    closeSync(other);
    await device.close();
  });
});

if (skip === false) {
  for (const blockBytes of [512, 4096]) {
    describeBlockDevice(`a loop device with blocks of ${blockBytes}`, async () => {
      const { plane, directory, dispose } = await dataPlaneFixture();
      const image = join(directory, 'image');
      await createImage(image, imageBytes);
      const loop = attachLoop(image, blockBytes);
      return {
        device: await plane.openFile({ path: loop, cache: 'none' }),
        arena: plane.arena,
        dispose: async () => {
          execFileSync('losetup', ['-d', loop]);
          await dispose();
        },
      };
    });
  }
}
