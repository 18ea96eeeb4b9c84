import type { Clock, ScheduledAction } from '../block/clock.ts';
import type { ScrubAccess } from '../remap/scrub/scrub-access.ts';
import { ReadBaseline } from './read-baseline.ts';
import { addCounts, newScrubCounts, type ScrubCounts } from './scrub-counts.ts';
import type { ScrubEvent, ScrubStarter } from './scrub-event.ts';
import { passesKeptMax, resumeDelayMs, saveIntervalMs, scheduleLookMs } from './scrub-limits.ts';
import { ScrubPace } from './scrub-pace.ts';
import { ScrubPass, type VerifyReplicas } from './scrub-pass.ts';
import { decodeScrubRecord, type EndedPass, type OpenPass, type PassEnd } from './scrub-record.ts';
import { ScrubSaver, type StoreScrub } from './scrub-saver.ts';
import { ScrubSleep } from './scrub-sleep.ts';
import type { ScrubReport } from './scrub-status.ts';
import { MoveBudget } from './slow-blocks.ts';

const secondsPerDay = 86_400;

export interface ScrubberParts {
  readonly access: ScrubAccess;
  /** What the spare keeps of scrubs (M10); undefined: the device was never scrubbed. */
  readonly stored: Readonly<Record<string, string>> | undefined;
  readonly store: StoreScrub;
  readonly verifyReplicas: VerifyReplicas;
  readonly clock: Clock;
  /** For what is done from time to time. */
  readonly ticks: Clock;
  /** Requests of clients that have ended so far: that it changes says that somebody uses the device. */
  readonly clientRequests: () => number;
  readonly tell: (event: ScrubEvent) => void;
}

/**
 * Scrubs one device: begins passes when somebody or the schedule says so, lets them pause, and remembers on the spare where
 * they are and how they ended. Nothing runs while there is no pass, but a look at the schedule once an hour.
 *
 *     idle ──start──► running ⇄ paused
 *       ▲───── end, stop ─┴────────┘
 */
export class Scrubber {
  readonly #parts: ScrubberParts;
  readonly #sleep: ScrubSleep;
  readonly #pace: ScrubPace;
  readonly #saver: ScrubSaver;
  readonly #baseline = new ReadBaseline();
  readonly #budget = new MoveBudget();
  /** Of passes that this process has ended or begun, but for the one under way. */
  readonly #totals: ScrubCounts = newScrubCounts();
  /** What the pass under way had counted before this process. */
  #before: Readonly<ScrubCounts> = newScrubCounts();
  #ended: readonly EndedPass[];
  #pass: ScrubPass | undefined;
  #pauseReason = '';
  #working = false;
  #closed = false;
  #timer: ScheduledAction | undefined;
  #savedAtMs: number;
  readonly #openedUnixSeconds: number;

