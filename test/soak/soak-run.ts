import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient } from '../../src/control/client.ts';
import type { NbdClient } from '../../src/nbd/client.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { destroyReplica, replicaRanges } from '../acceptance/spare-replicas.ts';
import { exportUri, remapCount } from '../end-to-end/bad-disk.ts';
import { DeviceLab } from '../end-to-end/device-lab.ts';
import { DyingDisk } from '../end-to-end/dying-disk.ts';
import { mustRunTool } from '../end-to-end/foreign-tool.ts';
import { assertNothingLeftOver } from '../end-to-end/nothing-left-over.ts';
import { sectorBytes, sectorsPerGranule } from '../end-to-end/sector-versions.ts';
import { FioLoad, fioFillWords } from './fio-load.ts';
import { verifyFioRegion } from './fio-region.ts';
import { collectedHeapBytes, inspectorOptions } from './heap-inspector.ts';
import { type LoadRules, PacedClient } from './paced-client.ts';
import { newLatencies, residentBytes, takeSample } from './sampler.ts';
import { rest, SessionEvents } from './session-events.ts';
import { SoakLog } from './soak-log.ts';
import { planSessions, type SessionPlan } from './soak-plan.ts';
import type { SessionRecord, SoakRecord } from './soak-records.ts';
import { type SoakScale, scaleOf } from './soak-scale.ts';
import { WearingMain } from './wearing-main.ts';

const clients = 2;
const writersPerClient = 4;
const readersPerClient = 2;
/** The load is for hours on a machine with other work: some hundred requests a second. */
const restMsMax = 40;
/** Of a session whose opening and verification took all of its time. */
const trafficMsMin = 3000;
/** fio ends by itself so long after it should have been told to. */
const fioSecondsMore = 600;
const disconnectMsMax = 10_000;
/** Opening and verification are part of the time asked for; a session that has none left still has traffic. */
const overdueFactor = 2;
const overdueSecondsMore = 120;

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: string;
  /** Where each record goes, a line of JSON each; beside it, after a failure, what the device said of itself. */
  readonly recordsPath: string;
  readonly failurePath: string;
  /** Ends the run early, in order. */
  readonly signal: AbortSignal;
  readonly tell: (progress: string) => void;
  /** The run fails when it is not over by then; default: twice its time and 2 minutes. */
  readonly overdueSeconds?: number;
  /** For the test of the judge: called while nobody serves. */
  readonly betweenSessions?: (imagePath: string, own: DyingDisk) => void;
}

/** Runs all sessions and gives what was recorded; rejects when a byte was wrong or anything else went as it must not. */
export async function runSoak(options: SoakOptions): Promise<readonly SoakRecord[]> {
  const lab = new SoakLab();
  const run = new SoakRun(lab, options);
  const inTime = new AbortController();
  try {
    await Promise.race([run.all(), overdue(options, inTime.signal)]);
    assert.deepEqual(lab.leftovers(), []);
    assertNothingLeftOver(lab.folder);
    return run.records;
  } catch (error) {
    writeFileSync(options.failurePath, `${String(error)}\n${await describeDevice(lab)}`);
    throw error;
  } finally {
    inTime.abort();
    await run.close();
    await lab.close();
  }
}

/** Rejects when the run should have been over long ago: somebody waits for an answer that does not come. */
async function overdue({ seconds, overdueSeconds }: SoakOptions, inTime: AbortSignal): Promise<void> {
  const limit = overdueSeconds ?? seconds * overdueFactor + overdueSecondsMore;
  await rest(limit * 1000, inTime);
  assert.ok(inTime.aborted, `not over after ${Math.round(limit)} s: somebody waits for ever`);
}

/** All that tells a wrong byte from a wrong test, while the device still lives. */
async function describeDevice(lab: DeviceLab): Promise<string> {
  const questions = [
    ['message', 'disk', '0', 'list', 'blocks'],
    ['message', 'disk', '0', 'lost'],
    ['message', 'disk', '0', 'main', '0', 'listbadblocks'],
    ['status', 'disk', '--json'],
    ['events', 'disk', '-n', '1000'],
  ];
  let answers = '';
  for (const words of questions) {
    const { output, errors } = await lab.run(...words);
    answers += `\n${words.join(' ')}\n${output}${errors}`;
  }
  return answers;
}

