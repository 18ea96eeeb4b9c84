import type { Contestant } from './contestant.ts';
import { type ClientFigures, runFio } from './fio.ts';
import { runCopy } from './nbdcopy.ts';
import { processorSeconds } from './server-process.ts';
import { ratiosOfRounds, roundOrder, type Summary, summarize } from './statistics.ts';
import { BenchRefusal } from './tools.ts';
import { type Workload, workloadName } from './workload.ts';

export interface MeasureOptions {
  readonly workload: Workload;
  readonly rounds: number;
  readonly runtimeSeconds: number;
  readonly imagePath: string;
  readonly sizeBytes: number;
  /** Ends the measurement, which then rejects with its reason. */
  readonly signal: AbortSignal;
}

/** One contestant under one workload. */
export interface Row {
  readonly contestant: string;
  readonly operationsPerSecond: Summary;
  readonly medianLatencyUs: Summary;
  readonly latency99Us: Summary;
  /** Processor time of the server's process for one operation; 0 without a server. */
  readonly serverUsPerOperation: Summary;
  readonly clientCoreShare: Summary;
  /** Above `clientBoundShare`: the row says nothing about the server but that it is at least so fast. */
  readonly clientBound: boolean;
  /** In the order of rounds. */
  readonly operationsPerSecondOfRounds: readonly number[];
  readonly serverUsPerOperationOfRounds: readonly number[];
}

interface Sample extends ClientFigures {
  readonly serverUsPerOperation: number;
}

/** Seconds of each contestant's first, uncounted run: a just-in-time compiler needs about one. */
const warmUpSeconds = 2;

/** Of a core, by the client for each of its connections. */
const clientBoundShare = 0.95;

/** Measures every contestant once a round; `told` hears of each finished round. */
export async function measure(
  contestants: readonly Contestant[],
  options: MeasureOptions,
  told: (line: string) => void,
): Promise<Row[]> {
  const samples = new Map<Contestant, Sample[]>(contestants.map((contestant) => [contestant, []]));
  for (const contestant of contestants) {
    await sampleOf(contestant, { ...options, runtimeSeconds: warmUpSeconds }, 0);
  }
  for (let round = 0; round < options.rounds; round += 1) {
    for (const contestant of roundOrder(contestants, round)) {
      samples.get(contestant)!.push(await sampleOf(contestant, options, round + 1));
    }
    told(`${workloadName(options.workload)}: round ${round + 1} of ${options.rounds}`);
  }
  return contestants.map((contestant) => rowOf(contestant, samples.get(contestant)!));
}

async function sampleOf(contestant: Contestant, options: MeasureOptions, seed: number): Promise<Sample> {
  const { pid } = contestant;
  const before = pid === undefined ? 0 : processorSeconds(pid);
  const figures = await clientFigures(contestant, options, seed);
  const used = pid === undefined ? 0 : processorSeconds(pid) - before;
  return { ...figures, serverUsPerOperation: (used * 1_000_000) / figures.operations };
}

function clientFigures(
  { name, target }: Contestant,
  options: MeasureOptions,
  seed: number,
): Promise<ClientFigures> {
  const { workload, imagePath, sizeBytes, runtimeSeconds, signal } = options;
  if (workload.client === 'fio') return runFio({ target, workload, sizeBytes, runtimeSeconds, seed, signal });
  if (target.kind !== 'nbd') throw new BenchRefusal(`${name}: nbdcopy copies exports`);
  return runCopy({ uri: target.uri, workload, imagePath, sizeBytes, signal });
}

function rowOf({ name }: Contestant, samples: readonly Sample[]): Row {
  const summaryOf = (figure: keyof Sample): Summary => summarize(samples.map((sample) => sample[figure]));
  const clientCoreShare = summaryOf('clientCoreShare');
  return {
    contestant: name,
    operationsPerSecond: summaryOf('operationsPerSecond'),
    medianLatencyUs: summaryOf('medianLatencyUs'),
    latency99Us: summaryOf('latency99Us'),
    serverUsPerOperation: summaryOf('serverUsPerOperation'),
    clientCoreShare,
    clientBound: clientCoreShare.median > clientBoundShare,
    operationsPerSecondOfRounds: samples.map((sample) => sample.operationsPerSecond),
    serverUsPerOperationOfRounds: samples.map((sample) => sample.serverUsPerOperation),
  };
}

/** What two rows are compared by. */
export type Figure = 'rate' | 'processor time';

/** How many times the figure of one row is that of another: medians against each other, and the spread over rounds. */
export function compareRows(one: Row, other: Row, figure: Figure): Summary {
  const [ofOne, ofOther] = [one, other].map((row) =>
    figure === 'rate' ? row.operationsPerSecondOfRounds : row.serverUsPerOperationOfRounds,
  );
  const rounds = summarize(ratiosOfRounds(ofOne!, ofOther!));
  return { ...rounds, median: summarize(ofOne!).median / summarize(ofOther!).median };
}
