import assert from 'node:assert/strict';
import { statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { IoFlags } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { createImage } from '../../src/io/create-image.ts';
import type { FileDevice } from '../../src/io/file-device.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';
import { describeOnEngines } from './engine-fixture.ts';

const sizeBytes = 1024 * 1024;
const middle = sizeBytes / 2;

describeOnEngines('an image file that somebody cuts while it is served', (io) => {
  let fixture: DataPlaneFixture;
  let path: string;
  let cuts: number[];
  let device: FileDevice;

  async function open(cache: 'none' | 'writeback'): Promise<void> {
    fixture = await dataPlaneFixture({ io });
    path = join(fixture.directory, 'image');
    await createImage(path, sizeBytes);
    cuts = [];
    device = await fixture.plane.openFile({ path, cache, onCut: (hasBytes) => cuts.push(hasBytes) });
    await device.write(bytes(1), 0);
    await device.write(bytes(1), middle);
    await device.flush();
  }

  beforeEach(() => open('none'));

  afterEach(async () => {
    await device.close();
    await fixture.dispose();
  });

  const bytes = (value: number): Uint8Array => new Uint8Array(4096).fill(value);

  async function mustBeCut(request: Promise<unknown>): Promise<void> {
    await assert.rejects(request, (error) => {
      assert.ok(error instanceof DeviceError, String(error));
      assert.equal(error.kind, 'path');
      assert.match(error.message, /the file was cut/);
      return true;
    });
  }

  async function untilCut(): Promise<void> {
    while (cuts.length === 0) await sleep(5);
  }

  it('fails the flush, and from then on everything, although a write made it grow again', async () => {
    truncateSync(path, 4096);
    await device.write(bytes(2), middle);
    assert.equal(statSync(path).size, middle + 4096);
    await mustBeCut(device.flush());
    assert.equal(cuts.length, 1);
    await mustBeCut(device.read(bytes(0), 0));
    await mustBeCut(device.write(bytes(3), 0));
    await mustBeCut(device.discard(0, 4096));
    await mustBeCut(device.writeZeroes(0, 4096));
    await mustBeCut(device.extents(0, 4096));
    await mustBeCut(device.flush());
    assert.equal(cuts.length, 1);
  });

  it('is not taken again when it has its size back: what was in it is lost', async () => {
    truncateSync(path, 4096);
    await mustBeCut(device.flush());
    truncateSync(path, sizeBytes);
    const why =
      /was cut to 4096 bytes while it was served, had 1048576: what lay behind is lost; remove the device/;
    await assert.rejects(device.reopen(), (error) => {
      assert.ok(error instanceof DeviceError, String(error));
      assert.equal(error.kind, 'path');
      assert.match(error.message, why);
      return true;
    });
    assert.match((await device.identityTrouble()) ?? '', why);
    await mustBeCut(device.read(bytes(0), 0));
  });

  it('is found out soon by writes that nobody flushes behind', async () => {
    truncateSync(path, 0);
    await device.write(bytes(2), middle);
    await untilCut();
    await mustBeCut(device.read(bytes(0), 0));
  });

  it('is found out by a read that meets its end', async () => {
    truncateSync(path, middle);
    await assert.rejects(device.read(bytes(0), middle), (error) => {
      assert.ok(error instanceof DeviceError, String(error));
      assert.equal(error.kind, 'path');
      return true;
    });
    await untilCut();
    await mustBeCut(device.read(bytes(0), 0));
  });

  it('does not get its old size back from a write of the last block', async () => {
    truncateSync(path, 0);
    await mustBeCut(device.write(bytes(2), sizeBytes - 4096));
    assert.equal(statSync(path).size, 0);
    assert.deepEqual(cuts, [0]);
  });

  it('fails zeroes that are to be durable', async () => {
    truncateSync(path, 4096);
    await mustBeCut(device.writeZeroes(middle, 4096, IoFlags.fua));
  });

  it('is found out through the page cache too', async () => {
    await device.close();
    await fixture.dispose();
    await open('writeback');
    truncateSync(path, 4096);
    await device.write(bytes(2), middle);
    await mustBeCut(device.flush());
    await mustBeCut(device.read(bytes(0), 0));
  });

  it('M21 is whole when it has only grown', async () => {
    truncateSync(path, 2 * sizeBytes);
    await device.write(bytes(2), sizeBytes - 4096);
    await device.flush();
    const found = bytes(0);
    await device.read(found, middle);
    assert.deepEqual(found, bytes(1));
    assert.deepEqual(cuts, []);
  });
});
