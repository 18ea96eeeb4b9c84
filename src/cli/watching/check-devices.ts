import type { DeviceStatus } from '../../device/messages.ts';
import type { CheckMemory, Seen } from './check-memory.ts';
import type { Look } from './look-at-devices.ts';

/** Exit codes of `status --check`, for Nagios and its like; the worst of all devices counts. */
export const CheckCode = {
  healthy: 0,
  /** More was moved to the spare than at the last checks. */
  grew: 1,
  /** Sectors cannot be read. */
  lost: 2,
  /** It does not serve, or something of it does not work as a whole. */
  failed: 3,
} as const;
export type CheckCode = (typeof CheckCode)[keyof typeof CheckCode];

export interface Verdict {
  readonly name: string;
  readonly code: CheckCode;
  /** One clause. */
  readonly detail: string;
  /** Null where nobody could ask. */
  readonly figures: {
    readonly moved: number;
    readonly lost: number;
    readonly spareUsedPercent: number;
  } | null;
}

export interface CheckResult {
  readonly verdicts: readonly Verdict[];
  /** For the next check. */
  readonly memory: CheckMemory;
}

export interface CheckChoice {
  readonly nowUnixMs: number;
  /** For so long growth is told after it was seen last. */
  readonly grewForMs: number;
  /** What has grown is known: from here on only more of it counts. What is not there any more is forgotten. */
  readonly acknowledge: boolean;
  /** Only these; all, and those that were there, without any. */
  readonly names: readonly string[];
}

/** Judges what was seen, by what was seen before. */
export function checkDevices(look: Look, before: CheckMemory, choice: CheckChoice): CheckResult {
  const seen = look.answers.map((status) => [status, seenNow(status, before[status.name], choice)] as const);
  const present = new Set([...look.answers, ...look.silent].map(({ name }) => name));
  const missing = Object.keys(before).filter(
    (name) => !present.has(name) && (choice.names.length === 0 || choice.names.includes(name)),
  );
  const told = choice.acknowledge ? [] : missing;
  return {
    verdicts: [
      ...seen.map(([status, one]) => judged(status, one, choice)),
      ...look.silent.map(({ name, why }) => failed(name, why.replace(`${name}: `, ''))),
      ...told.map((name) => failed(name, 'was there at the last check and is not served any more')),
    ],
    memory: {
      ...Object.fromEntries(
        Object.entries(before).filter(([name]) => !choice.acknowledge || !missing.includes(name)),
      ),
      ...Object.fromEntries(seen.map(([{ name }, one]) => [name, one])),
    },
  };
}

function judged(status: DeviceStatus, seen: Seen, choice: CheckChoice): Verdict {
  const { name, state, remap } = status;
  const lost = remap.unreadableSectors + remap.goneSectors;
  const figures = { moved: seen.moved, lost, spareUsedPercent: remap.spareUsedPercent };
  const verdict = (code: CheckCode, detail: string): Verdict => ({ name, code, detail, figures });
  if (state !== 'serving') return verdict(CheckCode.failed, state);
  if (remap.state !== 'ok') return verdict(CheckCode.failed, remap.state);
  if (lost > 0) {
    const { unreadableSectors, goneSectors } = remap;
    return verdict(CheckCode.lost, `${unreadableSectors} sectors unreadable, ${goneSectors} gone`);
  }
  if (isGrown(seen, choice)) {
    const when = new Date(seen.grewUnixMs).toISOString().slice(0, 19);
    return verdict(CheckCode.grew, `${seen.moved} granules moved, ${seen.grewFrom} before, seen ${when}Z`);
  }
  return verdict(CheckCode.healthy, `${seen.moved} granules moved, nothing lost`);
}

function failed(name: string, detail: string): Verdict {
  return { name, code: CheckCode.failed, detail, figures: null };
}

/** A device that is seen first begins with what it has: that it is an old disk is no news. */
function seenNow({ uuid, remap }: DeviceStatus, before: Seen | undefined, choice: CheckChoice): Seen {
  const moved = remap.remappedGranules + remap.slotsRetired;
  if (before === undefined || before.uuid !== uuid) return { uuid, moved, grewUnixMs: 0, grewFrom: moved };
  const grown = isGrown(before, choice) && !choice.acknowledge;
  // Less than before, for blocks were taken home: more than this is growth again.
  const grewFrom = Math.min(moved, grown ? before.grewFrom : before.moved);
  if (choice.acknowledge) return { uuid, moved, grewUnixMs: 0, grewFrom: moved };
  if (moved > before.moved) return { uuid, moved, grewUnixMs: choice.nowUnixMs, grewFrom };
  return { uuid, moved, grewUnixMs: grown && moved > grewFrom ? before.grewUnixMs : 0, grewFrom };
}

function isGrown({ grewUnixMs }: Seen, { nowUnixMs, grewForMs }: CheckChoice): boolean {
  return grewUnixMs > 0 && nowUnixMs - grewUnixMs < grewForMs;
}
