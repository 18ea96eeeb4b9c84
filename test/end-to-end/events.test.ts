import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { parseEventLine, type StoredEvent } from '../../src/device/log/event-record.ts';
import { DeviceLab, pattern } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const mainBytes = 64 * mib;
const spareBytes = 32 * mib;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(() => endLab(lab));

/** A device whose main cannot be written at `bad` (sectors: start, count). */
async function createOver(bad: readonly (readonly [number, number])[]): Promise<void> {
  const table = lab.faultTable('main.table', lab.image('main.img', mainBytes), mainBytes, bad);
  lab.image('spare.img', spareBytes);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--no-health');
}

async function stored(...words: readonly string[]): Promise<StoredEvent[]> {
  const output = await lab.mustRun('events', ...words, '--json');
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const event = parseEventLine(line);
      assert.ok(event !== undefined, line);
      return event;
    });
}

const kindsOf = (events: readonly StoredEvent[]): string[] => events.map(({ kind }) => kind);

test('I22 what was told before a SIGKILL is there after it, and the next start says how the last one ended', async () => {
  await createOver([[2048, 8]]);
  const client = await lab.connect('disk');
  await client.write(pattern(2048 * 512, 4096, 1), 2048 * 512);
  // Told in the turn of the acknowledgement, written by another thread right after it.
  while (!kindsOf(await stored('disk')).includes('remapped'));
  await lab.kill('disk');

  const events = await stored('disk');
  assert.deepEqual(kindsOf(events), ['serving', 'client-connected', 'remapped']);
  assert.deepEqual(events[2]!.fields, {
    granules: 1,
    sectors: 8,
    firstSector: 2048,
    lastSector: 2055,
    causes: { writeError: 1 },
  });
  assert.match(
    await lab.mustRun('events', 'disk', '--kind', 'remapped'),
    /^\d{4}-\d\d-\d\dT[\d:.]+Z warn {2}disk: 1 granule \(8 sectors\) moved to the spare \(1 write error\), within sectors 2048-2055\n$/,
  );

  await lab.mustRun('assemble', 'disk', '--main-table', 'main.table', '--spare', 'spare.img');
  await lab.mustRun('remove', 'disk');
  const all = await stored('disk');
  assert.deepEqual(kindsOf(all), [
    'serving',
    'client-connected',
    'remapped',
    'unclean-end',
    'took-over',
    'serving',
    'removing',
    'removed',
  ]);
  assert.deepEqual(all[3]!.fields, { remappedGranules: 1, unreadableSectors: 0, goneSectors: 0 });
  assert.deepEqual(
    all.map(({ sequence }) => sequence),
    all.map((_, at) => at + 1),
    'numbers go on over the kill',
  );
  assert.equal(existsSync(join(lab.runtime, 'disk')), false, 'nobody is asked');
});

test('I11, I22 a storm of bad blocks is some lines whose sum is exact, also when it ends by a SIGKILL', async () => {
  const granules = 1_024;
  await createOver([[2048, granules * 8]]);
  const client = await lab.connect('disk');
  const writes: Promise<void>[] = [];
  for (let at = 0; at < granules; at += 1) {
    const offset = (2048 + at * 8) * 512;
    writes.push(client.write(pattern(offset, 4096, 1), offset));
    if (at % 64 === 63) await Promise.all(writes.splice(0));
  }
  await lab.kill('disk');
  const before = (await stored('disk')).filter(({ kind }) => kind === 'remapped');
  assert.ok(before.length >= 1 && before.length < 20, `${before.length} lines`);
  await lab.mustRun('assemble', 'disk', '--main-table', 'main.table', '--spare', 'spare.img');
  const [unclean] = (await stored('disk')).filter(({ kind }) => kind === 'unclean-end');
  assert.equal(
    unclean?.fields['remappedGranules'],
    granules,
    'what the kill took of the log the table knows',
  );
  await lab.mustRun('remove', 'disk');
});

