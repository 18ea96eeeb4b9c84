import process from 'node:process';
import type { Clock } from '../../block/clock.ts';
import { RealClock } from '../../io/real-clock.ts';
import { runClosingSteps } from '../closing-steps.ts';
import type { DeviceEvent } from '../event-kinds.ts';
import { HostState } from '../host/host-state.ts';
import { Lifecycle, type LifecycleVerb } from '../lifecycle.ts';
import { EventLog } from '../log/event-log.ts';
import type { ControlAnswers, ControlAsk, ControlFailure, ProcessStatus, RemoveReport } from '../messages.ts';
import type { ServeOptions } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { isWorldError } from '../setup-failure.ts';
import { openStack } from '../stack/compose.ts';
import type { ServedStack } from '../stack/served-stack.ts';
import { WrongStateError } from '../wrong-state-error.ts';
import { attachmentStatus } from './attachment-status.ts';
import { ControlPlane } from './control-plane.ts';
import { DiskNews } from './disk-news.ts';
import { installFailStop } from './fail-stop.ts';
import { thisThreadIsIoFlusher } from './io-flusher.ts';
import { avoidOutOfMemoryKiller } from './memory-pressure.ts';
import { messageFailure, stateFailure } from './message-failure.ts';
import { eventOfMessage } from './operator-message.ts';
import { missingCare } from './process-care.ts';
import { identityOfProcess } from './process-identity.ts';
import { Removal } from './removal.ts';
import { claimFolder, type DeviceFolder, deviceFolder, releaseFolder } from './runtime-directory.ts';
import { SharedTicks } from './shared-ticks.ts';
import { StuckWatch, stuckEvent } from './stuck-watch.ts';
import { TuningNotes, tunesDisks } from './tuning-notes.ts';
import { TurnSign } from './turn-sign.ts';

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
  /** Called once, when the device begins to end. */
  readonly onEnding?: () => void;
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

type Answer = { readonly answer: ControlAnswers[ControlAsk['type']] } | { readonly failure: ControlFailure };

