import { dayOf } from './event-ledger.ts';
import {
  type SmartCounter,
  type SmartCounts,
  type SmartReading,
  smartCounterNames,
} from './smart-reading.ts';

/** What is kept of each disk: its counts at the first reading of a day. */
export const historyDaysMax = 35;
/** Counts that grew within so many days are recent. */
export const recentDays = 7;

export interface SmartDay {
  /** Days since 1970-01-01 UTC. */
  readonly day: number;
  readonly counters: SmartCounts;
}

/** One disk over time. */
export interface SmartHistory {
  readonly last: SmartReading;
  /** Ascending, at most `historyDaysMax`. */
  readonly days: readonly SmartDay[];
}

/** Another disk in the same place has a history of its own. */
export function withReading(history: SmartHistory | undefined, reading: SmartReading): SmartHistory {
  const isSame = history?.last.serial === reading.serial && history.last.model === reading.model;
  const days = isSame ? history.days : [];
  const day = dayOf(reading.unixSeconds * 1000);
  if (days.at(-1)?.day === day) return { last: reading, days };
  const first = { day, counters: reading.counters };
  return { last: reading, days: [...days.filter((one) => one.day < day), first].slice(-historyDaysMax) };
}

/** How much each count has grown within `recentDays`, or since the first reading where that is later. */
export function recentIncreases({ last, days }: SmartHistory): SmartCounts {
  const since = dayOf(last.unixSeconds * 1000) - recentDays;
  const before = days.findLast(({ day }) => day <= since) ?? days[0];
  if (before === undefined) return {};
  const grown: Partial<Record<SmartCounter, number>> = {};
  for (const name of smartCounterNames) {
    const now = last.counters[name];
    const then = before.counters[name];
    if (now !== undefined && then !== undefined) grown[name] = Math.max(0, now - then);
  }
  return grown;
}
