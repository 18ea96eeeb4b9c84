import process from 'node:process';
import type { Clock } from '../../block/clock.ts';
import { RealClock } from '../../io/real-clock.ts';
import type { DeviceEvent } from '../event-kinds.ts';
import { HostState } from '../host/host-state.ts';
import { Lifecycle, runClosingSteps } from '../lifecycle.ts';
import { EventLog } from '../log/event-log.ts';
import type { ControlAnswers, ControlAsk, ControlFailure, ProcessStatus, RemoveReport } from '../messages.ts';
import type { ServeOptions } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { isWorldError } from '../setup-failure.ts';
import { openStack } from '../stack/compose.ts';
import type { ServedStack } from '../stack/served-stack.ts';
import { ControlPlane } from './control-plane.ts';
import { installFailStop } from './fail-stop.ts';
import { thisThreadIsIoFlusher } from './io-flusher.ts';
import { avoidOutOfMemoryKiller } from './memory-pressure.ts';
import { messageFailure, stateFailure } from './message-failure.ts';
import { eventOfMessage } from './operator-message.ts';
import { missingCare } from './process-care.ts';
import { identityOfProcess } from './process-identity.ts';
import { claimFolder, type DeviceFolder, deviceFolder, releaseFolder } from './runtime-directory.ts';
import { SharedTicks } from './shared-ticks.ts';

/** What the process around the device gives it. */
export interface DaemonSurroundings {
  readonly runtimeDirectory: string;
  /** Where the host remembers its devices; undefined: nowhere. */
  readonly stateDirectory: string | undefined;
  /** The control plane's thread. */
  readonly workerUrl: URL;
  readonly version: string;
  /** Log to the folder's file; else to standard error. */
  readonly detached: boolean;
  /** Called once, when clients can connect. */
  readonly onReady: (ready: { name: string; exports: readonly string[]; notes: readonly string[] }) => void;
}

/** How the device ended: every step done, or not. */
export interface DaemonEnd {
  readonly clean: boolean;
  readonly report: RemoveReport;
}

/**
 * Serves one device until it is removed, by its API or by SIGTERM or SIGINT. Rejects, with everything closed again, when
 * it cannot start. A bug anywhere in it ends the process (exit 70).
 */
export async function runDaemon(options: ServeOptions, surroundings: DaemonSurroundings): Promise<DaemonEnd> {
  const daemon = new Daemon(options, surroundings);
  try {
    await daemon.start();
  } catch (error) {
    await daemon.abandon(error);
    throw error;
  }
  return daemon.ended;
}

type StateAnswer = { readonly answer: ControlAnswers['suspend'] } | { readonly failure: ControlFailure };

class Daemon {
  readonly ended: Promise<DaemonEnd>;
  readonly #options: ServeOptions;
  readonly #surroundings: DaemonSurroundings;
  readonly #clock: Clock = new RealClock();
  readonly #ticks: Clock = new SharedTicks(this.#clock);
  readonly #lifecycle = new Lifecycle();
  readonly #startedUnixSeconds: number;
  #oomScoreAdjust = 0;
  #resolveEnded: (end: DaemonEnd) => void = () => undefined;
  #folder: DeviceFolder | undefined;
  #events: EventLog | undefined;
  #stack: ServedStack | undefined;
  #control: ControlPlane | undefined;
  #removal: Promise<RemoveReport> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  /** A signal came before there was anything to remove. */
  #removeWhenStarted = false;
  readonly #onSignal = (): void => this.#removeBySignal();

