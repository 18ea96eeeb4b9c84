import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { constants, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import type { DataPlane } from '../../src/io/data-plane.ts';
import { DirectFileDevice } from '../../src/io/direct-file-device.ts';
import type { RequestFailure } from '../../src/io/request-lane.ts';
import { Operation } from '../../src/linux/uring-numbers.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';

const deviceBytes = 1024 * 1024;

/** Shows what it makes of an answer of the kernel's. */
class OpenDevice extends DirectFileDevice {
  explain(failure: RequestFailure): DeviceError {
    return this.errorOf(failure);
  }
}

describe('a file device whose disk fails', { timeout: 20_000 }, () => {
  let fixture: DataPlaneFixture;
  let plane: DataPlane;

  beforeEach(async () => {
    fixture = await dataPlaneFixture();
    plane = fixture.plane;
  });

  afterEach(() => fixture.dispose());

  /** A device over any descriptor, as if it were a disk of one mebibyte. */
  function deviceOn(fd: number, readTimeoutMs?: number, kind: 'block' | 'file' = 'file'): OpenDevice {
    return new OpenDevice({
      name: 'test',
      engine: plane.engine,
      descriptor: {
        fd,
        kind,
        sizeBytes: deviceBytes,
        logicalBlockBytes: 512,
        physicalBlockBytes: 4096,
        memoryAlignBytes: 1,
        rotational: false,
        queue: { volatileCache: true, discard: true, zeroes: true },
        direct: true,
        inMemory: false,
      },
      readOnly: false,
      readTimeoutMs,
      queueDepthMax: 8,
      bounceReserve: 'metadata',
    });
  }

  function openPipe(): number {
    const path = join(fixture.directory, 'pipe');
    execFileSync('mkfifo', [path]);
    return openSync(path, constants.O_RDWR);
  }

  async function errorOf(promise: Promise<unknown>): Promise<DeviceError> {
    try {
      await promise;
    } catch (error) {
      assert.ok(error instanceof DeviceError, String(error));
      return error;
    }
    return assert.fail('it succeeded');
  }

  const rangesOf = (error: DeviceError): unknown[] =>
    error.ranges.map(({ offset, length }) => [offset, length]);

  it('R15 a full disk is no-space, and names the whole request', async () => {
    const device = deviceOn(openSync('/dev/full', constants.O_RDWR));
    const buffer = plane.arena.take(4096, 'client');
    assert.ok(buffer);
    const error = await errorOf(device.write(buffer, 8192));
    assert.equal(error.kind, 'no-space');
    assert.equal(error.errno, Errno.ENOSPC);
    assert.deepEqual(rangesOf(error), [[8192, 4096]]);
    plane.arena.release(buffer);
    await device.close();
  });

  it('names everything that a bounced request could not write', async () => {
    const device = deviceOn(openSync('/dev/full', constants.O_RDWR));
    const error = await errorOf(device.write(new Uint8Array(256 * 1024), 4096));
    assert.equal(error.kind, 'no-space');
    const covered = error.ranges.reduce((sum, { length }) => sum + length, 0);
    assert.equal(error.ranges[0]?.offset, 4096);
    assert.equal(covered, 256 * 1024);
    await device.close();
  });

  it('I27 R36 a read that hangs is timed-out in time, its buffer stays lent, and close waits for the answer', async () => {
    const fd = openPipe();
    const device = deviceOn(fd, 50);
    const buffer = plane.arena.take(4096, 'client');
    assert.ok(buffer);
    const started = performance.now();
    const error = await errorOf(device.read(buffer, 512));
    const elapsedMs = performance.now() - started;
    assert.ok(elapsedMs >= 50 && elapsedMs < 100, `${elapsedMs} ms`);
    assert.equal(error.kind, 'timed-out');
    assert.equal(error.code, 'DEVICE_TIMED_OUT');
    assert.deepEqual(rangesOf(error), [[512, 4096]]);
    assert.equal(device.zombies, 1);
    plane.arena.release(buffer);
    assert.equal(plane.arena.usedBytes, 4096);
    let closed = false;
    const closing = device.close().then(() => {
      closed = true;
    });
    await sleep(20);
    assert.equal(closed, false);
    writeSync(fd, new Uint8Array(4096));
    await closing;
    assert.equal(plane.arena.usedBytes, 0);
  });

  it('I27 a bounced read that hangs never writes into its caller’s memory', async () => {
    const fd = openPipe();
    const device = deviceOn(fd, 20);
    const target = new Uint8Array(512).fill(0xee);
    assert.equal((await errorOf(device.read(target, 0))).kind, 'timed-out');
    target.fill(0xee);
    writeSync(fd, new Uint8Array(512).fill(1));
    await device.close();
    assert.ok(target.every((byte) => byte === 0xee));
  });

  it('a part that arrived before the failure is not named', async () => {
    const path = join(fixture.directory, 'short');
    writeFileSync(path, Buffer.alloc(1536, 5));
    const device = deviceOn(openSync(path, constants.O_RDWR));
    const target = new Uint8Array(4096);
    const error = await errorOf(device.read(target, 0));
    assert.deepEqual(rangesOf(error), [[1536, 2560]]);
    assert.ok(
      target.subarray(0, 1536).every((byte) => byte === 5),
      'bytes outside the failed range are valid',
    );
    await device.close();
  });

  it('a failed flush rejects for the whole device, each time it is asked, and close does not reject', async () => {
    // No such descriptor: EBADF is not in the table, so it is about the path.
    const device = deviceOn(1_000_000);
    for (let round = 0; round < 2; round += 1) {
      const error = await errorOf(device.flush());
      assert.equal(error.kind, 'path');
      assert.deepEqual(rangesOf(error), [[0, deviceBytes]]);
    }
    await device.close();
  });

  it('R15, R32 a disk that has no size any more was pulled out, whatever error its requests end with', async () => {
    // Writes behind the end of a disk are answered ENOSPC, and this one does not even say where its end is.
    const device = deviceOn(openSync('/dev/full', constants.O_RDWR), undefined, 'block');
    const error = await errorOf(device.write(new Uint8Array(4096), 8192));
    assert.equal(error.kind, 'path');
    assert.equal(error.errno, Errno.ENXIO);
    assert.deepEqual(rangesOf(error), [[8192, 4096]]);
    // Discards and zeroes are answered EINVAL there, which is our own bug elsewhere.
    for (const operation of [Operation.write, Operation.fallocate]) {
      const failure = {
        operation,
        errno: Errno.EINVAL,
        timedOut: false,
        fileOffset: 0,
        length: 512,
        done: 0,
      };
      assert.equal(device.explain(failure).errno, Errno.ENXIO);
    }
    await device.close();
  });

  it('R15 what refuses a discard or zeroes as malformed costs them, and no process: they may be written', async () => {
    const device = deviceOn(openSync('/dev/null', constants.O_RDWR));
    const where = { timedOut: false, fileOffset: 0, length: 512, done: 0 };
    const error = device.explain({ operation: Operation.fallocate, errno: Errno.EINVAL, ...where });
    assert.equal(error.kind, 'refused');
    assert.throws(() => device.explain({ operation: Operation.write, errno: Errno.EINVAL, ...where }), {
      name: 'AssertionFailure',
    });
    await device.close();
  });

  it('R15 EINVAL is our own bug and ends the process', () => {
    const url = (name: string): string =>
      JSON.stringify(new URL(`../../src/io/${name}.js`, import.meta.url).href);
    const script = `
      import { openSync } from 'node:fs';
      import { createDataPlane } from ${url('data-plane')};
      import { DirectFileDevice } from ${url('direct-file-device')};
      const descriptor = { fd: openSync(process.argv[1], 'r+'), kind: 'file', sizeBytes: 4096, logicalBlockBytes: 512,
        physicalBlockBytes: 4096, memoryAlignBytes: 1, rotational: false, queue: { volatileCache: true, discard: true, zeroes: true }, direct: true, inMemory: false };
      const device = new DirectFileDevice({ name: 'pipe', engine: createDataPlane().engine, descriptor,
        readOnly: false, readTimeoutMs: undefined, queueDepthMax: 8, bounceReserve: 'metadata' });
      // A pipe cannot be synchronised: the kernel says EINVAL.
      await device.flush().catch(() => console.log('caught'));
      process.exit(0);
    `;
    const pipe = join(fixture.directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script, pipe], {
      encoding: 'utf8',
      timeout: 10_000,
    });
    assert.notEqual(child.status, 0, child.stdout + child.stderr);
    assert.match(child.stderr, /AssertionFailure: pipe: the kernel refused/);
    assert.equal(child.stdout, '');
  });
});
