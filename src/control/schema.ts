import * as z from 'zod/mini';
import {
  type ControlAnswers,
  type DeviceStatus,
  type DeviceTable,
  messageWordLengthMax,
  messageWordsMax,
  type RemoveReport,
} from '../device/messages.ts';
import { healthStatus } from './health-schema.ts';

const lifecycleState = z.enum(['starting', 'serving', 'suspended', 'removing', 'removed', 'failed']);

export interface MessageBody {
  readonly sector: number;
  readonly words: readonly string[];
}

/** Body of POST /message. */
export const messageBody: z.ZodMiniType<MessageBody> = z.strictObject({
  sector: z.int().check(z.nonnegative()),
  words: z
    .array(z.string().check(z.minLength(1), z.maxLength(messageWordLengthMax)))
    .check(z.minLength(1), z.maxLength(messageWordsMax)),
});

export interface SuspendBody {
  readonly flush: boolean;
}

/** Body of POST /suspend. */
export const suspendBody: z.ZodMiniType<SuspendBody> = z.strictObject({ flush: z.boolean() });

export interface RemoveBody {
  readonly force: boolean;
  /** Without `force`: clients may be connected, and are left to the process that serves next. */
  readonly handOver?: boolean | undefined;
}

/** Body of POST /remove. */
export const removeBody: z.ZodMiniType<RemoveBody> = z
  .strictObject({ force: z.boolean(), handOver: z.optional(z.boolean()) })
  .check(z.refine(({ force, handOver }) => !(force && handOver === true)));

export interface OpenFileBody {
  readonly readOnly: boolean;
}

/** Body of POST /open-file. */
export const openFileBody: z.ZodMiniType<OpenFileBody> = z.strictObject({ readOnly: z.boolean() });

export const openFileAnswer: z.ZodMiniType<ControlAnswers['open-file']> = z.object({ path: z.string() });

/** Answer of POST /suspend and POST /resume. */
export const stateAnswer: z.ZodMiniType<ControlAnswers['suspend']> = z.object({ state: lifecycleState });

export interface FailureBody {
  readonly error: { readonly code: string; readonly message: string };
}

/** Body of every answer that is not 200. */
export const failureBody: z.ZodMiniType<FailureBody> = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
});

export const pingAnswer: z.ZodMiniType<ControlAnswers['ping']> = z.object({
  name: z.string(),
  state: lifecycleState,
  pid: z.int(),
});

const diskStatus = z.object({
  path: z.string(),
  sizeBytes: z.number(),
  model: z.string(),
  serial: z.string(),
  access: z.enum(['direct', 'buffered', 'nbd', 'table']),
});

const remapSummary = z.object({
  state: z.string(),
  health: z.enum(['ok', 'degraded', 'failing']),
  healthReasons: z.array(z.string()),
  remappedGranules: z.number(),
  remappedSectors: z.number(),
  unreadableSectors: z.number(),
  freshZeroSectors: z.number(),
  goneSectors: z.number(),
  slotsTotal: z.number(),
  slotsUsed: z.number(),
  slotsFree: z.number(),
  slotsRetired: z.number(),
  slotsReserved: z.number(),
  spareState: z.string(),
  spareUsedPercent: z.number(),
  granuleBytes: z.number(),
  verify: z.string(),
  mainCache: z.string(),
  changedPolicies: z.record(z.string(), z.string()),
  replicasValid: z.number(),
  replicasTotal: z.number(),
  statusWords: z.string(),
  counters: z.record(z.string(), z.number()),
});

const scrubCounts = z.object({
  mainBytes: z.number(),
  spareBytes: z.number(),
  foundGranules: z.number(),
  savedGranules: z.number(),
  movedGranules: z.number(),
  lostSectors: z.number(),
  undecidedSectors: z.number(),
  slowGranules: z.number(),
  slowMovedGranules: z.number(),
  badReplicas: z.number(),
  repairedReplicas: z.number(),
});

