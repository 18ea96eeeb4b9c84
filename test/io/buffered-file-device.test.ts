import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createImage } from '../../src/io/create-image.ts';
import type { FileDevice } from '../../src/io/file-device.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';

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
      const started = performance.now();
      await sleep(50);
      const lateMs = performance.now() - started - 50;
      busy = false;
      await loop;
      assert.ok(lateMs < 50, `${lateMs} ms late`);
      fixture.plane.arena.release(buffer);
    });
  }

  it('answers a cached read without the ring', async () => {
    const buffer = fixture.plane.arena.take(4096, 'client');
    assert.ok(buffer);
    await device.write(buffer.fill(3), 0);
    const passes = fixture.plane.engine.passes;
    for (let count = 0; count < 10; count += 1) await device.read(buffer, 0);
    assert.equal(fixture.plane.engine.passes, passes);
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
