// `npm run bench:idle`: what a device costs while nobody uses it, and how long it takes to come. README.md beside this says
// how to read it.

import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createDataPlane, type DataPlane } from '../src/io/data-plane.ts';
import { connectNbd, type NbdClient } from '../src/nbd/client.ts';
import { runCommand } from './command.ts';
import { type ProcessFigures, processFigures } from './process-figures.ts';
import { programPath } from './program-path.ts';
import { summarize } from './statistics.ts';

const program = programPath();
const mebibyte = 1024 * 1024;
const mainBytes = 256 * mebibyte;
const poolBytes = 16 * mebibyte;
const deviceName = 'idle';

/** The bars. */
const wakeUpsPerSecondMost = 2;
const processorMsPerMinuteMost = 10;
const residentMegabytesMost = 90;
const startMsMost = 500;

/** By then Node has done what it does once after a start. */
const settleMs = 30_000;
const connectEveryMs = 2;
const startDeadlineMs = 20_000;

interface Row {
  readonly what: string;
  readonly seen: string;
  readonly bar: string;
  readonly met: boolean;
}

/** A folder with a runtime directory of its own, and what ends all of it. */
class Lab {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'dm-remap-idle-'));
  readonly socket: string = join(this.folder, 'run', deviceName, 'nbd.sock');
  readonly main: string = join(this.folder, 'main.img');
  readonly spare: string = join(this.folder, 'spare.img');
  readonly environment: NodeJS.ProcessEnv = {
    ...process.env,
    DM_REMAP_RUNTIME_DIR: join(this.folder, 'run'),
    DM_REMAP_STATE_DIR: join(this.folder, 'state'),
  };
  readonly plane: DataPlane = createDataPlane();

  constructor() {
    mkdirSync(join(this.folder, 'run'));
    writeFileSync(this.main, '');
    truncateSync(this.main, mainBytes);
  }

  get pid(): number {
    return Number(readFileSync(join(this.folder, 'run', deviceName, 'pid'), 'latin1').split(' ', 1)[0]);
  }

  /** Milliseconds from the start of the command to the end of the first handshake. */
  async timeStart(...words: readonly string[]): Promise<number> {
    const startMs = performance.now();
    const child = spawn(process.execPath, [program, ...words, '--memory', String(poolBytes)], {
      env: this.environment,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const ended = new Promise<number | null>((resolve) => {
      child.once('close', resolve);
    });
    const client = await this.#connect(startMs + startDeadlineMs);
    const tookMs = performance.now() - startMs;
    await client.close();
    if ((await ended) !== 0) throw new Error(`dm-remap ${words[0]} failed`);
    return tookMs;
  }

  async remove(): Promise<void> {
    await runCommand(process.execPath, [program, 'remove', deviceName], { environment: this.environment });
  }

  /** Every byte of the pool has been used by some request. */
  async touchPool(): Promise<void> {
    const client = await this.#connect(performance.now() + startDeadlineMs);
    const pieceBytes = mebibyte;
    const piece = new Uint8Array(pieceBytes);
    for (let round = 0; round < 4; round += 1) {
      const writes = Array.from({ length: poolBytes / pieceBytes }, (_, at) =>
        client.write(piece, at * pieceBytes),
      );
      await Promise.all(writes);
    }
    await client.close();
  }

  /** After a measurement that failed, too: nothing is left running. */
  async close(): Promise<void> {
    if (existsSync(this.socket)) await this.remove();
    await this.plane.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #connect(untilMs: number): Promise<NbdClient> {
    for (;;) {
      try {
        return await connectNbd(await this.plane.connectUnix(this.socket), deviceName);
      } catch (error) {
        if (performance.now() > untilMs) throw error;
        await sleep(connectEveryMs);
      }
    }
  }
}

async function measure(lab: Lab, starts: number, seconds: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const create: number[] = [];
  const assemble: number[] = [];
  const disks = ['--main', lab.main, '--spare', lab.spare];
  for (let at = 0; at < starts; at += 1) {
    rmSync(lab.spare, { force: true });
    create.push(await lab.timeStart('create', deviceName, ...disks, '--create-spare', '64M'));
    await lab.remove();
    assemble.push(await lab.timeStart('assemble', deviceName, ...disks));
    if (at < starts - 1) await lab.remove();
  }
  rows.push(startRow('create to the first handshake', create));
  rows.push(startRow('assemble to the first handshake', assemble));
  await sleep(Math.min(settleMs, seconds * 1000));
  rows.push(memoryRow('resident, nothing served yet', processFigures(lab.pid)));
  await lab.touchPool();
  await sleep(Math.min(settleMs, seconds * 1000));
  const before = processFigures(lab.pid);
  await sleep(seconds * 1000);
  const after = processFigures(lab.pid);
  rows.push(memoryRow('resident, idle after all of the pool was used', after));
  rows.push(...idleRows(before, after, seconds));
  await lab.remove();
  return rows;
}

function startRow(what: string, timesMs: readonly number[]): Row {
  const { median, least, most } = summarize(timesMs);
  const seen = `${median.toFixed(0)} ms (${least.toFixed(0)} to ${most.toFixed(0)}, ${timesMs.length} times)`;
  return { what, seen, bar: `${startMsMost} ms`, met: median <= startMsMost };
}

function memoryRow(what: string, { residentBytes, threads }: ProcessFigures): Row {
  const megabytes = residentBytes / 1e6;
  const seen = `${megabytes.toFixed(1)} MB, ${threads} threads`;
  return { what, seen, bar: `${residentMegabytesMost} MB`, met: megabytes <= residentMegabytesMost };
}

function idleRows(before: ProcessFigures, after: ProcessFigures, seconds: number): readonly Row[] {
  const wakeUps = (after.wakeUps - before.wakeUps) / seconds;
  const preemptions = (after.preemptions - before.preemptions) / seconds;
  const processorMs = ((after.processorMs - before.processorMs) * 60) / seconds;
  return [
    {
      what: 'wake-ups a second, all threads',
      seen: `${wakeUps.toFixed(2)} (and ${preemptions.toFixed(2)} preemptions)`,
      bar: String(wakeUpsPerSecondMost),
      met: wakeUps <= wakeUpsPerSecondMost,
    },
    {
      what: 'processor time a minute, all threads',
      seen: `${processorMs.toFixed(1)} ms`,
      bar: `${processorMsPerMinuteMost} ms`,
      met: processorMs <= processorMsPerMinuteMost,
    },
  ];
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${name} ${text}: expected a whole number above 0`);
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    starts: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
});
const loadBefore = loadavg()[0] ?? 0;
const lab = new Lab();
let rows: readonly Row[];
try {
  rows = await measure(lab, wholeNumber('--starts', values.starts), wholeNumber('--seconds', values.seconds));
} finally {
  await lab.close();
}
const load = { before: loadBefore, after: loadavg()[0] ?? 0 };
if (values.json) {
  console.log(JSON.stringify({ rows, load }, null, 2));
} else {
  for (const { what, seen, bar, met } of rows)
    console.log(`${met ? 'met   ' : 'MISSED'} ${what.padEnd(46)} ${seen.padEnd(36)} at most ${bar}`);
  console.log(`load of the machine: ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after`);
}
process.exitCode = rows.every(({ met }) => met) ? 0 : 1;
