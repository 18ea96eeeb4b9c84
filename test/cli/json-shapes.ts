import * as z from 'zod';
import { smartCounterNames } from '../../src/health/smart-reading.ts';

/**
 * What `--json` of every verb prints, exactly: `strictObject` fails a field that is not written down here, and docs/cli.md
 * shows one example of each. `int` is a whole number that JSON carries exactly.
 */

const count = z.int().check(z.nonnegative());
const texts = z.array(z.string());
const lifecycle = z.enum(['starting', 'serving', 'suspended', 'removing', 'removed', 'failed']);
const disk = z.strictObject({
  path: z.string(),
  sizeBytes: count,
  model: z.string(),
  serial: z.string(),
  access: z.enum(['direct', 'buffered', 'nbd', 'table']),
});
const remapStates = [
  'ok',
  'spare-full',
  'spare-failed',
  'main-writes-failed',
  'main-failed',
  'metadata-failed',
  'without-spare',
] as const;

const attachment = z.nullable(
  z.strictObject({
    kind: z.enum(['nbd', 'loop']),
    device: z.string(),
    readOnly: z.boolean(),
    queueSeconds: count,
  }),
);

const seconds = z.number().check(z.nonnegative());
const latency = z.strictObject({
  count,
  sumSeconds: seconds,
  longestSeconds: seconds,
  medianSeconds: seconds,
  p99Seconds: seconds,
  buckets: z.array(z.strictObject({ uptoSeconds: z.nullable(seconds), count })),
});

const diskRole = z.enum(['main', 'spare']);
const smartCounts = z.partialRecord(z.enum(smartCounterNames), count);
const health = z.strictObject({
  score: z.int().check(z.nonnegative(), z.lte(100)),
  reasons: z.array(
    z.strictObject({
      rule: z.string(),
      disk: diskRole,
      lowersBy: count,
      holdsAt: z.nullable(count),
      text: z.string(),
    }),
  ),
  advice: z.array(
    z.strictObject({
      kind: z.enum(['replace-now', 'larger-spare', 'check-cable', 'replace-soon', 'restore-lost']),
      disk: diskRole,
      text: z.string(),
    }),
  ),
  growth: z.strictObject({
    badSectorsLastDay: count,
    badSectorsLastWeek: count,
    badSectorsWeekBefore: count,
    failedAgain: count,
    slotsRetiredLastWeek: count,
    mainPathLossesLastWeek: count,
    sparePathLossesLastWeek: count,
    stuckLastWeek: count,
    slowBlocks: count,
  }),
  places: z.nullable(
    z.strictObject({
      clusters: count,
      tenths: z.array(count).check(z.length(10)),
      hotSpot: z.nullable(z.strictObject({ first: count, last: count, sectors: count })),
    }),
  ),
  spareFullInDays: z.nullable(count),
  disks: z.array(
    z.strictObject({
      disk: diskRole,
      device: z.string(),
      smart: z.enum(['read', 'asleep', 'not-supported', 'no-answer', 'not-installed', 'not-asked']),
      detail: z.string(),
      readUnixSeconds: count,
      model: z.string(),
      serial: z.string(),
      failing: z.boolean(),
      counters: smartCounts,
      grown: smartCounts,
    }),
  ),
  lookedUnixSeconds: count,
  trouble: z.string(),
});

const scrubCounts = z.strictObject({
  mainBytes: count,
  spareBytes: count,
  foundGranules: count,
  savedGranules: count,
  movedGranules: count,
  lostSectors: count,
  undecidedSectors: count,
  slowGranules: count,
  slowMovedGranules: count,
  badReplicas: count,
  repairedReplicas: count,
});

const scrub = z.strictObject({
  state: z.enum(['idle', 'running', 'paused']),
  pauseReason: z.string(),
  waitsFor: z.string(),
  sizeBytes: count,
  positionBytes: count,
  startedUnixSeconds: count,
  counts: scrubCounts,
  bytesPerSecond: count,
  bytesPerSecondMax: count,
  secondsLeft: z.nullable(count),
  medianReadMs: z.number(),
  slowReadMs: z.number(),
  nextUnixSeconds: z.nullable(count),
  ended: z.array(
    z.strictObject({
      end: z.enum(['finished', 'stopped']),
      startedUnixSeconds: count,
      endedUnixSeconds: count,
      positionBytes: count,
      counts: scrubCounts,
    }),
  ),
  saves: count,
  trouble: z.string(),
  totals: scrubCounts,
});

