import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import type { NbdClient } from '../../src/nbd/client.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { DeviceLab, fileHash, pattern } from './device-lab.ts';
import { missingTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const granuleBytes = 4096;
const granules: readonly number[] = [1, 2, 3, 4, 5, 6];

let lab: DeviceLab;
let server: ChildProcess | undefined;

beforeEach(() => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('old.img', 24 * mib);
  lab.image('next.img', 32 * mib);
});

afterEach(async () => {
  server?.kill('SIGKILL');
  server = undefined;
  await endLab(lab);
});

/** Blocks on the spare, with bytes that main does not have. */
async function fill(round: number): Promise<void> {
  await lab.mustRun('message', 'disk', '0', 'remap', '8', '48');
  const client = await lab.connect('disk');
  for (const granule of granules)
    await client.write(pattern(granule * granuleBytes, granuleBytes, round), granule * granuleBytes);
  await client.flush();
  await client.disconnect();
}

async function readGranule(client: NbdClient, granule: number): Promise<Buffer> {
  const bytes = Buffer.alloc(granuleBytes);
  await client.read(bytes, granule * granuleBytes);
  return bytes;
}

async function assertFilled(round: number): Promise<void> {
  const client = await lab.connect('disk');
  for (const granule of granules) {
    const bytes = await readGranule(client, granule);
    assert.deepEqual(bytes, Buffer.from(pattern(granule * granuleBytes, granuleBytes, round)));
  }
  await client.disconnect();
}

test('M12 a spare is replaced while its device serves: the new one has everything, the old one is an ordinary disk', async () => {
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'old.img');
  await fill(1);
  const client = await lab.connect('disk');
  const said = await lab.mustRun('spare', 'replace', 'disk', 'next.img', '--json');
  assertShape('spare-replace', said);
  assert.deepEqual(JSON.parse(said), {
    name: 'disk',
    from: lab.path('old.img'),
    spare: lab.path('next.img'),
    goneSectors: 0,
  });
  // The same connection goes on.
  await client.write(pattern(granules[0]! * granuleBytes, granuleBytes, 1), granules[0]! * granuleBytes);
  await client.flush();
  await client.disconnect();
  await assertFilled(1);
  const old = await fileHash(lab.path('old.img'));
  await fill(2);
  assert.match(await lab.mustRun('spare', 'list', 'disk'), /next\.img +32 MiB +in-use/);
  await lab.mustFail(ExitCode.notASpare, /not a dm-remap spare/, 'examine', 'old.img');
  await lab.kill('disk');
  await lab.mustFail(ExitCode.notASpare, /old\.img/, 'assemble', '--spare', 'old.img');
  await lab.mustRun('assemble', '--spare', 'next.img');
  await assertFilled(2);
  assert.equal(await fileHash(lab.path('old.img')), old, 'nothing more was written to the old one');
  const events = await lab.mustRun('events', 'disk', '--kind', 'spare-replaced');
  assert.match(events, /next\.img is the spare now, in place of .*old\.img/);
});

test('what cannot take over is refused before anything is written to it', async () => {
  lab.image('small.img', 16 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'old.img');
  await fill(1);
  const replace = ['spare', 'replace', 'disk'];
  await lab.mustFail(ExitCode.failed, /use a disk of at least that size/, ...replace, 'small.img');
  await lab.mustFail(ExitCode.failed, /old\.img/, ...replace, 'old.img');
  await lab.mustFail(ExitCode.failed, /main\.img/, ...replace, 'main.img', '--overwrite-spare');
  await lab.mustFail(ExitCode.failed, /nothing\.img/, ...replace, 'nothing.img');
  await lab.mustFail(ExitCode.refused, /gives up 48 sectors.*--yes/, ...replace, 'next.img', '--give-up');
  await lab.mustFail(ExitCode.failed, /the spare answers/, ...replace, 'next.img', '--give-up', '--yes');
  await lab.mustRun('create', 'other', '--main', 'next.img', '--spare', 'third.img', '--create-spare', '24M');
  await lab.mustRun('remove', 'other');
  await lab.mustFail(ExitCode.failed, /a dm-remap spare \(of other\)/, ...replace, 'third.img');
  await lab.mustRun('suspend', 'disk');
  await lab.mustFail(ExitCode.busy, /is suspended/, ...replace, 'next.img');
  await lab.mustRun('resume', 'disk');
  await assertFilled(1);
  // A disk that was another device's may be taken when somebody says so.
  await lab.mustRun(...replace, 'third.img', '--overwrite-spare');
  await assertFilled(1);
});

test('a process that is killed while it copies leaves the old spare as it was', async () => {
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'old.img');
  await fill(1);
  await lab.mustRun('message', 'disk', '0', 'remap', '16384', '8192');
  await lab.mustRun('message', 'disk', '0', 'spare', 'replace', lab.path('next.img'));
  await lab.kill('disk');
  const found = await lab.run('assemble', '--spare', 'old.img');
  if (found.exitCode !== ExitCode.ok) await lab.mustRun('assemble', '--spare', 'next.img');
  await assertFilled(1);
  const spare = found.exitCode === ExitCode.ok ? 'next.img' : 'old.img';
  await lab.mustRun('spare', 'replace', 'disk', spare, '--overwrite-spare');
  await assertFilled(1);
});

test('R4 a spare that is lost is replaced too: what only it held is gone, and listed, all else is served', {
  skip: missingTool('nbdkit'),
}, async () => {
  server = spawn('nbdkit', ['-f', '-U', lab.path('spare.sock'), 'file', lab.path('old.img')], {
    stdio: 'ignore',
  });
  for (let attempt = 0; attempt < 1000 && !existsSync(lab.path('spare.sock')); attempt += 1)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const uri = `nbd+unix:///?socket=${lab.path('spare.sock')}`;
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', uri, '--path-timeout', '1');
  await fill(1);
  server.kill('SIGKILL');
  const client = await lab.connect('disk');
  await assert.rejects(readGranule(client, granules[0]!));
  await lab.mustFail(ExitCode.failed, /does not answer.*--give-up/, 'spare', 'replace', 'disk', 'next.img');
  const said = await lab.mustRun('spare', 'replace', 'disk', 'next.img', '--give-up', '--yes');
  assert.match(said, /48 sectors are gone/);
  const lost = await lab.mustRun('message', 'disk', '0', 'lost');
  assert.equal(lost.trim(), '8 48 gone');
  await assert.rejects(readGranule(client, granules[0]!));
  assert.deepEqual(await readGranule(client, 0), Buffer.alloc(granuleBytes));
  await client.write(pattern(8 * 512, granuleBytes, 3), 8 * 512);
  await client.flush();
  await client.disconnect();
  await lab.kill('disk');
  await lab.mustRun('assemble', '--spare', 'next.img');
  const again = await lab.connect('disk');
  assert.deepEqual(await readGranule(again, 1), Buffer.from(pattern(8 * 512, granuleBytes, 3)));
  await assert.rejects(readGranule(again, 2));
  await again.disconnect();
});
