import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { IoFlags } from '../../src/block/block-device.ts';
import { BufferedFileDevice, type BufferedMode } from '../../src/io/buffered-file-device.ts';
import { createImage } from '../../src/io/create-image.ts';
import type { FileDevice } from '../../src/io/file-device.ts';
import { openDescriptor } from '../../src/io/open-descriptor.ts';
import { describeBlockDevice } from '../block/device-contract.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';
import { leastLateMs } from './timer-lateness.ts';

/** An image in a mode that `openFileDevice` would choose only on another file system. */
async function bufferedDevice(fixture: DataPlaneFixture, mode: BufferedMode): Promise<BufferedFileDevice> {
  const path = join(fixture.directory, 'image');
  await createImage(path, 1024 * 1024);
  const { engine } = fixture.plane;
  return new BufferedFileDevice({
    name: mode,
    engine,
    descriptor: await openDescriptor({ path, cache: 'writeback', readOnly: false, lock: true }),
    readOnly: false,
    readTimeoutMs: undefined,
    queueDepthMax: 16,
    bounceReserve: 'metadata',
    mode,
    arenaAddress: engine.arenaAddress,
  });
}

describeBlockDevice('an image whose file system refuses O_DIRECT', async () => {
  const fixture = await dataPlaneFixture();
  return {
    device: await bufferedDevice(fixture, 'through'),
    arena: fixture.plane.arena,
    dispose: fixture.dispose,
  };
});

describe('what makes a write durable', () => {
  const cases = [
    { mode: 'through', flags: IoFlags.none, expected: [true], why: 'R28 every write' },
    { mode: 'through', flags: IoFlags.fua, expected: [true], why: 'R28 every write' },
    { mode: 'writeback', flags: IoFlags.none, expected: [], why: 'nothing before the flush' },
    { mode: 'writeback', flags: IoFlags.fua, expected: [true], why: 'FUA' },
  ] as const;
  for (const { mode, flags, expected, why } of cases) {
    it(`${mode}, flags ${flags}: ${why}`, async () => {
      const fixture = await dataPlaneFixture();
      const device = await bufferedDevice(fixture, mode);
      const { engine } = fixture.plane;
      const seen: boolean[] = [];
      const write = engine.write.bind(engine);
      engine.write = (lane, source, offset, durable) => {
        seen.push(durable);
        return write(lane, source, offset, durable);
      };
      await device.write(new Uint8Array(4096), 0, flags);
      assert.deepEqual(seen, expected);
      await device.close();
      await fixture.dispose();
    });
  }

  it('R28 through: zeroes are durable when they settle, as writes are; in writeback only with FUA', async () => {
    for (const mode of ['through', 'writeback'] as const) {
      const fixture = await dataPlaneFixture();
      const device = await bufferedDevice(fixture, mode);
      const { engine } = fixture.plane;
      let synced = 0;
      const syncData = engine.syncData.bind(engine);
      engine.syncData = (lane) => {
        synced += 1;
        return syncData(lane);
      };
      await device.writeZeroes(0, 4096);
      assert.equal(synced, mode === 'through' ? 1 : 0, mode);
      await device.writeZeroes(0, 4096, IoFlags.fua);
      assert.equal(synced, mode === 'through' ? 2 : 1, mode);
      await device.close();
      await fixture.dispose();
    }
  });

  it('O_DIRECT: FUA is durable, nothing else is', async () => {
    const fixture = await dataPlaneFixture();
    const path = join(fixture.directory, 'image');
    await createImage(path, 1024 * 1024);
    const device = await fixture.plane.openFile({ path, cache: 'none' });
    const { engine } = fixture.plane;
    const seen: boolean[] = [];
    const write = engine.write.bind(engine);
    engine.write = (lane, source, offset, durable) => {
      seen.push(durable);
      return write(lane, source, offset, durable);
    };
    await device.write(new Uint8Array(4096), 0);
    await device.write(new Uint8Array(4096), 0, IoFlags.fua);
    assert.deepEqual(seen, [false, true]);
    await device.close();
    await fixture.dispose();
  });
});

describe('a file answered inline', { timeout: 20_000 }, () => {
  let fixture: DataPlaneFixture;
  let device: FileDevice;

  beforeEach(async () => {
    fixture = await dataPlaneFixture();
    const path = join(fixture.directory, 'image');
    await createImage(path, 1024 * 1024);
    device = await fixture.plane.openFile({ path, cache: 'writeback' });
  });

  afterEach(async () => {
    await device.close();
    await fixture.dispose();
  });

  for (const operation of ['read', 'write'] as const) {
    it(`R36 lets timers fire while one caller does nothing but ${operation}`, async () => {
      const buffer = fixture.plane.arena.take(4096, 'client');
      assert.ok(buffer);
      let busy = true;
      const loop = (async () => {
        while (busy) await device[operation](buffer, 0);
      })();
      const lateMs = await leastLateMs(50);
      busy = false;
      await loop;
      assert.ok(lateMs < 50, `${lateMs} ms late`);
      fixture.plane.arena.release(buffer);
    });
  }

  it('answers a cached read without the engine', async () => {
    const buffer = fixture.plane.arena.take(4096, 'client');
    assert.ok(buffer);
    await device.write(buffer.fill(3), 0);
    const { submissions } = fixture.plane.engine;
    for (let count = 0; count < 10; count += 1) await device.read(buffer, 0);
    assert.equal(fixture.plane.engine.submissions, submissions);
    fixture.plane.arena.release(buffer);
  });

  it('I6 waits for requests that had to be put off when it closes', async () => {
    const buffer = fixture.plane.arena.take(65_536, 'client');
    assert.ok(buffer);
    // More than one turn of the event loop answers inline.
    const writes = Array.from({ length: 400 }, (_, index) => device.write(buffer, (index % 16) * 65_536));
    const bounced = Array.from({ length: 400 }, () => device.write(new Uint8Array(65_536), 0));
    await Promise.all([device.close(), ...writes, ...bounced]);
    fixture.plane.arena.release(buffer);
  });
});
