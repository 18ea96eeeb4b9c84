import * as z from 'zod/mini';
import type { SmartState } from '../../health/health-status.ts';
import type { SmartCounter, SmartCounts, SmartReading } from '../../health/smart-reading.ts';
import type { SmartctlEnd } from './smartctl.ts';

/** The disk is not woken for it: one that sleeps is left alone. */
export const readWords: readonly string[] = [
  '--json=c',
  '--nocheck=standby',
  '--info',
  '--health',
  '--attributes',
  '--log=error',
];

/** What asking a disk gave. */
export interface SmartAnswer {
  readonly state: SmartState;
  /** One clause; empty with a reading. */
  readonly detail: string;
  readonly reading: SmartReading | undefined;
}

/** Bits of the exit status, smartctl(8). */
const exitBits = { failing: 1 << 3, belowThreshold: 1 << 4 } as const;
/** Bits of critical warning: NVM Express 1.4, 5.14.1.2, figure 194. */
const warningBits = { spareBlocks: 1, hot: 2, degraded: 4, readOnly: 8, backup: 16 } as const;

const count = z.number();
const errorLog = z.optional(z.object({ total_uncorrected_errors: z.optional(count) }));

/** What is looked at of smartctl's JSON, version 1.0; everything may be missing, and nothing may be something else. */
const smartOutput = z.object({
  smartctl: z.object({
    exit_status: z.int(),
    messages: z.optional(z.array(z.object({ string: z.string(), severity: z.optional(z.string()) }))),
  }),
  model_name: z.optional(z.string()),
  scsi_model_name: z.optional(z.string()),
  serial_number: z.optional(z.string()),
  smart_status: z.optional(z.object({ passed: z.optional(z.boolean()) })),
  ata_smart_attributes: z.optional(
    z.object({
      table: z.array(z.object({ id: z.int(), raw: z.object({ value: count, string: z.string() }) })),
    }),
  ),
  scsi_grown_defect_list: z.optional(count),
  scsi_error_counter_log: z.optional(z.object({ read: errorLog, write: errorLog, verify: errorLog })),
  nvme_smart_health_information_log: z.optional(
    z.object({
      critical_warning: z.int(),
      available_spare: z.optional(count),
      percentage_used: z.optional(count),
      media_errors: z.optional(count),
      unsafe_shutdowns: z.optional(count),
    }),
  ),
});
type SmartOutput = z.infer<typeof smartOutput>;

/** What `smartctl` with `readWords` said. Never throws, whatever it printed. */
export function smartAnswer(end: SmartctlEnd, unixSeconds: number): SmartAnswer {
  if (end.kind === 'not-installed')
    return nothing('not-installed', 'smartctl is not installed (smartmontools)');
  if (end.kind === 'no-answer') return nothing('no-answer', end.why);
  const parsed = smartOutput.safeParse(parseJson(end.output));
  if (!parsed.success) return nothing('no-answer', 'what smartctl printed is not what it prints of a disk');
  const output = parsed.data;
  const counters = countersOf(output);
  if (counters !== undefined) {
    return { state: 'read', detail: '', reading: readingOf(output, counters, unixSeconds) };
  }
  const messages = output.smartctl.messages?.map(({ string }) => string) ?? [];
  if (messages.some((text) => sleeping.test(text))) return nothing('asleep', 'asleep, and not woken');
  return nothing('not-supported', firstOf(messages) ?? 'has no SMART, or smartctl cannot reach it');
}

/** `Device is in STANDBY mode, exit(2)`, also of SLEEP, and as SAS disks say it. */
const sleeping = /^device is in\s+(standby|sleep)/i;

function nothing(state: SmartState, detail: string): SmartAnswer {
  return { state, detail, reading: undefined };
}

/** Characters of what a program says about a disk, in a line of ours. */
const detailLengthMax = 200;

function firstOf(messages: readonly string[]): string | undefined {
  return messages[0]?.slice(0, detailLengthMax);
}

function readingOf(output: SmartOutput, counters: SmartCounts, unixSeconds: number): SmartReading {
  const { nvme_smart_health_information_log: nvme, smart_status: status, smartctl } = output;
  const warning = nvme?.critical_warning ?? 0;
  const has = (...bits: readonly number[]): boolean => bits.some((bit) => (warning & bit) !== 0);
  const exit = smartctl.exit_status;
  return {
    model: (output.model_name ?? output.scsi_model_name ?? '').slice(0, detailLengthMax),
    serial: (output.serial_number ?? '').slice(0, detailLengthMax),
    unixSeconds,
    // NVMe disks "fail" by being warm, too: of them the bits are looked at.
    failing:
      nvme === undefined
        ? status?.passed === false || (exit & exitBits.failing) !== 0
        : has(warningBits.degraded, warningBits.readOnly),
    belowThreshold:
      nvme === undefined
        ? (exit & exitBits.belowThreshold) !== 0
        : has(warningBits.spareBlocks, warningBits.backup),
    hot: has(warningBits.hot),
    counters,
  };
}

const attributes: readonly (readonly [id: number, counter: SmartCounter])[] = [
  [5, 'reallocatedSectors'],
  [187, 'reportedUncorrectable'],
  [188, 'commandTimeouts'],
  [197, 'pendingSectors'],
  [198, 'offlineUncorrectable'],
  [199, 'linkErrors'],
];

/** Undefined for an output without any of them. */
function countersOf(output: SmartOutput): SmartCounts | undefined {
  const { nvme_smart_health_information_log: nvme, ata_smart_attributes: ata } = output;
  const { scsi_error_counter_log: errors, scsi_grown_defect_list: grown } = output;
  const counters = {
    ...(ata === undefined ? {} : ataCounters(ata.table)),
    ...present({
      reallocatedSectors: grown,
      mediaErrors: errors === undefined ? undefined : uncorrectedOf(errors),
    }),
    ...present({
      mediaErrors: nvme?.media_errors,
      wearPercent: nvme?.percentage_used,
      unsafeShutdowns: nvme?.unsafe_shutdowns,
      spareBlocksUsedPercent: nvme?.available_spare === undefined ? undefined : 100 - nvme.available_spare,
    }),
  };
  return Object.keys(counters).length === 0 ? undefined : counters;
}

function ataCounters(
  table: readonly {
    readonly id: number;
    readonly raw: { readonly value: number; readonly string: string };
  }[],
): SmartCounts {
  const of = (wanted: number): number | undefined => {
    const raw = table.find(({ id }) => id === wanted)?.raw;
    if (raw === undefined) return undefined;
    // Three counts of 16 bits of Seagate's, slow and very slow ones shown before all of them: `0 1 2`.
    if (wanted === 188) return raw.value % 0x1_0000;
    // Behind it there may be other counts, in words as in bits: `8 (0 3)`.
    const shown = /^\d+/.exec(raw.string);
    return shown === null ? raw.value : Number(shown[0]);
  };
  return present(Object.fromEntries(attributes.map(([id, counter]) => [counter, of(id)])));
}

function uncorrectedOf(log: NonNullable<SmartOutput['scsi_error_counter_log']>): number {
  return [log.read, log.write, log.verify].reduce(
    (sum, one) => sum + (one?.total_uncorrected_errors ?? 0),
    0,
  );
}

/** Only whole counts that JSON carries exactly. */
function present(counts: Partial<Record<SmartCounter, number | undefined>>): SmartCounts {
  return Object.fromEntries(
    Object.entries(counts).filter(
      ([, value]) => value !== undefined && Number.isSafeInteger(value) && value >= 0,
    ),
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
