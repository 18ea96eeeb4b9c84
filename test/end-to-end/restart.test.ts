import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { type NbdClient, NbdRequestError } from '../../src/nbd/client.ts';
import { DeviceLab } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';
import { fillSectors, SectorVersions, sectorBytes, sectorsPerGranule } from './sector-versions.ts';

const mib = 1_048_576;
const mainBytes = 32 * mib;
const granuleBytes = sectorsPerGranule * sectorBytes;
const granuleCount = mainBytes / granuleBytes;
const lanes = 16;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
  lab.image('main.img', mainBytes);
});

afterEach(() => endLab(lab));

/** As the kernel's nbd driver: what has no answer when a connection ends is sent again on the next one. An answer that says no fails the test. */
class PatientClient {
  readonly #name: string;
  #client: Promise<NbdClient> | undefined;
  connections = 0;
  sentAgain = 0;

  constructor(name: string) {
    this.#name = name;
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    await this.#patiently((client) => client.write(bytes, offset));
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    await this.#patiently((client) => client.read(target, offset));
  }

  async #patiently(ask: (client: NbdClient) => Promise<void>): Promise<void> {
    for (;;) {
      this.#client ??= this.#connect();
      const client = this.#client;
      try {
        await ask(await client);
        return;
      } catch (error) {
        if (error instanceof NbdRequestError) throw error;
        if (this.#client === client) this.#client = undefined;
        this.sentAgain += 1;
      }
    }
  }

  async #connect(): Promise<NbdClient> {
    for (;;) {
      try {
        const client = await lab.connect(this.#name);
        this.connections += 1;
        return client;
      } catch {
        await sleep(10);
      }
    }
  }
}

test('clients that send again what has no answer notice a restart as a pause: no error, no acknowledged byte is lost', async () => {
  const bad = Array.from({ length: 40 }, (_, at): [number, number] => [64 + at * 200, 1]);
  const table = lab.faultTable('bad.table', 'main.img', mainBytes, bad);
  const create = ['create', 'disk', '--main-table', table, '--spare', 's.img', '--create-spare', '24M'];
  await lab.mustRun(...create, '--no-export-main', '--cache', 'writeback', '--path-timeout', '60');
  await lab.mustRun('policy', 'disk', 'path-timeout', '7');
  const versions = new SectorVersions(mainBytes / sectorBytes);
  const client = new PatientClient('disk');
  let writing = true;
  let written = 0;
  const lane = async (index: number): Promise<void> => {
    for (let at = index; writing; at += lanes) {
      const sector = (at % granuleCount) * sectorsPerGranule;
      const words = new Uint32Array(granuleBytes / 4);
      const version = versions.begin(sector, sectorsPerGranule);
      fillSectors(words, sector, version);
      await client.write(new Uint8Array(words.buffer), sector * sectorBytes);
      versions.acknowledge(sector, sectorsPerGranule, version);
      written += 1;
    }
  };
  const running = Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
  for (let round = 1; round <= 3; round += 1) {
    const before = written;
    while (written < before + 300) await sleep(5);
    const { pid } = lab.identity('disk');
    const log = await lab.mustRun('restart', 'disk', '--json');
    assert.ok(JSON.parse(log).steps.every(({ result }: { result: string }) => result === 'done'));
    assert.notEqual(lab.identity('disk').pid, pid);
  }
  const before = written;
  while (written < before + 300) await sleep(5);
  writing = false;
  await running;
  assert.ok(client.connections >= 4 && client.sentAgain > 0, 'it was cut off, and came back');
  const words = new Uint32Array(granuleBytes / 4);
  for (let granule = 0; granule < granuleCount; granule += 1) {
    const sector = granule * sectorsPerGranule;
    await client.read(new Uint8Array(words.buffer), sector * sectorBytes);
    for (let at = 0; at < sectorsPerGranule; at += 1)
      versions.check(words.slice(at * 128, (at + 1) * 128), sector + at);
  }
  const status = JSON.parse(await lab.mustRun('status', 'disk', '--json'));
  assert.equal(status.cache, 'writeback', 'as it was started');
  assert.equal(status.exports.length, 1, 'without main beside it, as it was started');
  assert.equal(status.remap.changedPolicies['path-timeout'], '7', 'as it was told since');
  assert.ok(status.remap.remappedGranules > 0);
  const events = await lab.mustRun('events', 'disk', '--json');
  assert.equal(events.split('"kind":"unclean-end"').length, 1, 'every end was clean');
});

test('a device that is served in the foreground, or suspended, is not restarted, and serves on', async () => {
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 's.img', '--create-spare', '24M');
  await lab.mustRun('suspend', 'disk');
  await lab.mustFail(
    ExitCode.busy,
    /hand-over: not now, it is suspended: resume it first/,
    'restart',
    'disk',
  );
  await lab.mustRun('resume', 'disk');
  await lab.mustRun('remove', 'disk');
  const served = lab.start('serve', '--spare', 's.img', '--main', 'main.img');
  while (!existsSync(join(lab.runtime, 'disk', 'control.sock'))) await sleep(10);
  await lab.mustFail(
    ExitCode.busy,
    /served in the foreground.*systemctl restart dm-remap@disk/,
    'restart',
    'disk',
  );
  await lab.mustRun('remove', 'disk');
  assert.equal(await served.ended, ExitCode.ok);
  await lab.mustFail(ExitCode.notFound, /no such device/, 'restart', 'disk');
});

test('what the unit stops with hands a service over only while systemd restarts it', async () => {
  const tools = lab.path('tools');
  mkdirSync(tools);
  const says = (type: string): void => {
    writeFileSync(
      join(tools, 'systemctl'),
      `#!/bin/sh\necho "$@" >> ${tools}/asked\necho "7 dm-remap@disk.service ${type} running"\n`,
    );
    chmodSync(join(tools, 'systemctl'), 0o755);
  };
  const stop = ['detach', 'disk', '--wait', '0', '--unless-restart', 'dm-remap@disk.service'];
  const environment = { PATH: `${tools}:${process.env['PATH'] ?? ''}` };
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 's.img', '--create-spare', '24M');
  says('stop');
  const stopped = lab.startWith(environment, ...stop);
  assert.equal(
    await stopped.ended,
    ExitCode.notFound,
    'there was nothing to detach, and nothing else is done',
  );
  await lab.mustRun('status', 'disk');
  const client = await lab.connect('disk');
  const bytes = new Uint8Array(4096).fill(3);
  await client.write(bytes, 0);
  says('restart');
  const restarted = lab.startWith(environment, ...stop);
  assert.equal(await restarted.ended, ExitCode.ok, restarted.errors());
  await lab.mustFail(ExitCode.notFound, /no such device/, 'status', 'disk');
  await assert.rejects(client.read(bytes, 0), (error) => !(error instanceof NbdRequestError));
  assert.match(readFileSync(join(tools, 'asked'), 'utf8'), /^list-jobs --full --no-legend --no-pager\n/);
  await lab.mustRun('assemble', '--spare', 's.img', '--main', 'main.img');
  await lab.mustRun('remove', 'disk');
});
