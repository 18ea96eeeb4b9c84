/**
 * What crosses the border between the data plane (main thread) and the control plane (worker): plain data, nothing else.
 * The control room may import this file and no other of this room.
 */
import type { LatencyBuckets } from '../block/latency-histogram.ts';

import type { HealthStatus } from '../health/health-status.ts';
import type { SmartCounter } from '../health/smart-reading.ts';

/** Words of one message, and characters of one word: no message of ours comes near. */
export const messageWordsMax = 64;
export const messageWordLengthMax = 256;

/** Where a device is in its life; see `lifecycle.ts` for the arrows. */
export type LifecycleState = 'starting' | 'serving' | 'suspended' | 'removing' | 'removed' | 'failed';

/** One of the two disks under a device. */
export interface DiskStatus {
  /** As the operator named it, resolved; `table:PATH` for a main that is a device-mapper table. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Empty where the disk does not say. */
  readonly model: string;
  readonly serial: string;
  /** `direct` past the page cache, `buffered` through it. */
  readonly access: 'direct' | 'buffered' | 'nbd' | 'table';
}

/** What the remap target says about itself. */
export interface RemapSummary {
  /** `ok`, `spare-full`, `spare-failed`, `main-writes-failed`, `main-failed`, `metadata-failed` or `without-spare`. */
  readonly state: string;
  readonly health: 'ok' | 'degraded' | 'failing';
  /** One clause each, the worst first; empty while `health` is `ok`. */
  readonly healthReasons: readonly string[];
  readonly remappedGranules: number;
  readonly remappedSectors: number;
  readonly unreadableSectors: number;
  /** R13: unreadable on main and never written: they read as zeros. */
  readonly freshZeroSectors: number;
  readonly goneSectors: number;
  readonly slotsTotal: number;
  readonly slotsUsed: number;
  readonly slotsFree: number;
  readonly slotsRetired: number;
  /** R31: the last free slots, which only writes of clients may take. */
  readonly slotsReserved: number;
  /** `available`, `in-use`, `full` or `failed`; `none` for a device that is served without its spare. */
  readonly spareState: string;
  /** Slots that are used or retired, of all; people are warned at 80 and 90. */
  readonly spareUsedPercent: number;
  readonly granuleBytes: number;
  /** R24: `path` when what is moved is read back, `off` where that proves nothing. */
  readonly verify: string;
  /** R8: `none`, `bypassed`, `trusted`, or `late` where write errors of main may come late. */
  readonly mainCache: string;
  /** Policies that are not as usual, by name. */
  readonly changedPolicies: Readonly<Record<string, string>>;
  readonly replicasValid: number;
  readonly replicasTotal: number;
  /** The words of `dmsetup status` behind the devices. */
  readonly statusWords: string;
  /** Flat, monotonic counts by name. */
  readonly counters: Readonly<Record<string, number>>;
}

/** What the host remembers of a device, for the day when its spare is gone or an older one is put back (M12, M13). */
export interface HostStateStatus {
  /** Empty where there is none. */
  readonly directory: string;
  /** When the copy of the table was written; 0 before the first. */
  readonly tableUnixSeconds: number;
  /** One clause; empty while all is well. */
  readonly trouble: string;
}

/** How the process is kept from waiting for itself when the machine's memory is short, and with how much it works. */
export interface ProcessStatus {
  /** All its threads are told to the kernel as helpers of writing dirty pages out (PR_SET_IO_FLUSHER). */
  readonly ioFlusher: boolean;
  /** Buffers and queues of all I/O stay in memory (mlock2). */
  readonly memoryLocked: boolean;
  /** -1000 to 1000; the kernel takes processes of low scores last. */
  readonly oomScoreAdjust: number;
  /** Memory for requests of clients (`--memory`); one request may be half of it. */
  readonly requestMemoryBytes: number;
}

/** The record of what happened to a device (`dm-remap events`). */
export interface EventLogStatus {
  readonly path: string;
  /** One clause; empty while all is well. */
  readonly trouble: string;
  /** Events that could not be stored, since the device was started. */
  readonly dropped: number;
  /** Events that were not stored because there were too many of their kind (I11). */
  readonly suppressed: number;
}

