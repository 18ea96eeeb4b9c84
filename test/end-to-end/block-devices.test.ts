import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import process from 'node:process';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { DeviceLab, fileHash, pattern } from './device-lab.ts';

const mib = 1_048_576;
const mainBytes = 64 * mib;
const spareBytes = 40 * mib;

const found = spawnSync('losetup', ['-f'], { encoding: 'utf8' });
const skip = process.getuid?.() === 0 && found.status === 0 ? false : 'needs root and loop devices';

describe('block devices', { skip, timeout: 180_000 }, () => {
  let lab: DeviceLab;
  let main: string;
  let spare: string;
  let loops: string[];

  const attach = (image: string): string => {
    const options = ['-f', '--show', '--partscan', '--direct-io=on', image];
    const loop = execFileSync('losetup', options, { encoding: 'utf8' }).trim();
    loops.push(loop);
    return loop;
  };

  beforeEach(() => {
    lab = new DeviceLab();
    loops = [];
    main = attach(lab.image('main.img', mainBytes));
    spare = attach(lab.image('spare.img', spareBytes));
  });

  afterEach(async () => {
    spawnSync('umount', [lab.path('mount')], { stdio: 'ignore' });
    await lab.close();
    for (const loop of loops) execFileSync('losetup', ['-d', loop]);
  });

  it('are served, killed and assembled by what the spare remembers', async () => {
    await lab.mustRun('create', 'disk', '--main', main, '--spare', spare);
    const client = await lab.connect('disk');
    await client.write(pattern(0, mib, 1), 0);
    await client.flush();
    await client.close();
    await lab.mustRun('message', 'disk', '0', 'remap', '8', '8');
    await lab.kill('disk');
    // M15: a loop device has no WWN and no serial; only a person can know that it is still the same disk.
    const words = ['assemble', '--spare', spare];
    await lab.mustFail(ExitCode.refused, /has no WWN and no serial.*--main \/dev\/loop/, ...words);
    await lab.mustRun(...words, '--main', main);
    const again = await lab.connect('disk');
    const bytes = new Uint8Array(mib);
    await again.read(bytes, 0);
    assert.ok(Buffer.from(bytes).equals(pattern(0, mib, 1)));
    await again.disconnect();
    assert.match(await lab.mustRun('status', 'disk', '--line'), new RegExp(`remap ${main} ${spare} ok 8/`));
    await lab.mustRun('remove', 'disk');
  });

  it('M17 are refused while mounted, attached or named twice, and stay as they are', async () => {
    execFileSync('mkfs.ext4', ['-q', main]);
    const hash = await fileHash(lab.path('main.img'));
    const swapped = ['create', 'disk', '--main', spare, '--spare', main];
    await lab.mustFail(ExitCode.refused, /carries ext4.*are they swapped/, ...swapped);
    await lab.mustFail(ExitCode.refused, /carries ext4.*wipefs/, ...swapped, '--overwrite-spare');
    await lab.mustFail(ExitCode.refused, /same device/, 'create', 'disk', '--main', main, '--spare', main);
    const files = ['create', 'disk', '--main', 'main.img', '--spare', 'spare.img', '--overwrite-spare'];
    await lab.mustFail(ExitCode.busy, /main\.img: the main is in use: attached as \/dev\/loop/, ...files);
    assert.equal(await fileHash(lab.path('main.img')), hash);

    mkdirSync(lab.path('mount'));
    execFileSync('mount', ['-o', 'ro', main, lab.path('mount')]);
    const mounted = /in use: mounted on .*mount/;
    await lab.mustFail(ExitCode.busy, mounted, 'create', 'disk', '--main', main, '--spare', spare);
    await lab.mustFail(ExitCode.busy, mounted, ...swapped, '--overwrite-spare');
    assert.deepEqual(lab.leftovers(), []);
  });

  it('R27 are refused by name by assemble and serve, too, also while only a partition is mounted', async () => {
    await lab.mustRun('create', 'disk', '--main', main, '--spare', spare);
    await lab.mustRun('remove', 'disk');
    execFileSync('addpart', [main, '1', '2048', '16384']);
    const partition = `${main}p1`;
    execFileSync('mkfs.ext4', ['-q', partition]);
    mkdirSync(lab.path('mount'));
    execFileSync('mount', ['-o', 'ro', partition, lab.path('mount')]);
    const hash = await fileHash(lab.path('main.img'));
    const named = new RegExp(`${main}: in use: ${partition} mounted on ${lab.path('mount')}`);
    await lab.mustFail(ExitCode.busy, named, 'assemble', '--main', main, '--spare', spare);
    // In the foreground its log is on standard error, too.
    const served = await lab.run('serve', '--main', main, '--spare', spare);
    assert.equal(served.exitCode, ExitCode.busy, served.errors);
    assert.match(served.errors, named);
    const whole = new RegExp(`${partition}: .*in use: mounted on ${lab.path('mount')}`);
    await lab.mustFail(
      ExitCode.busy,
      whole,
      'assemble',
      '--main',
      partition,
      '--spare',
      spare,
      '--accept-main',
    );
    assert.equal(await fileHash(lab.path('main.img')), hash);
  });

  it('R27 are refused while their file, or a part of it, is attached twice', async () => {
    const hash = await fileHash(lab.path('main.img'));
    const twin = attach(lab.path('main.img'));
    const pair = ['create', 'disk', '--main', main, '--spare', twin, '--overwrite-spare'];
    await lab.mustFail(
      ExitCode.busy,
      new RegExp(`its file .*main\\.img is attached as ${twin} too`),
      ...pair,
    );
    assert.equal(await fileHash(lab.path('main.img')), hash);
  });

  it('R27 an image that was attached since is refused by assemble, too, as main and as spare', async () => {
    const files = [
      '--main',
      lab.image('main-2.img', mainBytes),
      '--spare',
      lab.image('spare-2.img', spareBytes),
    ];
    await lab.mustRun('create', 'disk', ...files);
    await lab.mustRun('remove', 'disk');
    for (const role of ['main', 'spare'] as const) {
      const hash = await fileHash(lab.path('main-2.img'));
      const loop = attach(lab.path(`${role}-2.img`));
      const inUse = new RegExp(`${role}-2\\.img: the ${role} is in use: attached as ${loop}`);
      await lab.mustFail(ExitCode.busy, inUse, 'assemble', ...files);
      assert.equal(await fileHash(lab.path('main-2.img')), hash);
      execFileSync('losetup', ['-d', loop]);
      loops.pop();
    }
    await lab.mustRun('assemble', ...files);
    await lab.mustRun('remove', 'disk');
  });

  it('R27 a spare image with holes is allocated again before it is used', async () => {
    const path = lab.image('spare-2.img', spareBytes);
    const files = ['--main', lab.image('main-2.img', mainBytes), '--spare', path];
    await lab.mustRun('create', 'disk', ...files);
    await lab.mustRun('remove', 'disk');
    const allocated = () => statSync(path).blocks * 512;
    assert.ok(allocated() >= spareBytes);
    execFileSync('fallocate', ['--dig-holes', path]);
    assert.ok(allocated() < spareBytes, 'it has holes');
    assert.match(await lab.mustRun('assemble', ...files), /spare-2\.img had holes and was allocated in full/);
    assert.ok(allocated() >= spareBytes);
    await lab.mustRun('remove', 'disk');
  });

  it('refuse writeback, and a second owner', async () => {
    const disks = ['--main', main, '--spare', spare];
    await lab.mustFail(ExitCode.usage, /cache=none/, 'create', 'disk', ...disks, '--cache', 'writeback');
    await lab.mustRun('create', 'disk', ...disks);
    await lab.mustFail(ExitCode.busy, /in use/, 'assemble', 'other', '--spare', spare);
    assert.match(await lab.mustRun('examine', spare), /dm-remap spare of disk/);
    await lab.mustRun('remove', 'disk');
  });
});
