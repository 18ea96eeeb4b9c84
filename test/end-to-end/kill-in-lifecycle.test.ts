import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRunning, parseIdentity } from '../../src/device/process/process-identity.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { DeviceLab, pattern, type StartedCommand } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const mainBytes = 16 * mib;
const pieceBytes = 65_536;
const badSectors = [
  [1000, 2],
  [9000, 1],
  [20_000, 8],
] as const;
/** Each bad run is in one of the pieces that every round writes. */
const pieces = [0, ...badSectors.map(([start]) => Math.floor((start * 512) / pieceBytes) * pieceBytes)];
const rounds = 12;
/** A command needs about so long, a kill comes anywhere in it. */
const killWithinMs = 350;

let lab: DeviceLab;
let table: string;

beforeEach(() => {
  lab = new DeviceLab();
  const main = lab.image('main.img', mainBytes);
  table = lab.faultTable('main.table', main, mainBytes, badSectors);
  lab.image('spare.img', 24 * mib);
});

afterEach(() => endLab(lab));

/** Kills whoever has the device's folder now: its process, or the command that is making it. False: nobody has. */
async function killHolder(name: string): Promise<boolean> {
  const pidPath = join(lab.runtime, name, 'pid');
  const identity = existsSync(pidPath) ? parseIdentity(readFileSync(pidPath, 'latin1')) : undefined;
  if (identity === undefined || !isRunning(identity)) return false;
  process.kill(identity.pid, 'SIGKILL');
  while (isRunning(identity)) await sleep(2);
  return true;
}

/** Whatever a command meets when its device is killed under it, it says so in one line, or is content. */
async function endsInOneLine(command: StartedCommand): Promise<void> {
  const exitCode = await command.ended;
  if (exitCode === 0 || exitCode === null) return;
  assert.notEqual(exitCode, 70, command.errors());
  assert.match(command.errors(), /^(dm-remap: [^\n]+\n)+$/);
}

async function serve(): Promise<void> {
  const found = await lab.run('ls', '--json');
  const devices: { state: string }[] = JSON.parse(found.output);
  if (devices.some(({ state }) => state === 'serving')) return;
  if (devices.some(({ state }) => state === 'suspended')) await lab.mustRun('resume', 'disk');
  else await lab.mustRun('assemble', '--main-table', table, '--spare', 'spare.img');
}

async function writeRound(round: number): Promise<void> {
  const client = await lab.connect('disk');
  for (const at of pieces) await client.write(pattern(at, pieceBytes, round), at);
  await client.flush();
  await client.disconnect();
}

async function compareRound(round: number): Promise<void> {
  const client = await lab.connect('disk');
  const bytes = new Uint8Array(pieceBytes);
  for (const at of pieces) {
    await client.read(bytes, at);
    assert.ok(Buffer.from(bytes).equals(pattern(at, pieceBytes, round)), `round ${round}, byte ${at}`);
  }
  await client.disconnect();
}

const verbs = ['suspend', 'resume', 'remove', 'force', 'assemble', 'nothing'] as const;

/** What is under way when the kill comes. */
async function begin(verb: (typeof verbs)[number]): Promise<StartedCommand | undefined> {
  switch (verb) {
    case 'suspend':
      return lab.start('suspend', 'disk');
    case 'resume':
      await lab.mustRun('suspend', 'disk');
      return lab.start('resume', 'disk');
    case 'remove':
      return lab.start('remove', 'disk');
    case 'force':
      return lab.start('remove', 'disk', '--force');
    case 'assemble':
      await lab.mustRun('remove', 'disk');
      return lab.start('assemble', '--main-table', table, '--spare', 'spare.img');
    case 'nothing':
      return undefined;
  }
}

test(`I6, I24, R30 killed ${rounds} times anywhere in its life, a device assembles with everything that was flushed`, async () => {
  const random = new SeededRandom('kill-in-lifecycle');
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--overwrite-spare');
  let killed = 0;
  for (let round = 1; round <= rounds; round += 1) {
    await serve();
    if (round > 1) await compareRound(round - 1);
    await writeRound(round);
    const verb = verbs[round % verbs.length]!;
    const command = await begin(verb);
    await sleep(random.below(killWithinMs));
    if (await killHolder('disk')) killed += 1;
    if (command !== undefined) await endsInOneLine(command);
  }
  assert.ok(killed >= rounds / 3, `only ${killed} kills met a device`);
  await serve();
  await compareRound(rounds);
  await lab.mustRun('remove', 'disk');
  assert.deepEqual(lab.leftovers(), [], 'I24: no folder, socket or half-made claim is left');
  assert.match(await lab.mustRun('examine', 'spare.img'), /closed +cleanly/);
});

test('killed anywhere while it is created, a device can be created again, and its name is free', async () => {
  const random = new SeededRandom('kill-in-create');
  const create = ['create', 'disk', '--main-table', table, '--spare', 'spare.img', '--overwrite-spare'];
  for (let round = 0; round < 5; round += 1) {
    const command = lab.start(...create);
    await sleep(100 + random.below(killWithinMs));
    await killHolder('disk');
    await endsInOneLine(command);
    // Its starter may have been killed while the device itself came up.
    await sleep(50);
    while (await killHolder('disk')) await sleep(50);
  }
  await lab.mustRun(...create);
  await writeRound(1);
  await compareRound(1);
  await lab.mustRun('remove', 'disk');
  assert.deepEqual(lab.leftovers(), []);
});

test('two creates of one name at one time: one has it, and the other leaves its spare as it was', async () => {
  lab.image('other.img', 24 * mib);
  const other = lab.image('other-main.img', mainBytes);
  const blank = readFileSync(lab.path('other.img'));
  const blankSpare = readFileSync(lab.path('spare.img'));
  const results = await Promise.all([
    lab.run('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--overwrite-spare'),
    lab.run('create', 'disk', '--main', other, '--spare', 'other.img', '--overwrite-spare'),
  ]);
  assert.deepEqual(
    results.map(({ exitCode }) => exitCode).toSorted((a, b) => a - b),
    [0, 5],
  );
  const loser = results.findIndex(({ exitCode }) => exitCode === 5);
  assert.match(
    results[loser]!.errors,
    /^dm-remap: create: disk: a device of this name exists already[^\n]*\n$/,
  );
  const untouched = loser === 0 ? (['spare.img', blankSpare] as const) : (['other.img', blank] as const);
  assert.ok(readFileSync(lab.path(untouched[0])).equals(untouched[1]), `${untouched[0]} is as it was`);
});