export type RequestKind =
  | 'read'
  | 'write'
  | 'flush'
  | 'trim'
  | 'cache'
  | 'write-zeroes'
  | 'block-status'
  | 'other';

/** Where a request is that has no answer yet; `docs/lifecycle.md` says what each means. */
export type RequestPhase =
  | 'suspended'
  | 'connection-limit'
  | 'waiting-for-memory'
  | 'behind-earlier-write'
  | 'at-main'
  | 'at-spare'
  | 'flushing'
  | 'committing'
  | 'waiting-for-lock'
  | 'waiting-for-path'
  | 'deciding'
  | 'replying';

/** One request of a client, bytes of the virtual device. */
export interface WaitingRequest {
  readonly kind: RequestKind;
  readonly offset: number;
  readonly length: number;
  readonly ageSeconds: number;
  readonly phase: RequestPhase;
}

/** Requests without an answer that are older than somebody asked: all counted, the oldest listed. */
export interface WaitingRequests {
  readonly count: number;
  readonly oldest: readonly WaitingRequest[];
}

/** How long requests of one kind took, since the device was started. Quantiles are at most a quarter more than the truth. */
export interface LatencyStatus {
  readonly count: number;
  readonly sumSeconds: number;
  readonly longestSeconds: number;
  /** 0 of none. */
  readonly medianSeconds: number;
  readonly p99Seconds: number;
  /** All of them, the shortest first: with `latencySince` what came between two looks. */
  readonly buckets: LatencyBuckets;
}

/** What clients asked of the exports and how it ended, since the device was started; connections of all ways to it. */
export interface TrafficStatus {
  /** That succeeded, by kind. */
  readonly requests: {
    readonly read: number;
    readonly write: number;
    readonly flush: number;
    readonly trim: number;
    readonly writeZeroes: number;
    readonly cache: number;
    readonly blockStatus: number;
  };
  /** Of those. */
  readonly bytes: {
    readonly read: number;
    readonly write: number;
    readonly trim: number;
    readonly writeZeroes: number;
  };
  /** Requests that were answered with an error, of the client's making or the device's. */
  readonly errors: number;
  /** Of those: reads whose good parts were delivered. */
  readonly partialReads: number;
  readonly connectionsAccepted: number;
  /** Because there were too many. */
  readonly connectionsRefused: number;
  /** Connections that were closed because the client broke the protocol or let a deadline pass. */
  readonly protocolErrors: number;
  /** From the bytes of a request to its reply, failed ones too: without the network what clients wait for. */
  readonly latency: {
    readonly read: LatencyStatus;
    readonly write: LatencyStatus;
    readonly flush: LatencyStatus;
    readonly other: LatencyStatus;
  };
}

/** What one disk has not answered, requests of ours and of clients alike. */
export interface DiskRequests {
  readonly path: string;
  readonly requests: number;
}

/** A block device of the kernel's that is this device (`dm-remap attach`). */
export interface AttachmentStatus {
  readonly kind: 'nbd' | 'loop';
  /** `/dev/loop0`. */
  readonly device: string;
  readonly readOnly: boolean;
  /** How long requests wait for a process that died; 0: they fail. */
  readonly queueSeconds: number;
}

/** What one scrub has read and found; `docs/operations.md` says what each means. */
export interface ScrubCounts {
  readonly mainBytes: number;
  readonly spareBytes: number;
  readonly foundGranules: number;
  readonly savedGranules: number;
  readonly movedGranules: number;
  readonly lostSectors: number;
  readonly undecidedSectors: number;
  readonly slowGranules: number;
  readonly slowMovedGranules: number;
  readonly badReplicas: number;
  readonly repairedReplicas: number;
}

/** A scrub that has ended. */
export interface EndedScrub {
  readonly end: 'finished' | 'stopped';
  readonly startedUnixSeconds: number;
  readonly endedUnixSeconds: number;
  /** Of main; less than all of it when it was stopped. */
  readonly positionBytes: number;
  readonly counts: ScrubCounts;
}