  constructor(options: ServeOptions, surroundings: DaemonSurroundings) {
    this.#options = options;
    this.#surroundings = surroundings;
    this.#startedUnixSeconds = Math.floor(this.#clock.unixMs() / 1000);
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  async start(): Promise<void> {
    // Sockets and files of ours are nobody else's business.
    process.umask(0o077);
    this.#oomScoreAdjust = avoidOutOfMemoryKiller();
    installFailStop(this.#options.name ?? this.#options.sparePath, (error, origin) => {
      const stack = (error instanceof Error ? error.stack : undefined) ?? '';
      this.#events?.lastWords({ kind: 'fail-stop', origin, error: String(error), stack });
    });
    process.on('SIGTERM', this.#onSignal);
    process.on('SIGINT', this.#onSignal);
    // The terminal that started us may go; in the foreground it takes us with it, cleanly.
    process.on('SIGHUP', this.#surroundings.detached ? () => undefined : this.#onSignal);
    const stack = await openStack(this.#options, {
      clock: this.#clock,
      ticks: this.#ticks,
      stateDirectory: this.#surroundings.stateDirectory,
      claim: (name, uuid) => this.#claim(name, uuid),
      events: { append: (event) => this.#tell(event) },
    });
    this.#stack = stack;
    this.#lifecycle.moveTo('serving');
    await this.#startControl();
    const notes = this.#notes(stack);
    const { version } = this.#surroundings;
    this.#tell({ kind: 'serving', version, ...stack.engine, exports: stack.exports, notes });
    this.#surroundings.onReady({ name: stack.name, exports: stack.exports, notes });
    if (this.#removeWhenStarted) this.#removeBySignal();
  }

  /** After a failed start: gives back what is ours. The stack has closed itself. */
  async abandon(error: unknown): Promise<void> {
    if (this.#lifecycle.canMoveTo('failed')) this.#lifecycle.moveTo('failed');
    await this.#control?.close();
    const reason = error instanceof Error ? error.message : String(error);
    this.#tell({ kind: 'start-failed', reason });
    if (this.#stack !== undefined)
      await runClosingSteps(this.#stack.closingSteps(), this.#clock, isWorldError);
    await this.#release();
  }

  #tell(event: DeviceEvent): void {
    this.#events?.append(event);
  }

  #claim(name: string, uuid: string): DeviceFolder {
    const { stateDirectory } = this.#surroundings;
    const directory = this.#surroundings.runtimeDirectory;
    const folder = deviceFolder(directory, name);
    const self = identityOfProcess(process.pid);
    if (self === undefined)
      throw new SetupError('failed', '/proc: needed to tell processes apart, and not there');
    claimFolder(directory, folder, self);
    this.#folder = folder;
    this.#events = new EventLog({
      clock: this.#clock,
      origin: { device: name, uuid, pid: process.pid },
      hostState: stateDirectory === undefined ? undefined : new HostState(stateDirectory),
      runtimeFolder: folder.path,
      logPath: this.#surroundings.detached ? folder.logPath : undefined,
    });
    return folder;
  }

  async #startControl(): Promise<void> {
    this.#control = new ControlPlane({
      workerUrl: this.#surroundings.workerUrl,
      settings: { socketPath: this.#folder!.controlSocketPath },
      clock: this.#clock,
      answer: (ask) => this.#answer(ask),
      onCrash: (reason, restart) => this.#tell({ kind: 'control-restarted', reason, restart }),
    });
    await this.#control.start();
  }

  async #answer(
    ask: ControlAsk,
  ): Promise<{ answer: ControlAnswers[ControlAsk['type']] } | { failure: ControlFailure }> {
    const stack = this.#stack!;
    switch (ask.type) {
      case 'ping':
        return { answer: { name: stack.name, state: this.#lifecycle.state, pid: process.pid } };
      case 'status':
        return {
          answer: {
            ...stack.describe(),
            process: this.#processStatus(stack),
            notes: this.#notes(stack),
            state: this.#lifecycle.state,
            pid: process.pid,
            version: this.#surroundings.version,
            startedUnixSeconds: this.#startedUnixSeconds,
            eventLog: this.#events!.status(),
            controlRestarts: this.#control?.restarts ?? 0,
          },
        };
      case 'table':
        return { answer: stack.table() };
      case 'suspend':
        return await this.#inTurn(() => this.#suspend(stack, ask.flush));
      case 'resume':
        return await this.#inTurn(() => this.#resume(stack));
      case 'remove':
        return { answer: await this.#remove('control API') };
      case 'message':
        return await this.#message(stack, ask.sector, ask.words);
    }
  }

  async #message(
    stack: ServedStack,
    sector: number,
    words: readonly string[],
  ): Promise<{ answer: ControlAnswers['message'] } | { failure: ControlFailure }> {
    const tell = (failure: string): void => {
      const event = eventOfMessage(sector, words, failure);
      if (event !== undefined) this.#tell(event);
    };
    try {
      const reply = await stack.message(sector, words);
      tell('');
      return { answer: { reply } };
    } catch (error) {
      const failure = messageFailure(error);
      tell(failure.message);
      return { failure };
    }
  }

  #processStatus({ memory }: ServedStack): ProcessStatus {
    return { ioFlusher: thisThreadIsIoFlusher(), oomScoreAdjust: this.#oomScoreAdjust, ...memory };
  }

  #notes(stack: ServedStack): readonly string[] {
    const missing = missingCare(this.#processStatus(stack));
    return missing === undefined ? stack.notes : [...stack.notes, missing];
  }

  /** Suspending and resuming wait for each other; removing waits for nobody. */
  async #inTurn(change: () => Promise<void>): Promise<StateAnswer> {
    const turn = this.#turn.then(async (): Promise<StateAnswer> => {
      try {
        await change();
        return { answer: { state: this.#lifecycle.state } };
      } catch (error) {
        return { failure: stateFailure(error) };
      }
    });
    // A bug rejects the ask, and so ends the process; the turn is over in any case.
    this.#turn = turn.catch(() => undefined);
    return await turn;
  }

  async #suspend(stack: ServedStack, flush: boolean): Promise<void> {
    this.#refuseWhileRemoving();
    await stack.suspend({ flush });
    // Removed meanwhile, it closes, suspended or not.
    this.#refuseWhileRemoving();
    if (this.#lifecycle.state === 'suspended') return;
    this.#lifecycle.moveTo('suspended');
    this.#tell({ kind: 'suspended', flush });
  }

  async #resume(stack: ServedStack): Promise<void> {
    this.#refuseWhileRemoving();
    await stack.resume();
    this.#refuseWhileRemoving();
    if (this.#lifecycle.state === 'serving') return;
    this.#lifecycle.moveTo('serving');
    this.#tell({ kind: 'resumed' });
  }

  #refuseWhileRemoving(): void {
    const { state } = this.#lifecycle;
    if (state !== 'serving' && state !== 'suspended')
      throw new SetupError('failed', `the device is ${state}: it can only end`);
  }