const statusFields = {
  name: z.string(),
  uuid: z.uuid(),
  state: lifecycle,
  pid: count,
  version: z.string(),
  startedUnixSeconds: count,
  sizeBytes: count,
  logicalBlockBytes: count,
  physicalBlockBytes: count,
  main: disk,
  spare: z.nullable(disk),
  scrub: z.nullable(scrub),
  remap: z.strictObject({
    state: z.enum(remapStates),
    health: z.enum(['ok', 'degraded', 'failing']),
    healthReasons: texts,
    remappedGranules: count,
    remappedSectors: count,
    unreadableSectors: count,
    freshZeroSectors: count,
    goneSectors: count,
    slotsTotal: count,
    slotsUsed: count,
    slotsFree: count,
    slotsRetired: count,
    slotsReserved: count,
    spareState: z.enum(['available', 'in-use', 'full', 'failed', 'none']),
    spareUsedPercent: count,
    granuleBytes: count,
    verify: z.enum(['path', 'off']),
    mainCache: z.string(),
    changedPolicies: z.record(z.string(), z.string()),
    replicasValid: count,
    replicasTotal: count,
    statusWords: z.string(),
    counters: z.record(z.string(), count),
  }),
  health: z.nullable(health),
  exports: texts,
  attachment,
  connections: count,
  requestsInFlight: count,
  traffic: z.strictObject({
    requests: z.strictObject({
      read: count,
      write: count,
      flush: count,
      trim: count,
      writeZeroes: count,
      cache: count,
      blockStatus: count,
    }),
    bytes: z.strictObject({ read: count, write: count, trim: count, writeZeroes: count }),
    errors: count,
    partialReads: count,
    connectionsAccepted: count,
    connectionsRefused: count,
    protocolErrors: count,
    latency: z.strictObject({ read: latency, write: latency, flush: latency, other: latency }),
  }),
  stuckRequests: z.strictObject({
    count,
    oldest: z.array(
      z.strictObject({
        kind: z.string(),
        offset: count,
        length: count,
        ageSeconds: count,
        phase: z.string(),
      }),
    ),
  }),
  engine: z.string(),
  engineReason: z.string(),
  cache: z.enum(['none', 'writeback']),
  process: z.strictObject({
    ioFlusher: z.boolean(),
    memoryLocked: z.boolean(),
    oomScoreAdjust: z.int(),
    requestMemoryBytes: count,
  }),
  hostState: z.strictObject({ directory: z.string(), tableUnixSeconds: count, trouble: z.string() }),
  eventLog: z.strictObject({ path: z.string(), trouble: z.string(), dropped: count, suppressed: count }),
  controlRestarts: count,
  notes: texts,
};

const attached = z.strictObject({
  name: z.string(),
  kind: z.enum(['nbd', 'loop']),
  device: z.string(),
  links: texts,
  readOnly: z.boolean(),
  queueSeconds: count,
  wasAttached: z.boolean(),
  warnings: texts,
});

const closingSteps = z.array(
  z.strictObject({
    step: z.string(),
    result: z.enum(['done', 'failed', 'timed-out']),
    durationMs: count,
    detail: z.string(),
  }),
);

/** One value for each kind of request. */
function eachKind<T extends z.ZodType>(value: T): z.ZodType {
  return z.strictObject({ read: value, write: value, flush: value, trim: value, zero: value, other: value });
}

