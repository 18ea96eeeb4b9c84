import { type FioFigures, runFio, type Workload } from './fio.ts';
import { type BenchServer, processorSeconds } from './server-process.ts';
import { ratiosOfRounds, roundOrder, type Summary, summarize } from './statistics.ts';

export interface MeasureOptions {
  readonly workload: Workload;
  readonly rounds: number;
  readonly runtimeSeconds: number;
  readonly sizeBytes: number;
  /** Ends the measurement, which then rejects with its reason. */
  readonly signal: AbortSignal;
}

/** One server under one workload. */
export interface Row {
  readonly server: string;
  readonly operationsPerSecond: Summary;
  readonly medianLatencyUs: Summary;
  readonly latency99Us: Summary;
  /** Processor time of the server's process for one operation. */
  readonly serverUsPerOperation: Summary;
  readonly clientCoreShare: Summary;
  /** In the order of rounds. */
  readonly operationsPerSecondOfRounds: readonly number[];
}

interface Sample extends FioFigures {
  readonly serverUsPerOperation: number;
}

/** Seconds of each server's first, uncounted run: a just-in-time compiler needs about one. */
const warmUpSeconds = 2;

/** Measures every server once a round; `told` hears of each finished round. */
export async function measure(
  servers: readonly BenchServer[],
  options: MeasureOptions,
  told: (line: string) => void,
): Promise<Row[]> {
  const samples = new Map<BenchServer, Sample[]>(servers.map((server) => [server, []]));
  for (const server of servers) await sampleOf(server, { ...options, runtimeSeconds: warmUpSeconds }, 0);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const server of roundOrder(servers, round)) {
      samples.get(server)!.push(await sampleOf(server, options, round + 1));
    }
    told(`${options.workload.pattern} round ${round + 1} of ${options.rounds}`);
  }
  return servers.map((server) => rowOf(server, samples.get(server)!));
}

async function sampleOf(server: BenchServer, options: MeasureOptions, seed: number): Promise<Sample> {
  const { workload, sizeBytes, runtimeSeconds, signal } = options;
  const before = processorSeconds(server.pid);
  const figures = await runFio({ uri: server.uri, workload, sizeBytes, runtimeSeconds, seed, signal });
  const used = processorSeconds(server.pid) - before;
  return { ...figures, serverUsPerOperation: (used * 1_000_000) / figures.operations };
}

function rowOf(server: BenchServer, samples: readonly Sample[]): Row {
  const summaryOf = (name: keyof Sample): Summary => summarize(samples.map((sample) => sample[name]));
  return {
    server: server.name,
    operationsPerSecond: summaryOf('operationsPerSecond'),
    medianLatencyUs: summaryOf('medianLatencyUs'),
    latency99Us: summaryOf('latency99Us'),
    serverUsPerOperation: summaryOf('serverUsPerOperation'),
    clientCoreShare: summaryOf('clientCoreShare'),
    operationsPerSecondOfRounds: samples.map((sample) => sample.operationsPerSecond),
  };
}

/** How many times as fast one row is as another: medians against each other, and the spread over rounds. */
export function compareRows(one: Row, other: Row): Summary {
  const rounds = summarize(
    ratiosOfRounds(one.operationsPerSecondOfRounds, other.operationsPerSecondOfRounds),
  );
  return { ...rounds, median: one.operationsPerSecond.median / other.operationsPerSecond.median };
}