class Daemon {
  readonly ended: Promise<DaemonEnd>;
  readonly #options: ServeOptions;
  readonly #surroundings: DaemonSurroundings;
  readonly #clock: Clock = new RealClock();
  readonly #ticks: Clock = new SharedTicks(this.#clock);
  readonly #turnSign = new TurnSign({
    ticks: this.#ticks,
    onStall: (forMs) => this.#tell({ kind: 'data-thread-stalled', forMs }),
  });
  readonly #lifecycle = new Lifecycle();
  readonly #startedUnixSeconds: number;
  #oomScoreAdjust = 0;
  #resolveEnded: (end: DaemonEnd) => void = () => undefined;
  #folder: DeviceFolder | undefined;
  #events: EventLog | undefined;
  #stack: ServedStack | undefined;
  #control: ControlPlane | undefined;
  #stuckWatch: StuckWatch | undefined;
  #removal: Removal | undefined;
  #signalled = false;
  readonly #ownNotes: string[] = [];
  readonly #tuning: TuningNotes = new TuningNotes(this.#clock);
  readonly #news: DiskNews = new DiskNews(this.#ticks, () => this.#control?.news());
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
      onBusySecond: () => this.#stuckWatch?.look(),
      endsForNow: () => this.#signalled || this.#removal?.handsOver === true,
    });
    this.#stack = stack;
    this.#stuckWatch = new StuckWatch({
      unanswered: (minAgeSeconds, listedMax) => stack.unanswered(minAgeSeconds, listedMax),
      tell: (report) => this.#tell(stuckEvent(report)),
    });
    this.#removal = new Removal({
      stack,
      lifecycle: this.#lifecycle,
      clock: this.#clock,
      onClosing: (by) => this.#onClosing(by),
      onClosed: (report) => this.#onClosed(report),
    });
    this.#lifecycle.moveTo('serving');
    await this.#startControl(stack);
    await this.#noteForgetful();
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
    this.#news.look(event);
  }

  #claim(name: string, uuid: string): DeviceFolder {
    const { stateDirectory } = this.#surroundings;
    const directory = this.#surroundings.runtimeDirectory;
    const folder = deviceFolder(directory, name);
    const self = identityOfProcess(process.pid);
    if (self === undefined)
      throw new SetupError('failed', '/proc: needed to tell processes apart, and not there');
    claimFolder(directory, folder, self, process.ppid);
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

  async #startControl(stack: ServedStack): Promise<void> {
    const tunes = await tunesDisks(stack.describe());
    this.#control = new ControlPlane({
      workerUrl: this.#surroundings.workerUrl,
      settings: { socketPath: this.#folder!.controlSocketPath, turnSign: this.#turnSign.memory, tunes },
      clock: this.#clock,
      answer: (ask) => this.#answer(ask),
      onCrash: (reason, restart) => this.#tell({ kind: 'control-restarted', reason, restart }),
      onDenied: (denied) => this.#tell({ kind: 'control-denied', ...denied }),
      onHealth: (event) => this.#tell(event),
      onTuned: (notes) => this.#tuning.done(notes),
    });
    await this.#control.start();
    if (tunes) await this.#tuning.someTime();
  }

  async #answer(ask: ControlAsk): Promise<Answer> {
    const stack = this.#stack!;
    switch (ask.type) {
      case 'ping':
        return { answer: { name: stack.name, state: this.#lifecycle.state, pid: process.pid } };
      case 'status':
        return {
          answer: {
            ...stack.describe(),
            // The control plane's part.
            health: null,
            process: this.#processStatus(stack),
            notes: this.#notes(stack),
            attachment: attachmentStatus(this.#surroundings.runtimeDirectory, stack.name),
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
        return await this.#changeState(() => this.#suspend(stack, ask.flush));
      case 'resume':
        return await this.#changeState(() => this.#resume(stack));
      case 'open-file':
        return this.#openFile(stack, ask.readOnly);
      case 'remove':
        return await (ask.handOver === true ? this.#answerHandOver() : this.#answerRemove(ask.force));
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
      this.#refuse('message');
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
    return [
      ...stack.notes,
      ...this.#tuning.notes,
      ...this.#ownNotes,
      ...(missing === undefined ? [] : [missing]),
    ];
  }

  /** Somebody who will look for events after a crash should know today that there will be none. */
  async #noteForgetful(): Promise<void> {
    const why = await this.#events!.whyNotLasting();
    if (why === undefined) return;
    this.#ownNotes.push(
      `this host keeps no events and no copy of the table of this device: ${why}; DM_REMAP_STATE_DIR names another folder`,
    );
  }

  async #changeState(change: () => Promise<void>): Promise<Answer> {
    try {
      await this.#inTurn(change);
      return { answer: { state: this.#lifecycle.state } };
    } catch (error) {
      return { failure: stateFailure(error) };
    }
  }

  #openFile(stack: ServedStack, readOnly: boolean): Answer {
    try {
      this.#refuse('attach');
      return { answer: { path: stack.openFile(readOnly) } };
    } catch (error) {
      return { failure: stateFailure(error) };
    }
  }

  async #answerRemove(force: boolean): Promise<Answer> {
    const removal = this.#removal!;
    const by = force ? 'control API, by force' : 'control API';
    try {
      return {
        answer: await (force ? removal.now(by) : removal.whenIdle(by, (work) => this.#inTurn(work))),
      };
    } catch (error) {
      return { failure: stateFailure(error) };
    }
  }

  async #answerHandOver(): Promise<Answer> {
    try {
      const report = await this.#removal!.handOver('control API, for the next process', (work) =>
        this.#inTurn(() => {
          this.#refuse('hand-over');
          return work();
        }),
      );
      return { answer: report };
    } catch (error) {
      return { failure: stateFailure(error) };
    }
  }

  /** Suspending, resuming and a removal that may still be refused wait for each other; force waits for nobody. */
  #inTurn(change: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(change);
    // Whoever asked hears of it; the turn is over in any case.
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #suspend(stack: ServedStack, flush: boolean): Promise<void> {
    this.#refuse('suspend');
    await stack.suspend({ flush });
    // Removed meanwhile, it closes, suspended or not.
    this.#refuse('suspend');
    if (this.#lifecycle.state === 'suspended') return;
    this.#lifecycle.moveTo('suspended');
    this.#tell({ kind: 'suspended', flush });
  }

  async #resume(stack: ServedStack): Promise<void> {
    this.#refuse('resume');
    await stack.resume();
    this.#refuse('resume');
    if (this.#lifecycle.state === 'serving') return;
    this.#lifecycle.moveTo('serving');
    this.#tell({ kind: 'resumed' });
  }

  #refuse(verb: LifecycleVerb): void {
    const why = this.#lifecycle.refusalOf(verb);
    if (why !== undefined) throw new WrongStateError(why);
  }

  /** The first signal is a clean end, each step within its deadline; the second one loses patience. */
  #removeBySignal(): void {
    if (this.#removal === undefined) this.#removeWhenStarted = true;
    // Not caught on purpose: what rejects here is a bug.
    else if (this.#signalled) void this.#removal.now('second signal');
    else {
      this.#signalled = true;
      void this.#removal.soon('signal');
    }
  }

  #onClosing(by: string): void {
    this.#tell({ kind: 'removing', by });
    this.#surroundings.onEnding?.();
  }

  /** What is left, control plane and folder, goes right after the answer. */
  #onClosed(report: RemoveReport): void {
    const clean = report.steps.every((step) => step.result === 'done');
    this.#tell({ kind: 'removed', clean, ...report });
    setImmediate(() => void this.#end({ clean, report }));
  }

  async #end(end: DaemonEnd): Promise<void> {
    // Gives the worker the time to send what it was just told.
    await this.#control?.finish();
    await this.#release();
    this.#resolveEnded(end);
  }

  async #release(): Promise<void> {
    this.#turnSign.close();
    this.#news.close();
    await this.#events?.close();
    if (this.#folder !== undefined) releaseFolder(this.#folder);
    process.off('SIGTERM', this.#onSignal);
    process.off('SIGINT', this.#onSignal);
  }
}
