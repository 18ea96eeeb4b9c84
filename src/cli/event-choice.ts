import { eventKinds } from '../device/event-text.ts';
import type { StoredEvent } from '../device/log/event-record.ts';
import { SetupError } from '../device/setup-error.ts';

/** Options of `events`, as commander gives them. */
export interface EventFlags {
  readonly follow?: boolean;
  readonly since?: string;
  readonly kind?: readonly string[];
  readonly last?: string;
  readonly file?: string;
  readonly json?: boolean;
}

/** Which events are asked for. */
export interface EventChoice {
  readonly chosen: (event: StoredEvent) => boolean;
  /** Of those, only so many of the last; undefined for all. */
  readonly lastCount: number | undefined;
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Throws `SetupError` usage. */
export function eventChoice(flags: EventFlags, nowUnixMs: number): EventChoice {
  const sinceMs = flags.since === undefined ? Number.NEGATIVE_INFINITY : timeOf(flags.since, nowUnixMs);
  const kinds = flags.kind === undefined ? undefined : new Set(flags.kind);
  for (const kind of kinds ?? []) refuseKind(kind);
  return {
    chosen: ({ unixMs, kind }) => unixMs >= sinceMs && (kinds === undefined || kinds.has(kind)),
    lastCount: flags.last === undefined ? undefined : countOf(flags.last),
  };
}

function timeOf(text: string, nowUnixMs: number): number {
  const ago = /^(\d{1,9})([smhd])$/.exec(text);
  if (ago !== null) return nowUnixMs - Number(ago[1]) * unitMs[ago[2]!]!;
  const match = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,3})?)?Z?)?$/.exec(text);
  if (match !== null) {
    const unixMs = Date.parse(`${match[1]}T${match[2] ?? '00:00'}${match[3] ?? ':00'}Z`);
    if (!Number.isNaN(unixMs)) return unixMs;
  }
  throw new SetupError(
    'usage',
    `--since ${text}: expected a time in UTC like 2026-01-31 or 2026-01-31T14:05:00Z, or 90s, 30m, 12h, 7d`,
  );
}

function refuseKind(kind: string): void {
  // One that only a later program knows may still be in a file.
  if (/^[a-z][a-z-]{0,63}$/.test(kind) && eventKinds.some((known) => known === kind)) return;
  throw new SetupError('usage', `--kind ${kind}: expected one of ${eventKinds.join(', ')}`);
}

function countOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new SetupError('usage', `-n ${text}: expected how many events, a whole number`);
}