const shapes = {
  create: z.strictObject({
    name: z.string(),
    exports: texts,
    notes: texts,
    sizeBytes: count,
    main: z.string(),
    spare: z.string(),
    layout: z.string(),
    check: z.optional(z.strictObject({ slots: count, bad: count })),
    warnings: texts,
    attachment: z.optional(attached),
  }),
  attach: attached,
  detach: z.strictObject({ name: z.string(), device: z.string() }),
  'spare-list': z.strictObject({
    name: z.string(),
    spares: z.array(
      z.strictObject({
        place: z.string(),
        path: z.string(),
        sizeBytes: count,
        model: z.string(),
        serial: z.string(),
        state: z.enum(['available', 'in-use', 'full', 'failed', 'leaving']),
        slotsTotal: count,
        slotsUsed: count,
        slotsFree: count,
        slotsRetired: count,
        usedPercent: count,
        fullInDays: z.nullable(count),
      }),
    ),
  }),
  scrub: z.strictObject({ name: z.string(), scrub }),
  'spare-add': z.strictObject({ name: z.string(), path: z.string(), slots: count, badSlots: count }),
  'spare-remove': z.strictObject({ name: z.string(), path: z.string(), goneSectors: count }),
  'spare-replace': z.strictObject({
    name: z.string(),
    from: z.string(),
    spare: z.string(),
    goneSectors: count,
  }),
  health: z.strictObject({ name: z.string(), health: z.nullable(health) }),
  assemble: z.strictObject({ name: z.string(), exports: texts, notes: texts }),
  'assemble-all': z.array(
    z.strictObject({
      name: z.string(),
      uuid: z.string(),
      sparePath: z.string(),
      mainPath: z.string(),
      why: z.string(),
      result: z.enum(['started', 'would-start', 'served', 'waiting', 'refused', 'failed']),
      exports: texts,
      notes: texts,
      exitCode: count,
    }),
  ),
  events: z.looseObject({
    v: z.literal(1),
    sequence: count,
    time: z.iso.datetime(),
    device: z.string(),
    uuid: z.uuid(),
    pid: count,
    level: z.enum(['info', 'warn', 'error']),
    kind: z.string(),
  }),
  ls: z.array(
    z.strictObject({
      name: z.string(),
      state: z.enum([...lifecycle.options, 'dead', 'silent']),
      pid: z.nullable(count),
      health: z.string(),
      sizeBytes: z.nullable(count),
      remapped: z.nullable(count),
      attached: z.string(),
      export: z.string(),
    }),
  ),
  status: z.strictObject(statusFields),
  'status-watch': z.strictObject({ unixMs: count, ...statusFields }),
  info: z.strictObject({
    name: z.string(),
    uuid: z.uuid(),
    state: z.enum(['ACTIVE', 'SUSPENDED']),
    readOnly: z.boolean(),
    openCount: count,
    sizeBytes: count,
    logicalBlockBytes: count,
    physicalBlockBytes: count,
    attachment,
    exports: texts,
    table: texts,
    mainTable: texts,
  }),
  export: z.strictObject({
    name: z.string(),
    uuid: z.uuid(),
    sizeBytes: count,
    logicalBlockBytes: count,
    granuleBytes: count,
    mainPath: z.string(),
    sparePath: z.string(),
    entries: z.array(
      z.strictObject({
        sector: count,
        sectorCount: count,
        place: z.enum(['remapped', 'unreadable', 'suspect', 'fresh-zero', 'gone']),
        spareSector: z.nullable(count),
        cause: z.nullable(z.string()),
        flags: texts,
      }),
    ),
  }),
  import: z.strictObject({
    name: z.string(),
    ranges: count,
    suspectSectors: count,
    knownSectors: count,
  }),
  table: z.strictObject({ lines: texts, mainLines: texts }),
  policy: z.strictObject({ policies: z.record(z.string(), z.string()) }),
  message: z.strictObject({ reply: z.string() }),
  suspend: z.strictObject({ name: z.string(), state: lifecycle }),
  resume: z.strictObject({ name: z.string(), state: lifecycle }),
  retire: z.strictObject({ name: z.string(), replies: texts, spare: z.string(), wiped: z.boolean() }),
  restart: z.strictObject({ name: z.string(), notes: texts, steps: closingSteps }),
  remove: z.strictObject({
    name: z.string(),
    wasDead: z.boolean(),
    killed: z.boolean(),
    steps: closingSteps,
    leftBehind: z.array(z.strictObject({ path: z.string(), requests: count })),
    warnings: texts,
  }),
  examine: z.strictObject({
    path: z.string(),
    name: z.string(),
    uuid: z.uuid(),
    createdUnixSeconds: count,
    mainSizeBytes: count,
    spareSizeBytes: count,
    logicalBlockBytes: count,
    granuleBytes: count,
    slotsTotal: count,
    generation: count,
    lastSequence: count,
    cleanlyClosed: z.boolean(),
    replicasValid: count,
    replicasTotal: count,
    replicaNotes: texts,
    remappedGranules: count,
    remappedSectors: count,
    unreadableSectors: count,
    freshZeroSectors: count,
    goneSectors: count,
    main: z.record(z.string(), z.string()),
    spare: z.record(z.string(), z.string()),
  }),
  scan: z.array(
    z.strictObject({
      path: z.string(),
      state: z.enum(['clean', 'not-closed', 'damaged', 'newer', 'no-spare', 'failed']),
      name: z.string(),
      uuid: z.string(),
      mainPath: z.string(),
      main: z.enum(['found', 'several', 'unproven', 'missing', 'elsewhere', '']),
      mainFoundPath: z.string(),
      copyOf: z.string(),
      key: z.string(),
      detail: z.string(),
      servedAs: z.string(),
    }),
  ),
  adopt: z.strictObject({ name: z.string(), uuid: z.uuid(), from: z.string(), to: z.string(), notes: texts }),
  'adopt-main': z.strictObject({
    name: z.string(),
    uuid: z.uuid(),
    main: z.string(),
    difference: z.string(),
    samplesCompared: count,
    samplesDifferent: count,
    notes: texts,
  }),
  resize: z.strictObject({
    name: z.string(),
    main: z.string(),
    bytesBefore: count,
    bytesNow: count,
    notes: texts,
  }),
  wipe: z.strictObject({
    path: z.string(),
    name: z.string(),
    uuids: texts,
    superblocksWiped: count,
    notes: texts,
  }),
  'metadata-check': z.strictObject({ path: z.string(), findings: texts }),
  'metadata-dump': z.strictObject({ path: z.string(), dump: texts }),
  'metadata-repair': z.strictObject({
    name: z.string(),
    uuid: z.uuid(),
    replicasTotal: count,
    replicasValid: count,
    replicasValidBefore: count,
    notes: texts,
  }),
  'metadata-restore': z.strictObject({
    name: z.string(),
    uuid: z.uuid(),
    records: count,
    sequence: count,
    notes: texts,
  }),
  setup: z.strictObject({
    root: z.string(),
    done: z.boolean(),
    steps: z.array(
      z.strictObject({
        action: z.enum(['write', 'make-folder', 'remove', 'keep']),
        path: z.string(),
        contents: z.string(),
      }),
    ),
    notes: texts,
  }),
  top: z.strictObject({
    unixMs: count,
    name: z.string(),
    uuid: z.uuid(),
    state: lifecycle,
    remapState: z.enum(remapStates),
    health: z.enum(['ok', 'degraded', 'failing']),
    figures: z.nullable(
      z.strictObject({
        seconds: z.number(),
        errors: count,
        requestsPerSecond: eachKind(z.number()),
        bytesPerSecond: eachKind(z.number()),
        medianSeconds: eachKind(z.nullable(z.number())),
        p99Seconds: eachKind(z.nullable(z.number())),
      }),
    ),
    connections: count,
    requestsInFlight: count,
    stuckRequests: count,
    spareUsedPercent: count,
    remappedSectors: count,
    unreadableSectors: count,
    freshZeroSectors: count,
    goneSectors: count,
    healthScore: z.nullable(count),
    scrubState: z.nullable(z.enum(['idle', 'running', 'paused'])),
    scrubPositionBytes: z.nullable(count),
  }),
  version: z.strictObject({ version: z.string() }),
  'status-check': z.strictObject({
    code: z.union([z.literal(0), z.literal(1), z.literal(2), z.literal(3)]),
    word: z.enum(['OK', 'WARNING', 'CRITICAL', 'FAILED']),
    devices: z.array(
      z.strictObject({
        name: z.string(),
        code: count,
        detail: z.string(),
        figures: z.nullable(z.strictObject({ moved: count, lost: count, spareUsedPercent: count })),
      }),
    ),
  }),
  monitor: z.strictObject({
    time: z.iso.datetime({ precision: 3 }),
    device: z.string(),
    uuid: z.union([z.uuid(), z.literal('')]),
    kind: z.string(),
    level: z.enum(['info', 'warn', 'error']),
    text: z.string(),
  }),
};

/** By the name of the example in docs/cli.md. */
export const jsonShapes: ReadonlyMap<string, z.ZodType> = new Map<string, z.ZodType>(Object.entries(shapes));

/** Fails the test, with the fields that are wrong, unless `text` has the shape. */
export function assertShape(shape: string, text: string): void {
  const parsed = jsonShapes.get(shape)?.safeParse(JSON.parse(text));
  if (parsed === undefined) throw new Error(`${shape}: no such shape`);
  if (!parsed.success) throw new Error(`${shape}: ${z.prettifyError(parsed.error)}\n${text}`);
}
