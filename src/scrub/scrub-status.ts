import type { ScrubCounts } from './scrub-counts.ts';
import type { PassWait } from './scrub-pass.ts';
import type { EndedPass } from './scrub-record.ts';

/** Everything that is shown of a scrub, plain data. */
export interface ScrubReport {
  /** `idle`: no pass is under way. */
  readonly state: 'idle' | 'running' | 'paused';
  /** Why a paused one is; empty otherwise. */
  readonly pauseReason: string;
  /** What a running one waits for; empty while it reads. */
  readonly waitsFor: PassWait;
  readonly sizeBytes: number;
  /** Of the pass under way; all 0 while there is none. Seconds are since 1970-01-01 UTC. */
  readonly positionBytes: number;
  readonly startedUnixSeconds: number;
  readonly counts: Readonly<ScrubCounts>;
  /** Lately; 0 while it does not read. */
  readonly bytesPerSecond: number;
  /** The policy; 0: no limit. */
  readonly bytesPerSecondMax: number;
  /** When it goes on like lately; null while nobody can tell. */
  readonly secondsLeft: number | null;
  /** What a scrub has learnt of main since the device was opened, milliseconds of one read; 0 before. */
  readonly medianReadMs: number;
  /** From how long on a read is slow; 0 while too few were seen, or nobody asks. */
  readonly slowReadMs: number;
  /** When the schedule begins the next pass, seconds since 1970-01-01 UTC; null without one. */
  readonly nextUnixSeconds: number | null;
  /** Passes that have ended, the newest first. */
  readonly ended: readonly EndedPass[];
  /** Times that the position or a result was written to the spare since the device was opened. */
  readonly saves: number;
  /** One clause; empty while what is known is stored. */
  readonly trouble: string;
  /** Since the device was opened, over all passes; they only grow. */
  readonly totals: Readonly<ScrubCounts>;
}