const scrubStatus = z.object({
  state: z.enum(['idle', 'running', 'paused']),
  pauseReason: z.string(),
  waitsFor: z.string(),
  sizeBytes: z.number(),
  positionBytes: z.number(),
  startedUnixSeconds: z.number(),
  counts: scrubCounts,
  bytesPerSecond: z.number(),
  bytesPerSecondMax: z.number(),
  secondsLeft: z.nullable(z.number()),
  medianReadMs: z.number(),
  slowReadMs: z.number(),
  nextUnixSeconds: z.nullable(z.number()),
  ended: z.array(
    z.object({
      end: z.enum(['finished', 'stopped']),
      startedUnixSeconds: z.number(),
      endedUnixSeconds: z.number(),
      positionBytes: z.number(),
      counts: scrubCounts,
    }),
  ),
  saves: z.number(),
  trouble: z.string(),
  totals: scrubCounts,
});

const waitingRequests = z.object({
  count: z.number(),
  oldest: z.array(
    z.object({
      kind: z.enum(['read', 'write', 'flush', 'trim', 'cache', 'write-zeroes', 'block-status', 'other']),
      offset: z.number(),
      length: z.number(),
      ageSeconds: z.number(),
      phase: z.enum([
        'suspended',
        'connection-limit',
        'waiting-for-memory',
        'behind-earlier-write',
        'at-main',
        'at-spare',
        'flushing',
        'committing',
        'waiting-for-lock',
        'waiting-for-path',
        'deciding',
        'replying',
      ]),
    }),
  ),
});

const latencyStatus = z.object({
  count: z.number(),
  sumSeconds: z.number(),
  longestSeconds: z.number(),
  medianSeconds: z.number(),
  p99Seconds: z.number(),
  buckets: z.array(z.object({ uptoSeconds: z.nullable(z.number()), count: z.number() })),
});

const trafficStatus = z.object({
  requests: z.object({
    read: z.number(),
    write: z.number(),
    flush: z.number(),
    trim: z.number(),
    writeZeroes: z.number(),
    cache: z.number(),
    blockStatus: z.number(),
  }),
  bytes: z.object({ read: z.number(), write: z.number(), trim: z.number(), writeZeroes: z.number() }),
  errors: z.number(),
  partialReads: z.number(),
  connectionsAccepted: z.number(),
  connectionsRefused: z.number(),
  protocolErrors: z.number(),
  latency: z.object({
    read: latencyStatus,
    write: latencyStatus,
    flush: latencyStatus,
    other: latencyStatus,
  }),
});

export const statusAnswer: z.ZodMiniType<DeviceStatus> = z.object({
  name: z.string(),
  uuid: z.string(),
  state: lifecycleState,
  pid: z.int(),
  version: z.string(),
  startedUnixSeconds: z.number(),
  sizeBytes: z.number(),
  logicalBlockBytes: z.number(),
  physicalBlockBytes: z.number(),
  main: diskStatus,
  spare: z.nullable(diskStatus),
  remap: remapSummary,
  health: z.nullable(healthStatus),
  scrub: z.nullable(scrubStatus),
  exports: z.array(z.string()),
  attachment: z.nullable(
    z.object({
      kind: z.enum(['nbd', 'loop']),
      device: z.string(),
      readOnly: z.boolean(),
      queueSeconds: z.number(),
    }),
  ),
  connections: z.number(),
  requestsInFlight: z.number(),
  traffic: trafficStatus,
  stuckRequests: waitingRequests,
  engine: z.string(),
  engineReason: z.string(),
  cache: z.enum(['none', 'writeback']),
  process: z.object({
    ioFlusher: z.boolean(),
    memoryLocked: z.boolean(),
    oomScoreAdjust: z.number(),
    requestMemoryBytes: z.number(),
  }),
  hostState: z.object({ directory: z.string(), tableUnixSeconds: z.number(), trouble: z.string() }),
  eventLog: z.object({
    path: z.string(),
    trouble: z.string(),
    dropped: z.number(),
    suppressed: z.number(),
  }),
  controlRestarts: z.number(),
  notes: z.array(z.string()),
});

export const tableAnswer: z.ZodMiniType<DeviceTable> = z.object({
  lines: z.array(z.string()),
  mainLines: z.array(z.string()),
});

export const messageAnswer: z.ZodMiniType<{ readonly reply: string }> = z.object({ reply: z.string() });

export const removeAnswer: z.ZodMiniType<RemoveReport> = z.object({
  steps: z.array(
    z.object({
      step: z.string(),
      result: z.enum(['done', 'failed', 'timed-out']),
      durationMs: z.number(),
      detail: z.string(),
    }),
  ),
  leftBehind: z.array(z.object({ path: z.string(), requests: z.number() })),
});
