import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { SoakRecord } from '../soak/soak-records.ts';
import { runSoak } from '../soak/soak-run.ts';
import type { DyingDisk } from './dying-disk.ts';
import { missingTool } from './foreign-tool.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';
import { sectorBytes, sectorsPerGranule } from './sector-versions.ts';

const program = fileURLToPath(new URL('../soak.js', import.meta.url));
const skip = missingTool('fio');
/** Each session is as short as it can be: the run ends with the one after the change. */
const tamperedSeconds = 8;
const startMsMax = 30_000;

let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-soak-'));
});

after(() => {
  assertNothingLeftOver(folder);
  rmSync(folder, { recursive: true });
});

interface Soak {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly exitCode: number | null; readonly output: string }>;
}

/** With disks and sockets below the folder, so that what it leaves over can be found. */
function startSoak(...words: readonly string[]): Soak {
  const child = spawn(process.execPath, [program, ...words], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<{ exitCode: number | null; output: string }>((resolve) => {
    child.once('close', (exitCode) => resolve({ exitCode, output }));
  });
  return { child, ended };
}

function recordsOf(out: string): SoakRecord[] {
  const lines = readFileSync(join(out, 'soak.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line));
}

/** The first sector that a writer knows the bytes of, in a block that no bad sector can have moved. */
function writtenSector(own: DyingDisk): number {
  const troubled = new Set([...own.bad.keys()].map((sector) => Math.floor(sector / sectorsPerGranule)));
  const sector = own.versions.acknowledged.findIndex(
    (version, at) => version > 0 && !troubled.has(Math.floor(at / sectorsPerGranule)),
  );
  assert.notEqual(sector, -1, 'something was written');
  return sector;
}

/** Runs a soak behind whose back `bytes` get into a sector that was written, after the first session. */
async function tamperedSoak(name: string, at: number, bytes: Uint8Array): Promise<number> {
  let changed = -1;
  const run = runSoak({
    seconds: tamperedSeconds,
    seed: name,
    recordsPath: join(folder, `${name}.jsonl`),
    failurePath: join(folder, `${name}.txt`),
    signal: new AbortController().signal,
    tell: () => undefined,
    betweenSessions: (imagePath, own) => {
      if (changed !== -1) return;
      changed = writtenSector(own);
      const image = openSync(imagePath, 'r+');
      writeSync(image, bytes, 0, bytes.length, changed * sectorBytes + at);
      closeSync(image);
    },
  });
  await assert.rejects(run, (error: Error) => {
    assert.match(error.message, new RegExp(`^sector ${changed} holds `));
    return true;
  });
  return changed;
}

describe('npm run soak', { concurrency: 5, skip }, () => {
  test('in half a minute everything happens once, and the verdict is good', async () => {
    const out = join(folder, 'half');
    const { exitCode, output } = await startSoak('--minutes', '0.5', '--seed', 'ci', '--out', out).ended;
    assert.equal(exitCode, 0, output);
    assert.match(output, /^ok {3}soak, 0\.5 minutes, seed ci: 4 sessions: .* 0 wrong; /m);
    const records = recordsOf(out);
    const sessions = records.filter((record) => record.kind === 'session');
    assert.deepEqual(
      sessions.map(({ session }) => session),
      [0, 1, 2, 3],
    );
    assert.ok(sessions.at(-1)!.writesAcknowledged > 100 && sessions.at(-1)!.readsChecked > 50, output);
    assert.ok(records.filter((record) => record.kind === 'sample').length >= 8, 'samples');
    assert.match(readFileSync(join(out, 'soak.svg'), 'utf8'), /^<svg [\s\S]*<\/svg>\n$/);
    assert.ok(!existsSync(join(out, 'failure.txt')));
  });

  test('one bit that changed behind its back fails it', async () => {
    await tamperedSoak('bit', 100, Uint8Array.of(0x5a));
  });

  test('a write that was acknowledged and then forgotten fails it', async () => {
    await tamperedSoak('forgotten', 0, new Uint8Array(sectorBytes));
    assert.match(readFileSync(join(folder, 'forgotten.txt'), 'utf8'), /\nevents disk[^\n]*\n20\d\d-/);
  });

  test('a run that is not over in time fails, and leaves nothing behind', async () => {
    const run = runSoak({
      seconds: 60,
      seed: 'overdue',
      recordsPath: join(folder, 'overdue.jsonl'),
      failurePath: join(folder, 'overdue.txt'),
      signal: new AbortController().signal,
      tell: () => undefined,
      overdueSeconds: 4,
    });
    await assert.rejects(run, /not over after 4 s: somebody waits for ever/);
  });

  test('interrupted, it ends in order with 130 and leaves nothing behind', async () => {
    const out = join(folder, 'interrupted');
    const { child, ended } = startSoak('--minutes', '5', '--out', out);
    const endMs = performance.now() + startMsMax;
    const hasSample = (): boolean =>
      existsSync(join(out, 'soak.jsonl')) &&
      readFileSync(join(out, 'soak.jsonl'), 'utf8').includes('"event"');
    while (!hasSample() && performance.now() < endMs) await sleep(100);
    assert.ok(hasSample(), 'it runs');
    child.kill('SIGINT');
    const { exitCode, output } = await ended;
    assert.equal(exitCode, 130, output);
    assert.match(output, /^interrupted; until then 1 sessions: /m);
  });

  test('a wrong command line is one line and exit code 2', async () => {
    const { exitCode, output } = await startSoak('--minutes', 'long').ended;
    assert.equal(exitCode, 2);
    assert.equal(output, "soak: --minutes is 'long', expected a number from 0.1 to 10000\n");
  });
});
