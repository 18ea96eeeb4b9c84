import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  constants,
  copyFileSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { DeviceError } from '../../src/block/device-error.ts';
import { DirectFileDevice } from '../../src/io/direct-file-device.ts';
import type { DescriptorFacts, DiskAttachment } from '../../src/io/disk-attachment.ts';
import { DiskReopener, type ReopenSurroundings } from '../../src/io/disk-reopener.ts';
import type { FileDevice } from '../../src/io/file-device.ts';
import { reopenDrainMs } from '../../src/io/held-descriptor.ts';
import { identityFromPairs } from '../../src/io/identity-verdict.ts';
import { closeAsync, type OpenRequest, openDescriptor } from '../../src/io/open-descriptor.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';

const sizeBytes = 64 * 1024;

/** Disks that are plugged in, by path; each is a file here, and open descriptors know whose they are. */
class Machine implements ReopenSurroundings {
  readonly disks = new Map<string, DiskAttachment & { readonly file: string }>();
  readonly asked: string[] = [];
  /** Held back until it resolves. */
  opening: Promise<void> = Promise.resolve();
  readonly #byDescriptor = new Map<number, string>();

  plug(path: string, file: string, facts: { serial?: string; instance: string; sizeBytes?: number }): void {
    const identity = {
      ...identityFromPairs({ kind: 'block', path, key: `block ${path}`, serial: facts.serial ?? '' }),
      sizeBytes: facts.sizeBytes ?? sizeBytes,
      logicalBlockBytes: 512,
    };
    this.disks.set(path, { file, identity, instance: facts.instance });
  }

  async attachmentAt(path: string): Promise<DiskAttachment> {
    this.asked.push(path);
    const disk = this.disks.get(path);
    if (disk !== undefined) return disk;
    throw Object.assign(new Error('ENOENT'), { errno: -2, syscall: 'stat' });
  }

  async attachmentOfDescriptor(fd: number): Promise<DescriptorFacts> {
    const file = this.#byDescriptor.get(fd);
    return [...this.disks.values()].find((disk) => disk.file === file) ?? 'gone';
  }

  async blockDevices(): Promise<readonly string[]> {
    return [...this.disks.keys()];
  }

  async open(request: OpenRequest) {
    await this.opening;
    const disk = this.disks.get(request.path)!;
    const opened = await openDescriptor({ ...request, path: disk.file });
    this.#byDescriptor.set(opened.fd, disk.file);
    return { ...opened, logicalBlockBytes: disk.identity.logicalBlockBytes };
  }

  async close(fd: number): Promise<void> {
    await closeAsync(fd);
  }
}

