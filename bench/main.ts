// `npm run bench`: our server against the neighbours, side by side. README.md beside this says how to read it.

import { cpus, loadavg, release } from 'node:os';
import process from 'node:process';
import { judgeBars } from './bars.ts';
import { CommandFailure } from './command.ts';
import type { Contestant } from './contestant.ts';
import { requireDiskFileSystem } from './file-system.ts';
import { measure } from './measure.ts';
import { type Options, readOptions, usage } from './options.ts';
import { bars, directName, type Entry, entries, type PlannedFiles, plannedWorkloads } from './plan.ts';
import { type BenchReport, reportText, type Section } from './report.ts';
import { reportDrawing } from './report-drawing.ts';
import { requireImageBytes } from './servers.ts';
import { BenchRefusal, findTool, requireTools, versionOf } from './tools.ts';
import { makeWorkFiles } from './work-files.ts';
import { type Workload, workloadName } from './workload.ts';

const imageBytes = 1024 ** 3;

/** One workload with those who take part in it. */
interface PlannedSection {
  readonly name: string;
  readonly workload: Workload;
  readonly direct: boolean;
  readonly entries: readonly Entry[];
}

/** Ctrl-C and SIGTERM: what runs ends, and everything is undone in its order. */
const interruption = new AbortController();

/** What must be undone, last first. */
const undo: (() => Promise<void> | void)[] = [];

async function undoAll(): Promise<void> {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
}

/** Everything that the options ask for, whether the programs are there or not. */
function planOf({ full, only, contestants }: Options): PlannedSection[] {
  const sections: PlannedSection[] = [];
  for (const { workload, always, direct } of plannedWorkloads) {
    const name = direct ? directName(workload) : workloadName(workload);
    if (only === undefined ? !(full || always) : !only.some((part) => name.includes(part))) continue;
    const taking = entries.filter((entry) => {
      if (entry.direct !== direct) return false;
      if (workload.client === 'nbdcopy' && (entry.large || entry.name === 'raw file')) return false;
      if (contestants !== undefined) return contestants.some((part) => entry.name.includes(part));
      return full || entry.always || direct;
    });
    if (taking.length > 0) sections.push({ name, workload, direct, entries: taking });
  }
  if (sections.length === 0) throw new BenchRefusal(`nothing has such a name; see --list\n${usage}`);
  return sections;
}

function missingOf(entry: Entry): readonly string[] {
  return entry.needs.filter((program) => findTool(program) === undefined);
}

async function runBench(options: Options, told: (line: string) => void): Promise<BenchReport> {
  const plan = planOf(options);
  const copies = plan.some(({ workload }) => workload.client === 'nbdcopy');
  requireTools({ fio: 'fio', 'qemu-img': 'qemu-utils', ...(copies ? { nbdcopy: 'libnbd-bin' } : {}) });
  const wanted = entries.filter((entry) => plan.some((section) => section.entries.includes(entry)));
  const absent = wanted.flatMap((entry) => {
    const missing = missingOf(entry);
    return missing.length === 0 ? [] : [`${entry.name}: ${missing.join(', ')} is not installed`];
  });
  const fileSystem = requireDiskFileSystem(options.directory);
  const load = loadavg()[0] ?? 0;
  const { signal } = interruption;
  const started = await startAll(wanted, options, told);
  const sections: Section[] = [];
  for (const { name, workload, direct, entries: taking } of plan) {
    const { rounds, runtimeSeconds } = options;
    const { imagePath } = started;
    const work = { workload, rounds, runtimeSeconds, imagePath, sizeBytes: imageBytes, signal };
    const rows = await measure(started.present(taking), work, told);
    sections.push({ name, workload, direct, rounds, runtimeSeconds, rows });
  }
  const processors = cpus();
  const surroundings = {
    fileSystem: fileSystem.type,
    directory: options.directory,
    imageBytes,
    transport: "fio's nbd engine, or nbdcopy, over Unix sockets; the raw file by fio's io_uring engine",
    processor: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    load,
    kernel: release(),
    versions: versions(wanted),
    absent,
  };
  return { surroundings, sections, bars: judgeBars(bars, sections) };
}

interface Started {
  readonly imagePath: string;
  /** Those of the entries that run, in their order. */
  present(wanted: readonly Entry[]): Contestant[];
}

async function startAll(
  wanted: readonly Entry[],
  options: Options,
  told: (line: string) => void,
): Promise<Started> {
  const { signal } = interruption;
  told('making a file of 1 GiB');
  const work = makeWorkFiles(options.directory, imageBytes);
  undo.push(() => work.remove());
  const { folder, imagePath, makeCopy } = work;
  const files: PlannedFiles = { folder, imagePath, imageBytes, makeCopy };
  const started = new Map<Entry, Contestant>();
  for (const entry of wanted) {
    if (missingOf(entry).length > 0) continue;
    signal.throwIfAborted();
    told(`starting ${entry.name}`);
    const contestant = await entry.start(files);
    undo.push(() => contestant.stop());
    if (contestant.name !== entry.name) {
      throw new BenchRefusal(`the plan says '${entry.name}', what was started is '${contestant.name}'`);
    }
    started.set(entry, contestant);
  }
  told('comparing every byte');
  for (const contestant of started.values()) {
    if (contestant.servesImage) await requireImageBytes(contestant, files, signal);
  }
  return { imagePath, present: (some) => some.flatMap((entry) => started.get(entry) ?? []) };
}

function versions(wanted: readonly Entry[]): Record<string, string> {
  const programs = new Set(['fio', ...wanted.flatMap(({ needs }) => needs)]);
  const found = [...programs].filter((name) => findTool(name) !== undefined);
  return { Node: process.versions.node, ...Object.fromEntries(found.map((name) => [name, versionOf(name)])) };
}

function listText(): string {
  const names = plannedWorkloads.map(({ workload, direct }) =>
    direct ? directName(workload) : workloadName(workload),
  );
  return ['workloads', ...names, '', 'contestants', ...entries.map(({ name }) => name)].join('\n');
}

function formOf(report: BenchReport, form: Options['form']): string {
  if (form === 'json') return JSON.stringify(report, undefined, 2);
  return form === 'svg' ? reportDrawing(report) : reportText(report);
}

process.once('SIGINT', () => interruption.abort(new BenchRefusal('interrupted')));
process.once('SIGTERM', () => interruption.abort(new BenchRefusal('terminated')));

try {
  const options = readOptions(process.argv.slice(2));
  if (options.list) {
    console.log(listText());
  } else {
    const report = await runBench(options, (line) => process.stderr.write(`bench: ${line}\n`));
    console.log(formOf(report, options.form));
    if (report.bars.some(({ met }) => !met)) process.exitCode = 1;
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