  #removeBySignal(): void {
    if (this.#lifecycle.state === 'starting') this.#removeWhenStarted = true;
    // Not caught on purpose: what rejects here is a bug.
    else void this.#remove('signal');
  }

  /** Resolves when the disks are closed; what is left, control plane and folder, goes right after the answer. */
  #remove(by: string): Promise<RemoveReport> {
    this.#removal ??= this.#closeStack(by);
    return this.#removal;
  }

  async #closeStack(by: string): Promise<RemoveReport> {
    this.#lifecycle.moveTo('removing');
    this.#tell({ kind: 'removing', by });
    const steps = await runClosingSteps(this.#stack!.closingSteps(), this.#clock, isWorldError);
    const clean = steps.every((step) => step.result === 'done');
    this.#lifecycle.moveTo('removed');
    this.#tell({ kind: 'removed', clean, steps });
    setImmediate(() => void this.#end({ clean, report: { steps } }));
    return { steps };
  }

  async #end(end: DaemonEnd): Promise<void> {
    // Gives the worker the time to send what it was just told.
    await this.#control?.finish();
    await this.#release();
    this.#resolveEnded(end);
  }

  async #release(): Promise<void> {
    await this.#events?.close();
    if (this.#folder !== undefined) releaseFolder(this.#folder);
    process.off('SIGTERM', this.#onSignal);
    process.off('SIGINT', this.#onSignal);
  }
}
