// `npm run bench`: our server against the neighbours, side by side. README.md beside this says how to read it.

import { cpus, release, tmpdir } from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { CommandFailure } from './command.ts';
import { requireDiskFileSystem } from './file-system.ts';
import type { Workload } from './fio.ts';
import { compareRows, measure } from './measure.ts';
import { type BenchReport, reportText, type Section } from './report.ts';
import type { BenchServer } from './server-process.ts';
import {
  requireEqualBytes,
  startLinearServer,
  startNbdkit,
  startQemuNbd,
  startRemapServer,
} from './servers.ts';
import { BenchRefusal, findTool, requireTools, versionOf } from './tools.ts';
import { makeWorkFiles, type WorkFiles } from './work-files.ts';

const imageBytes = 1024 ** 3;
const remapCount = 1000;
/** Issue bar: reads through the remap target against qemu-nbd. */
const readRatioLeast = 1.5;

const workloads: readonly Workload[] = [
  { pattern: 'randread', blockBytes: 4096, queueDepth: 32 },
  // Last: from here on the remap device's bytes are its own.
  { pattern: 'randwrite', blockBytes: 4096, queueDepth: 32 },
];

const usage = `npm run bench -- [--rounds N] [--runtime SECONDS] [--directory DIR] [--reads-only] [--json]
  --rounds N         interleaved rounds, default 5
  --runtime SECONDS  of each measurement, default 2
  --directory DIR    on a disk, with 1.2 GiB free; default the folder for temporary files
  --reads-only       leave out the row of writes
  --json             the report as JSON`;

interface Options {
  readonly rounds: number;
  readonly runtimeSeconds: number;
  readonly directory: string;
  readonly readsOnly: boolean;
  readonly json: boolean;
}

function readOptions(words: string[]): Options {
  const { values } = parseArgs({
    args: words,
    options: {
      rounds: { type: 'string', default: '5' },
      runtime: { type: 'string', default: '2' },
      directory: { type: 'string', default: tmpdir() },
      'reads-only': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    rounds: wholeNumber('--rounds', values.rounds),
    runtimeSeconds: wholeNumber('--runtime', values.runtime),
    directory: values.directory,
    readsOnly: values['reads-only'],
    json: values.json,
  };
}

function wholeNumber(name: string, text: string): number {
  const value = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (value > 0) return value;
  throw new BenchRefusal(`${name} ${text}: expected a whole number from 1 to 9999\n${usage}`);
}

/** Ctrl-C and SIGTERM: what runs ends, and everything is undone in its order. */
const interruption = new AbortController();

/** What must be undone, last first. */
const undo: (() => Promise<void> | void)[] = [];

async function undoAll(): Promise<void> {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
}

async function runBench(options: Options, told: (line: string) => void): Promise<BenchReport> {
  requireTools({ fio: 'fio', 'qemu-nbd': 'qemu-utils', 'qemu-img': 'qemu-utils' });
  const { signal } = interruption;
  const fileSystem = requireDiskFileSystem(options.directory);
  told('making a file of 1 GiB');
  const files = makeWorkFiles(options.directory, imageBytes);
  undo.push(() => files.remove());
  told(`starting servers, remapping ${remapCount} blocks`);
  const servers = await startServers(files);
  const [first, ...others] = servers;
  told('comparing every byte');
  for (const other of others) await requireEqualBytes(first!, other, signal);
  const sections: Section[] = [];
  for (const workload of options.readsOnly ? workloads.slice(0, 1) : workloads) {
    const { rounds, runtimeSeconds } = options;
    const rows = await measure(
      servers,
      { workload, rounds, runtimeSeconds, sizeBytes: imageBytes, signal },
      told,
    );
    sections.push({ workload, rounds, runtimeSeconds, rows });
  }
  const processors = cpus();
  const surroundings = {
    fileSystem: fileSystem.type,
    directory: options.directory,
    imageBytes,
    cache: 'writeback',
    transport: "fio's nbd engine over a Unix socket, one connection",
    processor: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    kernel: release(),
    versions: versions(),
  };
  return { surroundings, sections };
}

async function startServers(files: WorkFiles): Promise<BenchServer[]> {
  const servers: BenchServer[] = [];
  const add = async (starting: Promise<BenchServer>): Promise<void> => {
    const server = await starting;
    undo.push(() => server.stop());
    servers.push(server);
    interruption.signal.throwIfAborted();
  };
  await add(startRemapServer(files, { imageBytes, remapCount }));
  await add(startQemuNbd(files));
  await add(startLinearServer(files));
  if (findTool('nbdkit') !== undefined) await add(startNbdkit(files));
  return servers;
}

function versions(): Record<string, string> {
  const tools = ['fio', 'qemu-nbd', 'nbdkit'].filter((name) => findTool(name) !== undefined);
  return { Node: process.versions.node, ...Object.fromEntries(tools.map((name) => [name, versionOf(name)])) };
}

/** The line that says whether the bar is met; undefined when it is. */
function shortfall(report: BenchReport): string | undefined {
  const rows = report.sections[0]?.rows ?? [];
  const ratio = compareRows(rows[0]!, rows[1]!).median;
  if (ratio >= readRatioLeast) return undefined;
  return `reads are ${ratio.toFixed(2)} times as fast as qemu-nbd's, expected at least ${readRatioLeast}`;
}

process.once('SIGINT', () => interruption.abort(new BenchRefusal('interrupted')));
process.once('SIGTERM', () => interruption.abort(new BenchRefusal('terminated')));

try {
  const options = readOptions(process.argv.slice(2));
  const report = await runBench(options, (line) => process.stderr.write(`bench: ${line}\n`));
  console.log(options.json ? JSON.stringify(report, undefined, 2) : reportText(report));
  const short = shortfall(report);
  if (short !== undefined) {
    console.error(`bench: ${short}`);
    process.exitCode = 1;
  }
} catch (error) {
  const expected =
    error instanceof BenchRefusal ||
    error instanceof CommandFailure ||
    (error instanceof Error && 'code' in error);
  console.error(expected ? `bench: ${error.message}` : error);
  process.exitCode = 1;
} finally {
  await undoAll();
}
