import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sectorBytes } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { finish, makeStack, patternOf, type Stack, writeSectors } from './remap-stack.ts';

const granuleSectors = 8;

/** Of a request for one granule. */
function phase({ device }: Stack, kind: 'read' | 'write', granule: number): string {
  return device.phaseOf(kind, granule * granuleSectors * sectorBytes, granuleSectors * sectorBytes);
}

function write({ device }: Stack, granule: number, version = 1): Promise<unknown> {
  const sector = granule * granuleSectors;
  return device
    .write(patternOf(sector, granuleSectors, version), sector * sectorBytes)
    .catch((error: unknown) => {
      assert.ok(error instanceof DeviceError);
      return error;
    });
}

test('I22 a request that a disk has not answered is at main, or at the spare when its granule was moved', async () => {
  const stack = makeStack();
  const { clock, mainDisk, spareDisk } = stack;
  mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
  await writeSectors(stack, 80, patternOf(80, 8));
  mainDisk.faults.stickNext(1);
  const atMain = write(stack, 3);
  spareDisk.faults.stickNext(1);
  const atSpare = write(stack, 10, 2);
  await clock.runFor(1_000);
  assert.equal(phase(stack, 'write', 3), 'at-main');
  assert.equal(phase(stack, 'write', 10), 'at-spare');
  assert.equal(phase(stack, 'read', 20), 'deciding', 'nothing is under way there');
  mainDisk.releaseStuck();
  spareDisk.releaseStuck();
  await clock.run(Promise.all([atMain, atSpare]));
  await finish(stack);
});

test('I22 a request whose granule is moved waits for its lock, and while the record is stored for that', async () => {
  const stack = makeStack();
  const { clock, core } = stack;
  const lock = await clock.run(core.locks.acquire(5, 5));
  const waiting = write(stack, 5);
  await clock.runFor(1_000);
  assert.equal(phase(stack, 'write', 5), 'waiting-for-lock');
  core.locks.release(lock);
  await clock.run(waiting);
  await finish(stack);
});

test('I22 a suspended device holds what it did not admit, and a flush under way is told as one', async () => {
  const stack = makeStack();
  const { clock, device, mainDisk } = stack;
  await writeSectors(stack, 0, patternOf(0, 8));
  mainDisk.faults.stickNext(1);
  const flushing = device.flush();
  await clock.runFor(100);
  assert.equal(device.phaseOf('flush', 0, 0), 'flushing');
  mainDisk.releaseStuck();
  await clock.run(flushing);
  await clock.run(device.suspend({ flush: true }));
  const held = [write(stack, 2), device.flush()];
  await clock.runFor(1_000);
  assert.equal(phase(stack, 'write', 2), 'suspended');
  assert.equal(device.phaseOf('flush', 0, 0), 'suspended');
  await clock.run(device.resume());
  await clock.run(Promise.all(held));
  await finish(stack);
});

test('I22 while main is away its requests wait for it, and while a record is stored theirs for that', async () => {
  const stack = makeStack();
  const { clock, mainDisk, metadata } = stack;
  mainDisk.faults.setPathError(Errno.ENOLINK);
  const away = write(stack, 4);
  await clock.runFor(1_000);
  assert.equal(phase(stack, 'write', 4), 'waiting-for-path');
  mainDisk.faults.setPathError(undefined);
  await clock.run(away);

  mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
  let store: () => void = () => undefined;
  metadata.held = new Promise((resolve) => {
    store = resolve;
  });
  const storing = write(stack, 10);
  await clock.runFor(1_000);
  assert.equal(phase(stack, 'write', 10), 'committing');
  store();
  await clock.run(storing);
  await finish(stack);
});