type SessionMemory = Pick<SessionRecord, 'trafficSeconds' | 'collectedHeapBytes' | 'collectedResidentBytes'>;

/** Its devices can be asked for what they really hold. */
class SoakLab extends DeviceLab {
  override environment(): NodeJS.ProcessEnv {
    return { ...super.environment(), NODE_OPTIONS: inspectorOptions };
  }
}

class SoakRun {
  readonly #lab: DeviceLab;
  readonly #options: SoakOptions;
  readonly #scale: SoakScale;
  readonly #random: SeededRandom;
  readonly #own: DyingDisk;
  readonly #main: WearingMain;
  readonly #control: ControlClient;
  readonly #imagePath: string;
  readonly #log: SoakLog;
  readonly #latencies = newLatencies();
  readonly #rules: LoadRules = { flushesMayFail: false, failedFlushesTold: 0 };
  #fio: FioLoad | undefined;
  #destroyedReplica: number | undefined;
  #before: SessionPlan | undefined;

  constructor(lab: DeviceLab, options: SoakOptions) {
    this.#lab = lab;
    this.#options = options;
    this.#log = new SoakLog(options.recordsPath);
    this.#random = new SeededRandom(`soak ${options.seed}`);
    this.#scale = scaleOf(options.seconds);
    const ownSectors = this.#scale.ownBytes / sectorBytes;
    this.#own = new DyingDisk(this.#random.fork('own'), ownSectors, async () => undefined);
    this.#imagePath = lab.image('main.img', this.#mainBytes);
    this.#main = new WearingMain(
      { table: lab.path('main.table'), image: this.#imagePath },
      this.#mainBytes / sectorBytes,
      { disk: this.#own, sectors: ownSectors },
      this.#random.fork('wear'),
    );
    this.#control = new ControlClient(join(lab.runtime, 'disk', 'control.sock'));
  }

  get records(): readonly SoakRecord[] {
    return this.#log.records;
  }

  get #mainBytes(): number {
    return this.#scale.ownBytes + this.#scale.fioBytes;
  }

  get #fioRegion(): { readonly offset: number; readonly size: number } {
    return { offset: this.#scale.ownBytes, size: this.#scale.fioBytes };
  }