test('a clean end tells all that was gathered', async () => {
  const granules = 256;
  await createOver([[2048, granules * 8]]);
  const client = await lab.connect('disk');
  for (let at = 0; at < granules; at += 1) {
    const offset = (2048 + at * 8) * 512;
    await client.write(pattern(offset, 4096, 1), offset);
  }
  await lab.mustRun('message', 'disk', '0', 'policy', 'on-lost', 'zero');
  await lab.mustRun('message', 'disk', '0', 'list');
  await lab.mustRun('suspend', 'disk');
  await lab.mustRun('resume', 'disk');
  await client.close();
  await lab.mustRun('remove', 'disk');
  const events = await stored('disk');
  const sum = events.reduce(
    (total, { kind, fields }) => total + (kind === 'remapped' ? Number(fields['granules']) : 0),
    0,
  );
  assert.equal(sum, granules);
  const kinds = kindsOf(events).filter((kind) => kind !== 'remapped' && !kind.startsWith('client-'));
  assert.deepEqual(kinds, ['serving', 'policy-changed', 'suspended', 'resumed', 'removing', 'removed']);
});

test('the files are the owner’s alone, and --file reads them anywhere', async () => {
  await createOver([]);
  const { eventLog, uuid } = JSON.parse(await lab.mustRun('status', 'disk', '--json'));
  assert.equal(eventLog.path, join(lab.state, uuid, 'events.jsonl'));
  assert.deepEqual([eventLog.trouble, eventLog.dropped], ['', 0]);
  assert.equal(statSync(eventLog.path).mode & 0o777, 0o600);
  await lab.mustRun('remove', 'disk');
  const printed = await lab.mustRun('events', '--file', eventLog.path, '--json');
  assert.equal(printed, readFileSync(eventLog.path, 'utf8'), 'lines as they are stored');
  assert.deepEqual(await stored(uuid), await stored('disk'));
});

test('all devices together are in the order of time; --last and --since choose', async () => {
  for (const name of ['one', 'two']) {
    lab.image(`${name}.img`, mainBytes);
    lab.image(`${name}.spare`, spareBytes);
    await lab.mustRun('create', name, '--main', `${name}.img`, '--spare', `${name}.spare`);
  }
  for (const name of ['one', 'two']) await lab.mustRun('remove', name);
  const events = await stored();
  assert.deepEqual(
    events.map(({ device, kind }) => `${device} ${kind}`),
    ['one serving', 'two serving', 'one removing', 'one removed', 'two removing', 'two removed'],
  );
  assert.deepEqual(kindsOf(await stored('-n', '3', '--kind', 'removed', 'serving')), [
    'serving',
    'removed',
    'removed',
  ]);
  assert.deepEqual(await stored('--since', '1h'), events);
  assert.deepEqual(await stored('--since', '2200-01-01T00:00'), []);
  await lab.mustFail(3, /three: no events of a device of this name/, 'events', 'three');
  await lab.mustFail(2, /--kind frob: expected one of serving, /, 'events', '--kind', 'frob');
  await lab.mustFail(2, /--since yesterday: expected a time in UTC/, 'events', '--since', 'yesterday');
  await lab.mustFail(3, /none\.jsonl: no such file/, 'events', '--file', 'none.jsonl');
});

test('--follow waits for a device that is not there yet, goes on over its end, and ends cleanly by SIGINT', async () => {
  const following = lab.start('events', 'disk', '--follow');
  while (!following.errors().includes('none yet, waiting'))
    await new Promise((resolve) => setTimeout(resolve, 10));
  await createOver([]);
  await lab.mustRun('remove', 'disk');
  await lab.mustRun('assemble', 'disk', '--main-table', 'main.table', '--spare', 'spare.img');
  await lab.mustRun('remove', 'disk');
  while ((following.output().match(/removed, everything is closed/g) ?? []).length < 2)
    await new Promise((resolve) => setTimeout(resolve, 10));
  following.child.kill('SIGINT');
  assert.equal(await following.ended, 0);
  assert.equal(following.output().match(/serving/g)?.length, 2);
});

test('a reader that has seen enough is no error', async () => {
  await createOver([]);
  await lab.mustRun('remove', 'disk');
  const [file] = readdirSync(lab.state).map((uuid) => join(lab.state, uuid, 'events.jsonl'));
  const line = `"${process.execPath}" "${lab.program}" events --file "${file}" | head -1; echo "\${PIPESTATUS[0]}"`;
  const output = await new Promise<string>((resolve, reject) => {
    execFile('bash', ['-c', line], (error, text) => (error === null ? resolve(text) : reject(error)));
  });
  assert.match(output, /serving.*\n0\n$/);
});