/** How far the scrub is, and how the last ones ended. */
export interface ScrubStatus {
  /** `idle`: none is under way. */
  readonly state: 'idle' | 'running' | 'paused';
  /** `operator` or `storm`; empty while it is not paused. */
  readonly pauseReason: string;
  /** `main`, `spare`, `metadata`, `suspended` or `memory`; empty while it reads, or does not run. */
  readonly waitsFor: string;
  readonly sizeBytes: number;
  /** Of the one under way; 0 while there is none. */
  readonly positionBytes: number;
  readonly startedUnixSeconds: number;
  readonly counts: ScrubCounts;
  /** Lately. */
  readonly bytesPerSecond: number;
  /** The policy `scrub-rate`; 0: no limit. */
  readonly bytesPerSecondMax: number;
  /** When it goes on like lately; null while nobody can tell. */
  readonly secondsLeft: number | null;
  /** Of one read of main, as scrubs have learnt since the device was opened; 0 before. */
  readonly medianReadMs: number;
  /** From how long on a read is slow; 0 while too few were seen, or nobody asks. */
  readonly slowReadMs: number;
  /** When the schedule begins the next one; null without a schedule. */
  readonly nextUnixSeconds: number | null;
  /** The newest first. */
  readonly ended: readonly EndedScrub[];
  /** Times that the spare was written to for this, since the device was opened. */
  readonly saves: number;
  /** One clause; empty while all is well. */
  readonly trouble: string;
  /** Since the device was opened, over all of them; they only grow. */
  readonly totals: ScrubCounts;
}

export interface DeviceStatus {
  readonly name: string;
  readonly uuid: string;
  readonly state: LifecycleState;
  readonly pid: number;
  readonly version: string;
  readonly startedUnixSeconds: number;
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly main: DiskStatus;
  /** Null for a device that is served without its spare (M13). */
  readonly spare: DiskStatus | null;
  readonly remap: RemapSummary;
  /** What the control plane makes of all this; null in the data plane, and where the policy `health` is off. */
  readonly health: HealthStatus | null;
  /** Null for a device that is served without its spare. */
  readonly scrub: ScrubStatus | null;
  /** NBD URIs, the Unix socket first. */
  readonly exports: readonly string[];
  /** Null while it is none. */
  readonly attachment: AttachmentStatus | null;
  readonly connections: number;
  readonly requestsInFlight: number;
  readonly traffic: TrafficStatus;
  /** Those that have had no answer for 10 s or longer (I22). */
  readonly stuckRequests: WaitingRequests;
  /** `io_uring` or `node`. */
  readonly engine: string;
  /** Why it is not io_uring, one clause; empty when it is, or when another one was asked for. */
  readonly engineReason: string;
  readonly cache: 'none' | 'writeback';
  readonly process: ProcessStatus;
  readonly hostState: HostStateStatus;
  readonly eventLog: EventLogStatus;
  /** Times the control plane had to be started again. */
  readonly controlRestarts: number;
  /** Whole sentences worth an operator's attention: repaired replicas, one disk for both, … */
  readonly notes: readonly string[];
}

/** One line of a device-mapper table, printable as it is. */
export interface DeviceTable {
  readonly lines: readonly string[];
  /** The lines of main when main is a table itself; empty otherwise. */
  readonly mainLines: readonly string[];
}

/** How one step of closing ended. */
export interface StepOutcome {
  readonly step: string;
  readonly result: 'done' | 'failed' | 'timed-out';
  readonly durationMs: number;
  /** Empty when done. */
  readonly detail: string;
}

export interface RemoveReport {
  readonly steps: readonly StepOutcome[];
  /** Requests that disks had not answered when the device gave up on them; the kernel has them until it has an answer (R3). */
  readonly leftBehind: readonly DiskRequests[];
}

/** What a client of the control API may ask of the data plane. */
export type ControlAsk =
  | { readonly type: 'ping' }
  | { readonly type: 'status' }
  | { readonly type: 'table' }
  | { readonly type: 'message'; readonly sector: number; readonly words: readonly string[] }
  | { readonly type: 'suspend'; readonly flush: boolean }
  | { readonly type: 'resume' }
  | { readonly type: 'open-file'; readonly readOnly: boolean }
  | { readonly type: 'remove'; readonly force: boolean; readonly handOver?: boolean | undefined };

