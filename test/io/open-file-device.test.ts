import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { IoFlags } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { createImage } from '../../src/io/create-image.ts';
import type { DataPlane } from '../../src/io/data-plane.ts';
import { OpenError, openErrorOfErrno } from '../../src/io/open-error.ts';
import { lockOpenFile } from '../../src/linux/file-calls.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';

const imageBytes = 1024 * 1024;

describe('opening files and disks', { timeout: 20_000 }, () => {
  let fixture: DataPlaneFixture;
  let plane: DataPlane;
  let path: string;

  beforeEach(async () => {
    fixture = await dataPlaneFixture();
    plane = fixture.plane;
    path = join(fixture.directory, 'image');
  });

  afterEach(() => fixture.dispose());

  async function refusal(opening: Promise<{ close(): Promise<void> }>): Promise<OpenError> {
    let opened: { close(): Promise<void> };
    try {
      opened = await opening;
    } catch (error) {
      assert.ok(error instanceof OpenError, String(error));
      assert.doesNotMatch(error.message, /\n/);
      return error;
    }
    await opened.close();
    return assert.fail('it was opened');
  }

  it('tells the geometry of an image', async () => {
    writeFileSync(path, new Uint8Array(imageBytes));
    const device = await plane.openFile({ path, cache: 'none' });
    assert.equal(device.kind, 'file');
    assert.equal(device.name, path);
    assert.equal(device.geometry.sizeBytes, imageBytes);
    assert.equal(device.geometry.physicalBlockBytes, 4096);
    assert.ok([512, 1024, 2048, 4096].includes(device.geometry.logicalBlockBytes));
    assert.equal(device.capabilities.write, true);
    await device.close();
  });

  it('writes what another program reads, and reads what another program wrote', async () => {
    writeFileSync(path, Buffer.alloc(imageBytes, 7));
    for (const cache of ['none', 'writeback'] as const) {
      const device = await plane.openFile({ path, cache });
      const target = new Uint8Array(4096);
      await device.read(target, 4096);
      assert.ok(target.every((byte) => byte === 7));
      await device.write(new Uint8Array(4096).fill(9), 8192);
      await device.flush();
      assert.ok(
        readFileSync(path)
          .subarray(8192, 12288)
          .every((byte) => byte === 9),
      );
      await device.close();
      writeFileSync(path, Buffer.alloc(imageBytes, 7));
    }
  });

  it('R28 says which devices go through the page cache', async () => {
    await createImage(path, imageBytes);
    const cached = await plane.openFile({ path, cache: 'writeback' });
    assert.equal(cached.buffered, true);
    await cached.close();
    const inMemory = await dataPlaneFixture({}, '/dev/shm');
    const file = join(inMemory.directory, 'image');
    await createImage(file, imageBytes);
    const device = await inMemory.plane.openFile({ path: file, cache: 'none' });
    assert.equal(device.buffered, true);
    await device.close();
    await inMemory.dispose();
  });

  it('R20 a discard makes a hole in an image, unless it must stay allocated', async () => {
    await createImage(path, imageBytes);
    const device = await plane.openFile({ path, cache: 'none' });
    const before = statSync(path).blocks;
    await device.discard(0, imageBytes, IoFlags.keepAllocated);
    assert.equal(statSync(path).blocks, before);
    await device.discard(0, imageBytes);
    assert.ok(statSync(path).blocks < before, 'this file system makes holes');
    await device.close();
  });

  it('read-only: reads, and refuses to write', async () => {
    writeFileSync(path, Buffer.alloc(imageBytes, 3));
    for (const cache of ['none', 'writeback'] as const) {
      const device = await plane.openFile({ path, cache, readOnly: true });
      assert.equal(device.capabilities.write, false);
      assert.equal(device.capabilities.discard, false);
      const target = new Uint8Array(512);
      await device.read(target, 0);
      assert.equal(target[0], 3);
      for (const change of [device.write(target, 0), device.writeZeroes(0, 512), device.discard(0, 512)]) {
        await assert.rejects(
          change,
          (error: unknown) => error instanceof DeviceError && error.kind === 'refused',
        );
      }
      await device.close();
    }
  });

  it('refuses what is no disk, with a stable code and one line each', async () => {
    const directory = join(fixture.directory, 'directory');
    mkdirSync(directory);
    const pipe = join(fixture.directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const socket = join(fixture.directory, 'socket');
    const server = createServer().listen(socket);
    await new Promise((resolve) => server.once('listening', resolve));
    const empty = join(fixture.directory, 'empty');
    writeFileSync(empty, '');
    const cases = [
      [join(fixture.directory, 'missing'), 'OPEN_NOT_FOUND'],
      [join(empty, 'below'), 'OPEN_NOT_FOUND'],
      [directory, 'OPEN_DIRECTORY'],
      ['/dev/null', 'OPEN_NOT_A_DISK'],
      [pipe, 'OPEN_NOT_A_DISK'],
      [socket, 'OPEN_NOT_A_DISK'],
      [empty, 'OPEN_EMPTY'],
    ] as const;
    for (const [where, code] of cases) {
      for (const cache of ['none', 'writeback'] as const) {
        const error = await refusal(plane.openFile({ path: where, cache }));
        assert.equal(error.code, code, where);
        assert.ok(error.message.startsWith(where));
      }
    }
    server.close();
  });

  it('R10 refuses a ragged image and says how to cut it', async () => {
    writeFileSync(path, new Uint8Array(imageBytes + 100));
    const error = await refusal(plane.openFile({ path, cache: 'writeback' }));
    assert.equal(error.code, 'OPEN_RAGGED');
    assert.match(error.message, new RegExp(`truncate -s ${imageBytes} `));
    truncateSync(path, 100);
    assert.equal((await refusal(plane.openFile({ path, cache: 'writeback' }))).code, 'OPEN_RAGGED');
  });

  it('R27 refuses an image that is in use, by this process or another, and frees it on close', async () => {
    writeFileSync(path, new Uint8Array(imageBytes));
    const device = await plane.openFile({ path, cache: 'none' });
    for (const readOnly of [false, true]) {
      const error = await refusal(plane.openFile({ path, cache: 'writeback', readOnly }));
      assert.equal(error.code, 'OPEN_IN_USE');
    }
    // Whoever only wants to look can.
    const look = await plane.openFile({ path, cache: 'none', readOnly: true, lock: false });
    await look.close();
    await device.close();
    const fd = openSync(path, 'r+');
    assert.ok(lockOpenFile(fd, 'exclusive'));
    assert.equal((await refusal(plane.openFile({ path, cache: 'none' }))).code, 'OPEN_IN_USE');
    closeSync(fd);
    await (await plane.openFile({ path, cache: 'none' })).close();
  });

  it('several readers may share an image', async () => {
    writeFileSync(path, new Uint8Array(imageBytes));
    const first = await plane.openFile({ path, cache: 'none', readOnly: true });
    const second = await plane.openFile({ path, cache: 'none', readOnly: true });
    assert.equal((await refusal(plane.openFile({ path, cache: 'none' }))).code, 'OPEN_IN_USE');
    await first.close();
    await second.close();
  });

  it('I24 leaves no descriptor behind, opened or refused', async () => {
    const count = (): number => readdirSync('/proc/self/fd').length;
    writeFileSync(path, new Uint8Array(imageBytes));
    const before = count();
    for (let round = 0; round < 5; round += 1) {
      const device = await plane.openFile({ path, cache: 'none' });
      await refusal(plane.openFile({ path, cache: 'none' }));
      await device.close();
    }
    assert.equal(count(), before);
  });

  it('R15 an image that shrinks under it is a failed path behind its new end, also when that lies inside a block', async () => {
    for (const cache of ['none', 'writeback'] as const) {
      for (const ragged of [0, 7, 300]) {
        writeFileSync(path, Buffer.alloc(imageBytes, 1));
        const device = await plane.openFile({ path, cache });
        truncateSync(path, imageBytes / 2 + ragged);
        const buffer = plane.arena.take(8192, 'client');
        assert.ok(buffer);
        await assert.rejects(device.read(buffer, imageBytes / 2 - 4096), (error: unknown) => {
          assert.ok(error instanceof DeviceError);
          assert.equal(error.kind, 'path', `${cache}, ${ragged} bytes of a block`);
          assert.deepEqual(
            error.ranges.map(({ offset, length }) => ({ offset, length })),
            [{ offset: imageBytes / 2, length: 4096 }],
          );
          return true;
        });
        plane.arena.release(buffer);
        await device.close();
      }
    }
  });

  it('M17 creates an image that is allocated in full, and touches none that exists', async () => {
    await createImage(path, imageBytes);
    const { size, blocks } = statSync(path);
    assert.equal(size, imageBytes);
    assert.ok(blocks * 512 >= imageBytes);
    await assert.rejects(createImage(path, imageBytes), { code: 'OPEN_EXISTS' });
    const tooLarge = join(fixture.directory, 'too-large');
    await assert.rejects(createImage(tooLarge, 2 ** 52), { code: 'OPEN_NO_SPACE' });
    assert.deepEqual(readdirSync(fixture.directory), ['image']);
  });
});

it('a refusal says what may be done about it, root is not told to be root', () => {
  const asked = (errno: number, userId: number): string =>
    openErrorOfErrno('/dev/sdb', errno, 'open', undefined, userId).message;
  assert.match(asked(Errno.EACCES, 1000), /permission denied; run as root or as a user/);
  assert.match(asked(Errno.EPERM, 1000), /operation not permitted; run as root/);
  assert.match(asked(Errno.EPERM, 0), /operation not permitted; root itself may not: .*lsattr/);
  assert.match(asked(Errno.EBUSY, 0), /in use: .*; end that first: "lsblk" and "fuser -v"/);
});
