import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { DeviceLab } from './device-lab.ts';
import { dustTable, FailingDisk, missingForFailingDisks } from './failing-disk.ts';
import { missingTool, mustRunTool, runTool } from './foreign-tool.ts';
import { assertNothingLeftOver, mountsBelow } from './nothing-left-over.ts';
import { assertSeen, stepsOf, storyTitles } from './story-page.ts';

const mib = 1_048_576;
const mainBytes = 32 * mib;
const sectorBytes = 512;
const mainSectors = mainBytes / sectorBytes;
/** Where no file system is: its blocks are used from the front. */
const badSector = 40_000;
/** Of all machines: /dev/dm-remap is one for all tests of a machine. */
const name = `story-${process.pid}`;
const missing =
  missingForFailingDisks() ||
  missingTool('mkfs.ext4', 'mount', 'umount', 'ddrescue', 'e2fsck', 'filefrag', 'dd');

interface Health {
  readonly score: number;
  readonly advice: readonly { readonly kind: string }[];
  readonly growth: { readonly badSectorsLastDay: number };
}

// Files of a file system whose disk this process serves are read and written off its main thread: that one has to answer.
describe('the stories of docs/operations.md', { skip: missing }, () => {
  let lab: DeviceLab;
  let main: FailingDisk;
  let spare: FailingDisk;
  const more: FailingDisk[] = [];
  const told = new Set<string>();
  let places: readonly (readonly [string, string])[] = [];

  beforeEach(async () => {
    lab = new DeviceLab();
    mkdirSync(lab.path('srv'));
    mkdirSync(lab.path('bin'));
    const wrapper = lab.path('bin/dm-remap');
    writeFileSync(wrapper, `#!/bin/sh\nexec '${process.execPath}' '${lab.program}' "$@"\n`);
    chmodSync(wrapper, 0o755);
    main = await disk('main', mainBytes);
    spare = await disk('spare', 22 * mib);
    places = [
      ['/dev/sdb', main.path],
      ['/dev/sdc1', spare.path],
      ['/srv', lab.path('srv')],
      ['old-disk', name],
    ];
  });

  afterEach(async () => {
    try {
      if (mountsBelow(lab.folder).length > 0) await runTool('umount', lab.path('srv'));
      await lab.run('remove', name, '--force');
    } finally {
      for (const one of [main, spare, ...more.splice(0)]) await one.close();
      await lab.close();
    }
    assertNothingLeftOver(lab.folder);
  });

  after(() => {
    assert.deepEqual([...told].sort(), [...storyTitles()].sort(), 'every story of the page is told');
  });

  async function disk(label: string, sizeBytes: number): Promise<FailingDisk> {
    return await FailingDisk.attach(lab, label, dustTable(lab.image(`${label}.img`, sizeBytes), sizeBytes));
  }

  async function another(label: string, as: string, sizeBytes: number): Promise<FailingDisk> {
    const one = await disk(label, sizeBytes);
    more.push(one);
    places = [...places, [as, one.path]];
    return one;
  }

  function shell(command: string): Promise<string> {
    const words = places.reduce((text, [from, to]) => text.replaceAll(from, to), command);
    const environment = { ...lab.environment(), PATH: `${lab.path('bin')}:${process.env['PATH'] ?? ''}` };
    return new Promise((resolve, reject) => {
      execFile('sh', ['-ec', words], { cwd: lab.folder, env: environment }, (error, output, errors) => {
        if (error === null) resolve(output);
        else reject(new Error(`${words}: exit code ${error.code}: ${errors}${output}`));
      });
    });
  }

  function pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 50));
  }

  /** The commands of one section as they stand there, with what happens to the disks in between. */
  async function tell(
    title: string,
    happenings: Readonly<Record<string, () => Promise<unknown>>> = {},
  ): Promise<void> {
    told.add(title);
    const steps = stepsOf(title);
    assert.ok(steps.length > 0, `${title}: no commands`);
    for (const step of steps) {
      if (step.meanwhile !== '') {
        const happening = happenings[step.meanwhile];
        assert.ok(happening !== undefined, `${title}: nobody knows how "${step.meanwhile}"`);
        await happening();
      }
      let output = '';
      for (const command of step.commands) output += await shell(command);
      for (const [from, to] of [...places].reverse()) output = output.replaceAll(to, from);
      assertSeen(output, step);
    }
  }

  async function create(): Promise<void> {
    await shell('dm-remap create old-disk --main /dev/sdb --spare /dev/sdc1');
  }

  /** Sectors fail from now on, and a client writes to their blocks. */
  async function spoilAndWrite(sectors: readonly number[]): Promise<void> {
    await main.addBad(sectors.map((sector) => [sector, 1]));
    const client = await lab.connect(name);
    for (const sector of sectors) await client.write(randomBytes(4096), sector * sectorBytes);
    await client.flush();
    await client.disconnect();
  }

  /** Many at once: each block is tried and moved on its own. */
  async function spoilMany(count: number): Promise<void> {
    const sectors = Array.from({ length: count }, (_, at) => 8192 + at * 16);
    await main.addBad(sectors.map((sector) => [sector, 8]));
    const client = await lab.connect(name);
    await Promise.all(sectors.map((sector) => client.write(randomBytes(4096), sector * sectorBytes)));
    await client.flush();
    await client.disconnect();
    // What happens within a second is one event.
    while ((await healthOf()).growth.badSectorsLastDay < count * 8) await pause();
  }

  /** The sectors under a file fail from now on, and it is written over in its place. */
  async function writeOverBadSectors(file: string, bytes: Uint8Array): Promise<void> {
    const { output } = await runTool('filefrag', '-e', '-b512', file);
    const extents = [...output.matchAll(/^ *\d+: +\d+\.\. *\d+: +(\d+)\.\. *\d+: +(\d+):/gm)];
    assert.ok(extents.length > 0, output);
    await main.addBad(extents.map(([, first, count]) => [Number(first), Number(count)]));
    await writeFile(lab.path('bytes'), bytes);
    await mustRunTool('dd', `if=${lab.path('bytes')}`, `of=${file}`, 'bs=1M', 'conv=notrunc,fsync');
  }

  async function healthOf(): Promise<Health> {
    return JSON.parse(await lab.mustRun('health', name, '--json')).health;
  }

  async function statusOf(field: string): Promise<unknown> {
    return JSON.parse(await lab.mustRun('status', name, '--json')).remap[field];
  }

  async function untilState(state: string): Promise<void> {
    while ((await statusOf('state')) !== state) await pause();
  }

  test('an existing disk goes under dm-remap with its file system, and out again', async () => {
    await mustRunTool('mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', main.path);
    await shell('mount /dev/sdb /srv');
    const file = join(lab.path('srv'), 'file');
    const bytes = randomBytes(mib);
    await writeFile(file, bytes);
    await tell('Putting a disk with its file system under dm-remap');
    assert.deepEqual(await readFile(file), bytes);
    const later = randomBytes(mib);
    await writeOverBadSectors(file, later);
    assert.ok(Number(await statusOf('remappedGranules')) > 0, 'some of it lies on the spare');
    await tell('Taking it out again', { 'main takes what it is given again': () => main.heal() });
    assert.deepEqual(await readFile(file), later, 'with what was written under dm-remap');
    await shell('umount /srv');
    await mustRunTool('e2fsck', '-f', '-n', main.path);
  });

  test('the first warning: what was moved, and what else is bad', async () => {
    await create();
    await tell('First warning', {
      'two sectors go bad, and are written to': () => spoilAndWrite([badSector, badSector + 80]),
      'a sector goes bad that nobody reads': () => main.addBad([[badSector + 801, 1]]),
    });
  });

  test('growing errors: the score falls and the advice is to replace the disk', async () => {
    await create();
    const before = (await healthOf()).score;
    await tell('Growing errors', { 'hundreds of sectors go bad, and are written to': () => spoilMany(80) });
    const { score, advice } = await healthOf();
    assert.ok(score < before, `${score}, was ${before}`);
    assert.ok(
      advice.some(({ kind }) => kind.startsWith('replace-')),
      JSON.stringify(advice),
    );
  });

  test('a cable that falls out moves nothing, and main is found again', async () => {
    await create();
    await lab.mustRun('policy', name, 'path-timeout', '1');
    await tell('Cable trouble', {
      'main fails everything that it is asked for': async () => {
        await main.addBad([[0, mainSectors]]);
        const client = await lab.connect(name);
        await assert.rejects(client.write(randomBytes(4096), badSector * sectorBytes));
        await client.disconnect();
        await untilState('main-failed');
      },
      'the cable is in again': () => main.heal(),
    });
    assert.equal(await statusOf('remappedGranules'), 0);
    assert.equal(await statusOf('unreadableSectors'), 0);
  });

  test('a spare that is nearly full is freed of what main takes again', async () => {
    // Hardly more than its metadata.
    const small = await another('small', '/dev/sdc1', 19 * mib);
    places = places.filter(([as, path]) => as !== '/dev/sdc1' || path === small.path);
    await another('next', '/dev/sdd1', 24 * mib);
    await create();
    const full = (): Promise<unknown> => statusOf('spareUsedPercent');
    await tell('Spare nearly full', {
      'most of the spare is in use, for a reason that has gone': async () => {
        // What fails in so many places at once moves whole requests (R19).
        const sectors = Math.ceil(0.85 * Number(await statusOf('slotsTotal')));
        await main.addBad([[0, sectors]]);
        const client = await lab.connect(name);
        for (let sector = 0; sector < sectors; sector += 256)
          await client.write(randomBytes(256 * sectorBytes), sector * sectorBytes);
        await client.disconnect();
        await main.heal();
        assert.ok(Number(await full()) >= 80);
      },
    });
    assert.ok(Number(await full()) < 20, `${String(await full())} %`);
  });

  test('a spare that dies is replaced: what only it held is gone, and says so', async () => {
    await create();
    await lab.mustRun('policy', name, 'path-timeout', '1');
    await another('next', '/dev/sdd1', 24 * mib);
    await tell('Spare failed', {
      'the spare dies': async () => {
        await spoilAndWrite([badSector]);
        await spare.die();
        const client = await lab.connect(name);
        await assert.rejects(client.read(new Uint8Array(4096), badSector * sectorBytes));
        await client.disconnect();
        await untilState('spare-failed');
      },
    });
    const client = await lab.connect(name);
    await client.write(new Uint8Array(4096).fill(1), badSector * sectorBytes);
    await client.read(new Uint8Array(4096), badSector * sectorBytes);
    await client.disconnect();
    assert.equal(await statusOf('goneSectors'), 0, 'written to, it works');
  });

  test('the disk is replaced by a copy of all that main and the spare have', async () => {
    await mustRunTool('mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', main.path);
    await another('new', '/dev/sde', mainBytes);
    await shell('dm-remap create old-disk --main /dev/sdb --spare /dev/sdc1 --attach');
    await shell('mount /dev/dm-remap/old-disk /srv');
    const file = join(lab.path('srv'), 'file');
    const bytes = randomBytes(2 * mib);
    await tell('Replacing the disk', {
      'some sectors go bad, and are written to': async () => {
        await writeFile(file, randomBytes(2 * mib));
        await mustRunTool('sync', '-f', file);
        await writeOverBadSectors(file, bytes);
        assert.ok(Number(await statusOf('remappedGranules')) > 0);
      },
    });
    assert.deepEqual(await readFile(file), bytes);
    assert.match(
      await readFile(lab.path('rescue.map'), 'utf8'),
      /^0x0+ +0x0*2000000 +\+$/m,
      'nothing was left out',
    );
    await shell('umount /srv');
    await mustRunTool('e2fsck', '-f', '-n', more[0]!.path);
  });
});