/** The answer of each ask. */
export interface ControlAnswers {
  readonly ping: { readonly name: string; readonly state: LifecycleState; readonly pid: number };
  readonly status: DeviceStatus;
  readonly table: DeviceTable;
  readonly message: { readonly reply: string };
  readonly suspend: { readonly state: LifecycleState };
  readonly resume: { readonly state: LifecycleState };
  readonly 'open-file': { readonly path: string };
  readonly remove: RemoveReport;
}

/**
 * - `BAD_MESSAGE`  the words mean nothing to the device, or not now
 * - `FAILED`       the device tried and could not
 * - `UNSAFE`       it would harm data, or could
 * - `WRONG_STATE`  not in the state that the device is in
 * - `IN_USE`       somebody uses the device, or a disk does not answer
 * - `BUSY`         the control plane's queue is full
 * - `TIMED_OUT`    the data plane did not answer before the deadline
 * - `BAD_REQUEST`  the request itself is malformed
 * - `DENIED`       another user's process asks
 */
export type ControlFailureCode =
  | 'BAD_MESSAGE'
  | 'FAILED'
  | 'UNSAFE'
  | 'WRONG_STATE'
  | 'IN_USE'
  | 'BUSY'
  | 'TIMED_OUT'
  | 'BAD_REQUEST'
  | 'DENIED';

export interface ControlFailure {
  readonly code: ControlFailureCode;
  /** One line for people. */
  readonly message: string;
}

/** Who was refused by the control API, the last of them, and how many connections since the last such message. */
export interface DeniedPeer {
  readonly uid: number;
  readonly pid: number;
  readonly count: number;
}

/** The score is another one than operators were last told. */
export interface HealthChange {
  readonly score: number;
  /** Null for what the disks said of themselves when they were first asked. */
  readonly before: number | null;
  /** One clause each, what weighs most first; at most `toldReasonsMax`. */
  readonly reasons: readonly string[];
  readonly advice: readonly string[];
}

/** A count of SMART's grew since it was last read. */
export interface SmartIncreased {
  readonly disk: 'main' | 'spare';
  /** The whole disk. */
  readonly device: string;
  readonly counter: SmartCounter;
  readonly from: number;
  readonly to: number;
}

/** What the control plane finds out about disks and is worth an event. */
export type HealthEvent =
  | ({ readonly kind: 'health-changed' } & HealthChange)
  | ({ readonly kind: 'smart-increased' } & SmartIncreased);

/** Worker to data plane. */
export type WorkerMessage =
  | { readonly kind: 'listening' }
  | ({ readonly kind: 'denied' } & DeniedPeer)
  | { readonly kind: 'health-event'; readonly event: HealthEvent }
  /** How disks were set up for recovering errors: whole sentences, all of them each time. */
  | { readonly kind: 'tuned'; readonly notes: readonly string[] }
  | { readonly kind: 'ask'; readonly id: number; readonly ask: ControlAsk };

/** Data plane to worker. */
export type DataPlaneMessage =
  | { readonly kind: 'answer'; readonly id: number; readonly answer: ControlAnswers[keyof ControlAnswers] }
  | { readonly kind: 'failure'; readonly id: number; readonly failure: ControlFailure }
  /** Something happened to the disks that their health may be looked at for. */
  | { readonly kind: 'news' }
  /** Send what is still to be sent, then end. */
  | { readonly kind: 'finish' };

/** R35: how often the data thread gives a sign that it turns, to a quarter: it is given beside other work. */
export const turnSignIntervalMs = 10_000;
/** Silent for so long: a sign is overdue by almost ten seconds, and the thread has not turned for as long. */
export const stalledAfterMs: number = turnSignIntervalMs * 2.25;

/** What the worker is started with. */
export interface WorkerSettings {
  readonly socketPath: string;
  /** R35: when the data thread last gave a sign, as `TurnSign` keeps it. */
  readonly turnSign: SharedArrayBuffer;
  /** Whether there is a disk that could be set up for recovering errors, and nobody forbade it. */
  readonly tunes: boolean;
}