  async all(): Promise<void> {
    for (const plan of planSessions(this.#options.seconds, this.#random.fork('plan'))) {
      const endMs = performance.now() + plan.seconds * 1000;
      if (this.#log.session === 0) await this.#create(plan);
      else await this.#assemble(plan);
      await this.#traffic(plan, Math.max(trafficMsMin, endMs - performance.now()));
      this.#before = plan;
      this.#options.betweenSessions?.(this.#imagePath, this.#own);
      if (this.#options.signal.aborted) break;
      if (plan.destroysReplica) await this.#destroyReplica();
      this.#log.session += 1;
    }
    await this.#assemble({ seconds: 0, trouble: 'bad-sectors', end: 'remove', destroysReplica: false });
    await this.#lab.mustRun('remove', 'disk');
  }

  /** Whatever happened. */
  async close(): Promise<void> {
    this.#own.alive = false;
    await this.#fio?.end();
    if (this.#lab.leftovers().length > 0) await this.#lab.run('remove', 'disk', '--force');
  }

  async #create(plan: SessionPlan): Promise<void> {
    this.#lab.image('spare.img', this.#scale.spareBytes);
    this.#main.writeTable(plan.trouble);
    await this.#lab.mustRun('create', 'disk', '--main-table', 'main.table', '--spare', 'spare.img');
    await mustRunTool('fio', ...fioFillWords(exportUri(this.#lab, 'disk'), this.#fioRegion));
    await this.#main.restore(this.#control, new Set(), false);
  }

  /** From the spare again, and all is verified. */
  async #assemble(plan: SessionPlan): Promise<void> {
    this.#main.writeTable(plan.trouble);
    const said = await this.#lab.mustRun('assemble', '--main-table', 'main.table', '--spare', 'spare.img');
    this.#log.event('assemble', plan.trouble);
    this.#checkRepair(said);
    const moved = await this.#movedSectors();
    if (plan.trouble === 'outages') this.#main.noteOutages();
    else await this.#main.restore(this.#control, moved, this.#before?.trouble === 'outages');
    const reader = await this.#lab.connect('disk');
    await this.#own.settle(reader);
    let lost = 0;
    await verifyFioRegion(reader, this.#fioRegion, (sector) => {
      this.#main.assertMayBeLost(sector);
      lost += 1;
    });
    await reader.disconnect();
    this.#log.event('verified', `every sector; unreadable: ${this.#own.lost} of the writers, ${lost} of fio`);
  }

  #checkRepair(said: string): void {
    if (this.#destroyedReplica === undefined) return;
    assert.match(
      said,
      new RegExp(`metadata replica ${this.#destroyedReplica} was [a-z -]+ and was rewritten`),
      'I25',
    );
    this.#log.event('replica-rewritten', `${this.#destroyedReplica}`);
    this.#destroyedReplica = undefined;
  }

  /** Sectors, not blocks: of a block that is moved, main keeps those that were lost and then written well (R23). */
  async #movedSectors(): Promise<Set<number>> {
    const { reply } = await this.#control.message(0, ['list']);
    const moved = new Set<number>();
    for (const line of reply.split('\n').filter((text) => text !== '')) {
      const [sector, count] = line.split(' ').map(Number);
      for (let at = sector!; at < sector! + count!; at += 1) moved.add(at);
    }
    const granules = new Set([...moved].map((sector) => Math.floor(sector / sectorsPerGranule)));
    assert.equal(granules.size, await remapCount(this.#lab, 'disk'), 'list names all that is moved');
    return moved;
  }

  async #traffic(plan: SessionPlan, trafficMs: number): Promise<void> {
    const stop = new AbortController();
    const stopEarly = (): void => stop.abort();
    this.#options.signal.addEventListener('abort', stopEarly);
    if (this.#options.signal.aborted) stopEarly();
    const startMs = performance.now();
    this.#own.alive = true;
    this.#rules.flushesMayFail = plan.trouble === 'outages';
    const connections: NbdClient[] = [];
    const traffic = await this.#startTraffic(connections);
    const fio = new FioLoad({
      ...this.#fioRegion,
      uri: exportUri(this.#lab, 'disk'),
      seed: this.#random.fork('fio').below(2 ** 31) + this.#log.session,
      seconds: plan.seconds + fioSecondsMore,
    });
    this.#fio = fio;
    const beside = [this.#events().run(plan.trouble, stop.signal), this.#samples(startMs, stop.signal)];
    try {
      await Promise.race([rest(trafficMs, stop.signal), fio.ended, ...traffic, ...beside]);
      assert.ok(
        this.#options.signal.aborted || !fio.hasEnded,
        `fio ended by itself, so a write has failed: ${fio.lastWords}`,
      );
    } finally {
      stop.abort();
      this.#options.signal.removeEventListener('abort', stopEarly);
    }
    await Promise.all(beside);
    const trafficSeconds = Math.round(performance.now() - startMs) / 1000;
    const memory = { trafficSeconds, ...(await this.#memory()) };
    await (plan.end === 'kill' ? this.#kill(traffic, memory) : this.#remove(traffic, connections, memory));
  }

  async #startTraffic(connections: NbdClient[]): Promise<Promise<unknown>[]> {
    const traffic: Promise<unknown>[] = [];
    for (let index = 0; index < clients; index += 1) {
      const connection = await this.#lab.connect('disk');
      connections.push(connection);
      const random = this.#random.fork(`rest ${this.#log.session} ${index}`);
      const client = new PacedClient(connection, random, restMsMax, this.#latencies, this.#rules);
      for (let writer = 0; writer < writersPerClient; writer += 1) traffic.push(this.#own.write(client));
      for (let reader = 0; reader < readersPerClient; reader += 1) traffic.push(this.#own.read(client));
    }
    return traffic;
  }

  #events(): SessionEvents {
    return new SessionEvents({
      control: this.#control,
      main: this.#main,
      log: this.#log,
      scale: this.#scale,
      random: this.#random.fork(`events ${this.#log.session}`),
    });
  }

  async #samples(startMs: number, stop: AbortSignal): Promise<void> {
    const { pid } = this.#lab.identity('disk');
    for (;;) {
      await rest(this.#scale.sampleSeconds * 1000, stop);
      if (stop.aborted) return;
      const sessionSeconds = Math.round(performance.now() - startMs) / 1000;
      const when = { seconds: this.#log.seconds, session: this.#log.session, sessionSeconds };
      this.#log.add(await takeSample(pid, this.#control, this.#latencies, when));
    }
  }

  async #memory(): Promise<Pick<SessionRecord, 'collectedHeapBytes' | 'collectedResidentBytes'>> {
    const { pid } = this.#lab.identity('disk');
    const heapBytes = await collectedHeapBytes(pid);
    return { collectedHeapBytes: heapBytes, collectedResidentBytes: residentBytes(pid) };
  }

  async #kill(traffic: readonly Promise<unknown>[], memory: SessionMemory): Promise<void> {
    const { remap } = await this.#control.status();
    this.#own.alive = false;
    await this.#lab.kill('disk');
    this.#log.event('kill');
    await Promise.all(traffic);
    await this.#fio!.end();
    this.#endOfSession('kill', memory, remap?.counters ?? {}, 0);
  }

  async #remove(
    traffic: readonly Promise<unknown>[],
    connections: readonly NbdClient[],
    memory: SessionMemory,
  ): Promise<void> {
    this.#own.alive = false;
    await Promise.all(traffic);
    await this.#fio!.end();
    for (const connection of connections) await connection.disconnect();
    await this.#untilNobodyIsConnected();
    const status = await this.#control.status();
    await this.#lab.mustRun('remove', 'disk');
    this.#log.event('remove');
    this.#endOfSession('remove', memory, status.remap?.counters ?? {}, status.requestsInFlight);
  }

  async #untilNobodyIsConnected(): Promise<void> {
    const endMs = performance.now() + disconnectMsMax;
    while ((await this.#control.status()).connections > 0) {
      assert.ok(performance.now() < endMs, 'connections that nobody holds');
      await sleep(50);
    }
  }

  #endOfSession(
    end: 'kill' | 'remove',
    memory: SessionMemory,
    counters: Readonly<Record<string, number>>,
    requestsLeft: number,
  ): void {
    const { written, readBack } = this.#own;
    const { session, seconds } = this.#log;
    this.#log.add({
      kind: 'session',
      seconds,
      session,
      end,
      ...memory,
      writesAcknowledged: written,
      readsChecked: readBack,
      fioReads: this.#fio!.figures.reads,
      fioWrites: this.#fio!.figures.writes,
      failedFlushesTold: this.#rules.failedFlushesTold,
      counters,
      requestsLeft,
    });
    this.#fio = undefined;
    this.#options.tell(
      `session ${session} ended by ${end} after ${Math.round(seconds)} s: ${written} own writes acknowledged, ` +
        `${readBack} reads compared, ${this.#main.everBad.size} sectors went bad`,
    );
  }

  async #destroyReplica(): Promise<void> {
    const replicas = replicaRanges(this.#scale.spareBytes, this.#mainBytes);
    this.#destroyedReplica = this.#log.session % replicas.length;
    await destroyReplica(this.#lab.path('spare.img'), replicas[this.#destroyedReplica]!);
    this.#log.event('replica-destroyed', `${this.#destroyedReplica}`);
  }
}