describe('R32 a disk that is pulled out and comes back', { timeout: 20_000 }, () => {
  let fixture: DataPlaneFixture;

  beforeEach(async () => {
    fixture = await dataPlaneFixture();
  });

  afterEach(async () => {
    mock.timers.reset();
    await fixture.dispose();
  });

  function image(name: string, byte: number): string {
    const path = join(fixture.directory, name);
    writeFileSync(path, new Uint8Array(sizeBytes).fill(byte));
    return path;
  }

  /** Descriptors of this process on files of the test. */
  function openFiles(): string[] {
    return readdirSync('/proc/self/fd')
      .map((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`);
        } catch {
          return '';
        }
      })
      .filter((target) => target.startsWith(fixture.directory))
      .sort();
  }

  async function plugged(machine: Machine, path: string): Promise<FileDevice> {
    const request: OpenRequest = { path, cache: 'none', readOnly: false, lock: true };
    const reopener = await DiskReopener.remembering(request, machine);
    return new DirectFileDevice({
      name: path,
      engine: fixture.plane.engine,
      descriptor: await machine.open(request),
      readOnly: false,
      readTimeoutMs: undefined,
      queueDepthMax: 8,
      bounceReserve: 'metadata',
      reopener,
    });
  }

  async function byteAt(device: FileDevice, offset: number): Promise<number> {
    const target = new Uint8Array(512);
    await device.read(target, offset);
    assert.ok(target.every((byte) => byte === target[0]));
    return target[0]!;
  }

  async function pathError(promise: Promise<unknown>, text: RegExp): Promise<void> {
    await assert.rejects(promise, (error: unknown) => {
      assert.ok(error instanceof DeviceError, String(error));
      assert.equal(error.kind, 'path');
      assert.match(error.message, text);
      assert.ok(!error.message.includes('\n'));
      return true;
    });
  }

  it('R32 is opened again under its own name, with one descriptor, and goes on', async () => {
    const machine = new Machine();
    const disk = image('disk', 1);
    machine.plug('/dev/sdb', disk, { serial: 'A', instance: '7' });
    const device = await plugged(machine, '/dev/sdb');
    machine.plug('/dev/sdb', disk, { serial: 'A', instance: '8' });
    await device.reopen();
    assert.deepEqual(openFiles(), [disk]);
    assert.equal(await device.identityTrouble(), undefined);
    await device.write(new Uint8Array(512).fill(5), 512);
    assert.equal(await byteAt(device, 512), 5);
    assert.equal(await byteAt(device, 0), 1);
    await device.close();
    assert.deepEqual(openFiles(), []);
  });

  it('R32 is found under another name by its serial, and nobody else is touched', async () => {
    const machine = new Machine();
    const [before, after, other] = [image('before', 1), image('after', 2), image('other', 3)];
    machine.plug('/dev/sdb', before, { serial: 'A', instance: '7' });
    machine.plug('/dev/sda', other, { serial: 'B', instance: '1' });
    const device = await plugged(machine, '/dev/sdb');
    machine.disks.delete('/dev/sdb');
    machine.plug('/dev/sdc', after, { serial: 'A', instance: '8' });
    assert.equal(await device.identityTrouble(), 'the disk has gone');
    await device.reopen();
    assert.deepEqual(openFiles(), [after]);
    assert.equal(await byteAt(device, 0), 2);
    assert.equal(device.name, '/dev/sdb');
    await device.close();
  });

  it('R32 another disk in its place is refused and not opened, however often; the right one is taken then', async () => {
    const machine = new Machine();
    const [disk, other] = [image('disk', 1), image('other', 3)];
    machine.plug('/dev/sdb', disk, { serial: 'A', instance: '7' });
    const device = await plugged(machine, '/dev/sdb');
    machine.plug('/dev/sdb', other, { serial: 'B', instance: '8' });
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await pathError(device.reopen(), /\/dev\/sdb: is another disk: serial was A, is B/);
    }
    assert.deepEqual(openFiles(), [disk]);
    machine.plug('/dev/sdb', disk, { serial: 'A', instance: '9' });
    await device.reopen();
    assert.equal(await byteAt(device, 0), 1);
    await device.close();
  });

  it('R32 a disk without a serial is taken again only while it never went away', async () => {
    const machine = new Machine();
    const disk = image('disk', 1);
    machine.plug('/dev/sdb', disk, { instance: '7' });
    const device = await plugged(machine, '/dev/sdb');
    await device.reopen();
    assert.equal(await device.identityTrouble(), undefined);
    machine.plug('/dev/sdb', disk, { instance: '8' });
    await pathError(device.reopen(), /no WWN and no serial to tell \/dev\/sdb from another/);
    assert.match((await device.identityTrouble()) ?? '', /is another disk/);
    await device.close();
  });

  it('R32 a disk that came back smaller, or with other blocks, is refused with nothing left open', async () => {
    const machine = new Machine();
    const disk = image('disk', 1);
    machine.plug('/dev/sdb', disk, { serial: 'A', instance: '7' });
    const device = await plugged(machine, '/dev/sdb');
    truncateSync(disk, sizeBytes / 2);
    await pathError(device.reopen(), /has 32768 bytes, had 65536/);
    assert.deepEqual(openFiles(), []);
    await pathError(byteAt(device, 0), /the disk has gone/);
    await pathError(device.flush(), /the disk has gone/);
    truncateSync(disk, sizeBytes * 2);
    await device.reopen();
    assert.equal(await byteAt(device, 0), 1);
    assert.equal(device.geometry.sizeBytes, sizeBytes);
    await device.close();
  });

  it('R32 requests that come while it is opened again are refused, and those before are answered', async () => {
    const machine = new Machine();
    const disk = image('disk', 1);
    machine.plug('/dev/sdb', disk, { serial: 'A', instance: '7' });
    const device = await plugged(machine, '/dev/sdb');
    let open = (): void => undefined;
    machine.opening = new Promise((resolve) => {
      open = resolve;
    });
    const before = Array.from({ length: 20 }, (_, at) => byteAt(device, at * 512));
    const reopening = [device.reopen(), device.reopen()];
    assert.deepEqual(new Set(await Promise.all(before)), new Set([1]));
    await new Promise((resolve) => setImmediate(resolve));
    await pathError(byteAt(device, 0), /the disk has gone/);
    await pathError(device.write(new Uint8Array(512), 0), /the disk has gone/);
    open();
    await Promise.all(reopening);
    assert.equal(await byteAt(device, 0), 1);
    await device.close();
  });

  it('I27, R32 a descriptor with unanswered requests is not closed, and is tried again later', async () => {
    const path = join(fixture.directory, 'pipe');
    execFileSync('mkfifo', [path]);
    const pipe = openSync(path, constants.O_RDWR);
    const machine = new Machine();
    const disk = image('disk', 1);
    machine.plug('/dev/sdb', disk, { serial: 'A', instance: '7' });
    const request: OpenRequest = { path: '/dev/sdb', cache: 'none', readOnly: false, lock: true };
    const descriptor = await machine.open(request);
    await closeAsync(descriptor.fd);
    // A pipe answers no read until somebody writes: a disk that hangs.
    const device = new DirectFileDevice({
      name: '/dev/sdb',
      engine: fixture.plane.engine,
      descriptor: { ...descriptor, fd: pipe },
      readOnly: false,
      readTimeoutMs: undefined,
      queueDepthMax: 8,
      bounceReserve: 'metadata',
      reopener: await DiskReopener.remembering(request, machine),
    });
    const buffer = fixture.plane.arena.take(512, 'client')!;
    const hanging = device.read(buffer, 0);
    mock.timers.enable({ apis: ['setTimeout'] });
    const reopening = pathError(
      device.reopen(),
      /the kernel has not answered 1 requests on the old descriptor/,
    );
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    mock.timers.tick(reopenDrainMs);
    await reopening;
    mock.timers.reset();
    assert.deepEqual(openFiles(), [path]);
    await pathError(device.read(new Uint8Array(512), 0), /the disk has gone/);
    writeFileSync(path, new Uint8Array(512).fill(4));
    await hanging;
    assert.ok(buffer.every((byte) => byte === 4));
    fixture.plane.arena.release(buffer);
    await device.reopen();
    assert.deepEqual(openFiles(), [disk]);
    assert.equal(await byteAt(device, 0), 1);
    await device.close();
  });

  it('I6, R32 closing while it is opened again leaves nothing open', async () => {
    const machine = new Machine();
    const disk = image('disk', 1);
    machine.plug('/dev/sdb', disk, { serial: 'A', instance: '7' });
    const device = await plugged(machine, '/dev/sdb');
    const reopening = device.reopen().then(
      () => 'opened',
      () => 'refused',
    );
    await device.close();
    assert.deepEqual(openFiles(), []);
    await assert.rejects(
      byteAt(device, 0),
      (error: unknown) => error instanceof DeviceError && error.kind === 'closed',
    );
    await reopening;
    assert.deepEqual(openFiles(), []);
    await pathError(device.reopen(), /is closed/);
  });

  it('R32 an image file is opened again while it is the same file, and no other in its place', async () => {
    const path = image('image', 1);
    const device = await fixture.plane.openFile({ path, cache: 'none' });
    assert.ok(device.reopen !== undefined);
    await device.write(new Uint8Array(512).fill(9), 0);
    await device.reopen();
    assert.equal(await byteAt(device, 0), 9);
    renameSync(path, `${path}.away`);
    await pathError(device.reopen(), /no such file/);
    copyFileSync(`${path}.away`, path);
    await pathError(device.reopen(), /is another disk/);
    assert.equal(await byteAt(device, 0), 9, 'what is open stays open');
    unlinkSync(path);
    renameSync(`${path}.away`, path);
    await device.reopen();
    assert.equal(await byteAt(device, 0), 9);
    await device.close();
    assert.deepEqual(openFiles(), []);
  });
});
