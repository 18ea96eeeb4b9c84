import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { assertShape } from '../cli/json-shapes.ts';
import { CountedDisk } from './counted-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { missingForMounts, missingTool, mustRunTool, runTool } from './foreign-tool.ts';
import { assertNothingLeftOver, mountsBelow } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 64 * mebibyte;
const tools =
  missingTool('mkfs.ext4', 'e2fsck', 'mount', 'umount', 'fstrim', 'fio', 'partx', 'dd') || missingForMounts();
/** Of all machines: /dev/dm-remap is one for all tests of a machine. */
const name = `attach-${process.pid}`;
const link = `/dev/dm-remap/${name}`;

interface Attached {
  readonly device: string;
  readonly links: readonly string[];
  readonly wasAttached: boolean;
  readonly warnings: readonly string[];
}

describe('attach, by the loop driver', { skip: tools }, () => {
  let lab: DeviceLab;
  let disks: CountedDisk[];
  let mountPoint: string;

  beforeEach(() => {
    lab = new DeviceLab();
    disks = [];
    mountPoint = lab.path('mnt');
    mkdirSync(mountPoint);
  });

  afterEach(async () => {
    try {
      if (mountsBelow(lab.folder).length > 0) await runTool('umount', mountPoint);
      await lab.run('remove', name, '--force');
      assert.deepEqual(lab.leftovers(), []);
      assert.equal(existsSync(link), false, 'no link is left');
      assertNothingLeftOver(lab.folder);
    } finally {
      await lab.close();
      for (const disk of disks) await disk.close();
    }
  });

  /** A device over a main in this process's memory. */
  async function create(logicalBlockBytes = 512): Promise<CountedDisk> {
    const disk = new CountedDisk(lab, { sizeBytes: mainBytes, logicalBlockBytes });
    disks.push(disk);
    await lab.mustRun('create', name, '--main', disk.uri, '--spare', 'spare.img', '--create-spare', '24M');
    return disk;
  }

  /** A device over an image: a main that is known again. */
  async function createOverImage(): Promise<void> {
    lab.image('main.img', mainBytes);
    await lab.mustRun('create', name, '--main', 'main.img', '--spare', 'spare.img', '--create-spare', '24M');
  }

  /** At the end of `assemble`: an image has no serial number. */
  const again = ['assemble', name, '--spare', 'spare.img', '--main', 'main.img'] as const;

  async function attach(...flags: readonly string[]): Promise<Attached> {
    const output = await lab.mustRun('attach', name, '--driver', 'loop', ...flags, '--json');
    assertShape('attach', output);
    return JSON.parse(output) as Attached;
  }

  function ofSysfs(device: string, file: string): string {
    return readFileSync(join('/sys/block', device.slice('/dev/'.length), file), 'latin1').trim();
  }

  async function mountNew(device: string): Promise<void> {
    await mustRunTool('mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device);
    await mustRunTool('mount', device, mountPoint);
  }

  /** Opens, writes and syncs one file; the error's code, or undefined. Off this thread, which serves main. */
  async function writeDurably(file: string): Promise<string | undefined> {
    const handle = await open(join(mountPoint, file), 'w').catch((error: NodeJS.ErrnoException) => error);
    if (handle instanceof Error) return handle.code;
    try {
      await handle.write(randomBytes(4096));
      await handle.sync();
      return undefined;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    } finally {
      await handle.close();
    }
  }

  for (const blockBytes of [512, 4096]) {
    test(`ext4 on blocks of ${blockBytes}: syncs and trims arrive at main, detach names the mount`, async () => {
      const disk = await create(blockBytes);
      const { device, links, wasAttached } = await attach();
      assert.deepEqual([links, wasAttached], [[link], false]);
      assert.equal(ofSysfs(device, 'queue/logical_block_size'), String(blockBytes));
      assert.equal(ofSysfs(device, 'loop/dio'), '1');
      assert.equal(ofSysfs(device, 'queue/max_sectors_kb'), '512', 'FUSE cuts no request');
      assert.equal(ofSysfs(device, 'size'), String(mainBytes / 512));
      assert.equal(ofSysfs(device, 'queue/write_cache'), 'write back', 'flushes are asked for');
      await mountNew(link);
      const before = disk.flushes;
      for (let file = 0; file < 5; file += 1) assert.equal(await writeDurably(`synced-${file}`), undefined);
      assert.ok(disk.flushes - before >= 5, `${disk.flushes - before} flushes for 5 syncs`);
      const job = ['--name=attach', `--filename=${mountPoint}/fio`, '--size=8M', '--rw=randwrite', '--bs=4k'];
      const checks = [
        '--direct=1',
        '--ioengine=libaio',
        '--iodepth=16',
        '--verify=crc32c',
        '--verify_state_save=0',
      ];
      if (blockBytes === 512) await mustRunTool('fio', ...job, ...checks);
      await mustRunTool('umount', mountPoint);
      await mustRunTool('mount', link, mountPoint);
      const zeroed = disk.bytesZeroed;
      await mustRunTool('fstrim', mountPoint);
      assert.ok(disk.bytesZeroed - zeroed > 8 * mebibyte, `${disk.bytesZeroed - zeroed} bytes trimmed`);
      const refused = new RegExp(`${device} is in use: mounted on ${mountPoint}; unmount or close it first`);
      await lab.mustFail(5, refused, 'detach', name);
      await lab.mustFail(5, refused, 'remove', name);
      assert.match(
        await lab.mustRun('status', name),
        new RegExp(`attached +${device}, ${link} \\(loop, fails`),
      );
      assert.match(await lab.mustRun('ls'), new RegExp(` ${device} `));
      assert.match(await lab.mustRun('info', name), new RegExp(`Attached: +${device}`));
      await mustRunTool('umount', mountPoint);
      await mustRunTool('e2fsck', '-f', '-n', link);
      assertShape('detach', await lab.mustRun('detach', name, '--json'));
      assert.equal(existsSync(join('/sys/block', device.slice('/dev/'.length), 'loop')), false);
      await lab.mustFail(3, /is not attached/, 'detach', name);
      await lab.mustRun('remove', name);
    });
  }

  test('a read-only attachment takes no write, and is mounted to read', async () => {
    const disk = await create();
    await attach();
    await mountNew(link);
    await writeFile(join(mountPoint, 'file'), 'kept');
    await mustRunTool('umount', mountPoint);
    await lab.mustRun('detach', name);
    const { device } = await attach('--read-only');
    assert.equal(ofSysfs(device, 'ro'), '1');
    const written = disk.bytesWritten;
    const dd = await runTool(
      'dd',
      'if=/dev/zero',
      `of=${device}`,
      'bs=4096',
      'count=1',
      'oflag=direct',
      'conv=notrunc',
    );
    assert.notEqual(dd.status, 0, dd.output);
    await mustRunTool('mount', '-o', 'ro', link, mountPoint);
    assert.equal(await readFile(join(mountPoint, 'file'), 'latin1'), 'kept');
    await mustRunTool('umount', mountPoint);
    assert.equal(disk.bytesWritten, written, 'nothing was written');
  });

  test('each partition has a link, and a new table has its own after another attach', async () => {
    await create();
    const { device } = await attach();
    await writePartitions(device, [
      [2048, 16_384],
      [18_432, 32_768],
    ]);
    await runTool('partx', '--update', device);
    const two = await attach();
    assert.equal(two.wasAttached, true);
    assert.deepEqual(two.links, [link, `${link}-part1`, `${link}-part2`]);
    await mountNew(`${link}-part2`);
    await lab.mustFail(5, new RegExp(`${device}p2 mounted on ${mountPoint}`), 'detach', name);
    await mustRunTool('umount', mountPoint);
    await lab.mustRun('detach', name);
    await attach();
    // A kernel that knows this kind of table has found them by itself; ours here knows none.
    await runTool('partx', '--update', device);
    assert.equal((await attach()).links.length, 3);
    await writePartitions(device, [[2048, 16_384]]);
    await runTool('partx', '--delete', device);
    await mustRunTool('partx', '--add', device);
    assert.deepEqual((await attach()).links, [link, `${link}-part1`]);
    assert.equal(existsSync(`${link}-part2`), false);
  });

  test('a process that was killed under a mounted file system gives EIO at once, and the next one is attached anew', async () => {
    await createOverImage();
    const { device } = await attach();
    await mountNew(link);
    assert.equal(await writeDurably('before'), undefined);
    await lab.kill(name);
    const startMs = performance.now();
    const code = await writeDurably('behind');
    assert.ok(code === 'EIO' || code === 'EROFS', `${code}`);
    assert.ok(performance.now() - startMs < 10_000, 'nothing hangs');
    await lab.mustRun(...again);
    await lab.mustFail(5, new RegExp(`mounted on ${mountPoint}`), 'detach', name);
    const next = await attach();
    assert.match(next.warnings.join(), new RegExp(`${device}, where ${name} was attached.*unmount it`));
    assert.notEqual(next.device, device);
    await mustRunTool('umount', mountPoint);
    assert.equal(
      existsSync(join('/sys/block', device.slice('/dev/'.length), 'loop')),
      false,
      'it goes with its user',
    );
    await mustRunTool('mount', link, mountPoint);
    assert.deepEqual((await readdir(mountPoint)).includes('before'), true);
    await mustRunTool('umount', mountPoint);
    await mustRunTool('e2fsck', '-f', '-n', link);
  });

  test('R30 of a suspended device detach says so at once, and remove takes the attachment with it', async () => {
    await createOverImage();
    await attach();
    await lab.mustRun('suspend', name);
    await lab.mustFail(
      5,
      /is suspended, and what is written to \/dev\/\w+ waits: resume it first/,
      'detach',
      name,
    );
    await lab.mustRun('remove', name);
    assert.equal(existsSync(link), false);
  });

  test('remove takes an unused attachment with it; by force, its users get errors', async () => {
    await createOverImage();
    const { device } = await attach();
    await lab.mustRun('remove', name);
    assert.equal(existsSync(link), false);
    await lab.mustRun(...again);
    await attach();
    await mountNew(link);
    await lab.run('remove', name, '--force');
    assert.ok(['EIO', 'EROFS'].includes((await writeDurably('late')) ?? ''));
    assert.equal(existsSync(link), false);
    await mustRunTool('umount', mountPoint);
    assert.equal(existsSync(join('/sys/block', device.slice('/dev/'.length), 'loop')), false);
  });

  test('create --attach gives the block device with the device; what it cannot promise is refused', async () => {
    lab.image('main.img', mainBytes);
    const words = ['--main', 'main.img', '--spare', 'spare.img', '--create-spare', '24M'];
    const output = await lab.mustRun('create', name, ...words, '--attach', '--json');
    assertShape('create', output);
    const { attachment } = JSON.parse(output) as { attachment: Attached };
    assert.equal(existsSync(link), true);
    const bytes = randomBytes(8192);
    writeFileSync(lab.path('bytes'), bytes);
    await mustRunTool(
      'dd',
      `if=${lab.path('bytes')}`,
      `of=${attachment.device}`,
      'bs=8192',
      'seek=3',
      'conv=fsync,notrunc',
    );
    assert.deepEqual(readFileSync(lab.path('main.img')).subarray(3 * 8192, 4 * 8192), bytes);
    await lab.mustRun('detach', name);
    await lab.mustFail(2, /expected fail, queue/, 'attach', name, '--on-daemon-loss', 'hope');
    await lab.mustFail(
      1,
      /cannot wait for a process/,
      'attach',
      name,
      '--driver',
      'loop',
      '--on-daemon-loss',
      'queue:30s',
    );
    await lab.mustRun('suspend', name);
    await lab.mustFail(5, /suspended/, 'attach', name, '--driver', 'loop');
    await lab.mustRun('resume', name);
  });
});

/** A DOS partition table: start and length in sectors. */
async function writePartitions(
  device: string,
  partitions: readonly (readonly [number, number])[],
): Promise<void> {
  const sector = Buffer.alloc(512);
  for (const [index, [start, count]] of partitions.entries()) {
    const at = 446 + 16 * index;
    sector[at + 4] = 0x83;
    sector.writeUInt32LE(start, at + 8);
    sector.writeUInt32LE(count, at + 12);
  }
  sector.writeUInt16LE(0xaa55, 510);
  const handle = await open(device, 'r+');
  await handle.write(sector, 0, sector.length, 0);
  await handle.sync();
  await handle.close();
}