  constructor(parts: ScrubberParts) {
    const { clock, access, stored, store } = parts;
    this.#parts = parts;
    this.#sleep = new ScrubSleep(clock);
    this.#savedAtMs = clock.nowMs();
    this.#openedUnixSeconds = this.#nowUnixSeconds();
    this.#pace = new ScrubPace({
      clock,
      clientRequests: parts.clientRequests,
      othersInFlight: () => access.othersInFlight,
      bytesPerSecondMax: () => this.#bytesPerSecondMax,
    });
    this.#saver = new ScrubSaver(store, () => access.spareWorks(), clock);
    const { pass, ended } = decodeScrubRecord(stored ?? {});
    this.#ended = ended;
    if (pass !== undefined) this.#takeUp(pass);
    else this.#armSchedule();
  }

  get state(): ScrubReport['state'] {
    if (this.#pass === undefined) return 'idle';
    return this.#isPaused ? 'paused' : 'running';
  }

  /** A new pass from the beginning. False when one is under way. */
  start(by: ScrubStarter): boolean {
    if (this.#pass !== undefined || this.#closed) return false;
    this.#timer?.cancel();
    this.#pauseReason = '';
    this.#before = newScrubCounts();
    this.#pass = this.#newPass(undefined);
    this.#parts.tell({ kind: 'scrub-started', by });
    this.#save();
    this.#work();
    return true;
  }

  /** False when none is running. */
  pause(reason: string): boolean {
    const pass = this.#pass;
    if (pass === undefined || this.#isPaused) return false;
    this.#pauseReason = reason;
    this.#sleep.wake();
    const { positionBytes, counts } = pass;
    this.#parts.tell({ kind: 'scrub-paused', reason, positionBytes, ...counts });
    this.#save();
    return true;
  }

  /** False when none is paused. */
  resume(by: ScrubStarter): boolean {
    if (this.#pass === undefined || !this.#isPaused || this.#closed) return false;
    this.#pauseReason = '';
    this.#parts.tell({ kind: 'scrub-resumed', by, positionBytes: this.#pass.positionBytes });
    this.#save();
    this.#work();
    return true;
  }

  /** Ends a pass that has not come to its end; its results are kept. False when there is none. */
  stop(): boolean {
    if (this.#pass === undefined) return false;
    this.#end(this.#pass, 'stopped');
    this.#sleep.wake();
    return true;
  }

  /** The schedule may have changed. */
  lookAtSchedule(): void {
    this.#armSchedule();
  }

  /** Resolves when what is known is stored, or within some seconds. */
  saved(): Promise<void> {
    return this.#saver.saved();
  }

  /** Nothing is begun any more. What is under way ends with the device; the position is stored before the metadata is closed. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#sleep.close();
    if (this.#pass !== undefined) this.#save();
    this.#saver.close();
  }

  report(): ScrubReport {
    const pass = this.#pass;
    const { access } = this.#parts;
    const isRunning = this.state === 'running';
    const left = isRunning ? pass?.secondsLeft : undefined;
    return {
      state: this.state,
      pauseReason: this.#pauseReason,
      waitsFor: isRunning ? (pass?.waitsFor ?? '') : '',
      sizeBytes: access.sizeBytes,
      positionBytes: pass?.positionBytes ?? 0,
      startedUnixSeconds: pass?.startedUnixSeconds ?? 0,
      counts: { ...(pass?.counts ?? newScrubCounts()) },
      bytesPerSecond: isRunning ? Math.round(pass?.bytesPerSecond ?? 0) : 0,
      bytesPerSecondMax: this.#bytesPerSecondMax,
      secondsLeft: left === undefined ? null : Math.ceil(left),
      medianReadMs: this.#baseline.medianMs ?? 0,
      slowReadMs:
        access.policies.slowRead === 'off' ? 0 : (this.#baseline.slowMs(access.policies.slowReadMs) ?? 0),
      nextUnixSeconds: this.#nextUnixSeconds() ?? null,
      ended: this.#ended,
      saves: this.#saver.saves,
      trouble: this.#saver.trouble,
      totals: this.#allTotals(),
    };
  }

  get #isPaused(): boolean {
    return this.#pauseReason !== '';
  }

  get #bytesPerSecondMax(): number {
    return this.#parts.access.policies.scrubMebibytesPerSecond * 1024 * 1024;
  }

  /** The last session ended in the middle of a pass: it goes on where that was, but not in the first moments of this one. */
  #takeUp(stored: OpenPass): void {
    const { tell, ticks } = this.#parts;
    this.#before = stored.counts;
    this.#pauseReason = stored.isPaused ? stored.pauseReason || 'operator' : '';
    const pass = this.#newPass(stored);
    this.#pass = pass;
    if (this.#isPaused) return;
    this.#timer = ticks.schedule(resumeDelayMs, () => {
      if (this.#pass !== pass || this.#isPaused) return;
      tell({ kind: 'scrub-resumed', by: 'opening', positionBytes: pass.positionBytes });
      this.#work();
    });
  }

  #newPass(from: OpenPass | undefined): ScrubPass {
    const { access, clock, verifyReplicas, tell } = this.#parts;
    return new ScrubPass(
      {
        ...{ access, clock, verifyReplicas },
        sleep: this.#sleep,
        pace: this.#pace,
        baseline: this.#baseline,
        budget: this.#budget,
        onStep: () => this.#saveFromTimeToTime(),
        onSlow: (found) => tell({ kind: 'slow-blocks', ...found }),
      },
      from,
    );
  }

  #work(): void {
    if (this.#working) return;
    this.#working = true;
    // Not caught on purpose: what rejects here is a bug of ours and must end the process.
    void this.#workThrough();
  }

  async #workThrough(): Promise<void> {
    for (;;) {
      const pass = this.#pass;
      if (pass === undefined || this.#isPaused || this.#closed) break;
      const outcome = await pass.run(() => this.#pass !== pass || this.#isPaused || this.#closed);
      if (outcome === 'closed') break;
      if (this.#pass !== pass || this.#closed) continue;
      if (outcome === 'finished') this.#end(pass, 'finished');
      else if (outcome === 'storm') this.pause('storm');
    }
    this.#working = false;
  }

  #end(pass: ScrubPass, end: PassEnd): void {
    const { startedUnixSeconds, positionBytes, counts } = pass;
    const endedUnixSeconds = this.#nowUnixSeconds();
    addCounts(this.#totals, counts, this.#before);
    this.#before = newScrubCounts();
    this.#pass = undefined;
    this.#pauseReason = '';
    const ended = { end, startedUnixSeconds, endedUnixSeconds, positionBytes, counts: { ...counts } };
    this.#ended = [ended, ...this.#ended].slice(0, passesKeptMax);
    const seconds = Math.max(0, endedUnixSeconds - startedUnixSeconds);
    const kind = end === 'finished' ? 'scrub-finished' : 'scrub-stopped';
    this.#parts.tell({ kind, positionBytes, seconds, ...counts });
    this.#save();
    this.#armSchedule();
  }

  #allTotals(): ScrubCounts {
    const totals = { ...this.#totals };
    if (this.#pass !== undefined) addCounts(totals, this.#pass.counts, this.#before);
    return totals;
  }

  #saveFromTimeToTime(): void {
    if (this.#parts.clock.nowMs() - this.#savedAtMs >= saveIntervalMs) this.#save();
  }

  #save(): void {
    this.#savedAtMs = this.#parts.clock.nowMs();
    const pass = this.#pass;
    const open = pass && {
      isPaused: this.#isPaused,
      pauseReason: this.#pauseReason,
      startedUnixSeconds: pass.startedUnixSeconds,
      positionBytes: pass.positionBytes,
      counts: { ...pass.counts },
    };
    this.#saver.save({ pass: open, ended: this.#ended });
  }

  #armSchedule(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#closed || this.#pass !== undefined) return;
    const dueUnixSeconds = this.#nextUnixSeconds() ?? Number.POSITIVE_INFINITY;
    const dueMs = Math.max(resumeDelayMs, (dueUnixSeconds - this.#nowUnixSeconds()) * 1000);
    this.#timer = this.#parts.ticks.schedule(Math.min(dueMs, scheduleLookMs), () => {
      this.#timer = undefined;
      if (this.#saver.isBehind) this.#save();
      const next = this.#nextUnixSeconds();
      if (next !== undefined && next <= this.#nowUnixSeconds()) this.start('schedule');
      else this.#armSchedule();
    });
  }

  /** A device that was never scrubbed to its end is due when it is opened. */
  #nextUnixSeconds(): number | undefined {
    const { scrubEveryDays } = this.#parts.access.policies;
    if (scrubEveryDays === 0 || this.#pass !== undefined) return undefined;
    const last = this.#ended[0];
    if (last === undefined) return this.#openedUnixSeconds;
    return last.endedUnixSeconds + scrubEveryDays * secondsPerDay;
  }

  #nowUnixSeconds(): number {
    return Math.floor(this.#parts.clock.unixMs() / 1000);
  }
}
