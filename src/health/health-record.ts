import {
  type EventLedger,
  emptyLedger,
  type LedgerDay,
  type LedgerSpan,
  ledgerDaysMax,
  ledgerSpansMax,
} from './event-ledger.ts';
import type { DiskRole } from './health-facts.ts';
import { historyDaysMax, type SmartDay, type SmartHistory, withReading } from './smart-history.ts';
import { type SmartCounts, type SmartReading, smartCounterNames } from './smart-reading.ts';

/** What a host keeps of a device's health, as JSON of at most `recordBytesMax`: without it every alert would start anew. */
export interface HealthRecord {
  /** The score that operators were last told; null before the first. */
  readonly toldScore: number | null;
  readonly ledger: EventLedger;
  /** By what `diskKey` says; the latest `recordDisksMax`. */
  readonly disks: readonly KeptDisk[];
}

export interface KeptDisk {
  readonly key: string;
  readonly history: SmartHistory;
}

export const recordVersion = 1;
/** Disks of one device, and some that it had before. */
export const recordDisksMax = 8;
/** 90 days, 256 spans and 8 disks of 35 days are about 120 KB. */
export const recordBytesMax = 262_144;

export const emptyRecord: HealthRecord = { toldScore: null, ledger: emptyLedger, disks: [] };

/** A disk is known again by what the kernel says of it, also while it sleeps; else by its place. */
export function diskKey(
  role: DiskRole,
  { wwn, serial }: { readonly wwn: string; readonly serial: string },
  device: string,
): string {
  return `${role} ${wwn || serial || device}`;
}

export function historyOf(record: HealthRecord, key: string): SmartHistory | undefined {
  return record.disks.find((disk) => disk.key === key)?.history;
}

export function keepReading(record: HealthRecord, key: string, reading: SmartReading): HealthRecord {
  const kept = { key, history: withReading(historyOf(record, key), reading) };
  const others = record.disks.filter((disk) => disk.key !== key);
  return { ...record, disks: [...others, kept].slice(-recordDisksMax) };
}

export function encodeRecord(record: HealthRecord): string {
  return `${JSON.stringify({ version: recordVersion, ...record })}\n`;
}

/** Undefined for anything that is not a whole record of this version. */
export function decodeRecord(text: string): HealthRecord | undefined {
  const value = objectOf(parseJson(text));
  if (value?.version !== recordVersion) return undefined;
  const ledger = ledgerOf(value.ledger);
  const disks = listOf(value.disks, diskOf, recordDisksMax);
  const { toldScore } = value;
  if (ledger === undefined || disks === undefined) return undefined;
  if (toldScore !== null && !isCount(toldScore)) return undefined;
  return { toldScore, ledger, disks };
}

/** What may be in any object of a record; anything else in it is skipped. */
type FieldName =
  | 'version'
  | 'ledger'
  | 'history'
  | keyof HealthRecord
  | keyof EventLedger
  | keyof LedgerDay
  | keyof LedgerSpan
  | keyof KeptDisk
  | keyof SmartHistory
  | keyof SmartReading
  | keyof SmartCounts;
type Fields = { readonly [name in FieldName]?: unknown };

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** Undefined unless every element is one, and there are no more than `lengthMax`. */
function listOf<T>(
  value: unknown,
  elementOf: (value: Fields) => T | undefined,
  lengthMax: number,
): readonly T[] | undefined {
  if (!Array.isArray(value) || value.length > lengthMax) return undefined;
  const elements: T[] = [];
  for (const one of value) {
    const fields = objectOf(one);
    const element = fields === undefined ? undefined : elementOf(fields);
    if (element === undefined) return undefined;
    elements.push(element);
  }
  return elements;
}

function ledgerOf(value: unknown): EventLedger | undefined {
  const fields = objectOf(value);
  if (fields === undefined) return undefined;
  const days = listOf(fields.days, dayOf, ledgerDaysMax);
  const home = listOf(fields.home, spanOf, ledgerSpansMax);
  const unreadable = listOf(fields.unreadable, spanOf, ledgerSpansMax);
  const { sequence, unixMs } = fields;
  if (days === undefined || home === undefined || unreadable === undefined) return undefined;
  return isCount(sequence) && isCount(unixMs) ? { sequence, unixMs, days, home, unreadable } : undefined;
}

function dayOf(fields: Fields): LedgerDay | undefined {
  const { day, badSectors, failedAgain, slotsRetired, mainPathLosses, sparePathLosses, stuck, slowBlocks } =
    fields;
  if (!isCount(day) || !isCount(badSectors) || !isCount(failedAgain) || !isCount(slotsRetired))
    return undefined;
  if (!isCount(mainPathLosses) || !isCount(sparePathLosses) || !isCount(stuck)) return undefined;
  if (!isCount(slowBlocks)) return undefined;
  return { day, badSectors, failedAgain, slotsRetired, mainPathLosses, sparePathLosses, stuck, slowBlocks };
}

function spanOf({ first, last, day }: Fields): LedgerSpan | undefined {
  return isCount(first) && isCount(last) && isCount(day) ? { first, last, day } : undefined;
}

function diskOf({ key, history }: Fields): KeptDisk | undefined {
  const fields = objectOf(history);
  const last = readingOf(fields?.last);
  const days = listOf(fields?.days, smartDayOf, historyDaysMax);
  if (typeof key !== 'string' || last === undefined || days === undefined) return undefined;
  return { key, history: { last, days } };
}

function readingOf(value: unknown): SmartReading | undefined {
  const fields = objectOf(value);
  if (fields === undefined) return undefined;
  const { model, serial, unixSeconds, failing, belowThreshold, hot } = fields;
  const counters = countersOf(fields.counters);
  if (typeof model !== 'string' || typeof serial !== 'string' || !isCount(unixSeconds)) return undefined;
  if (typeof failing !== 'boolean' || typeof belowThreshold !== 'boolean' || typeof hot !== 'boolean')
    return undefined;
  return counters === undefined
    ? undefined
    : { model, serial, unixSeconds, failing, belowThreshold, hot, counters };
}

function smartDayOf({ day, counters }: Fields): SmartDay | undefined {
  const counts = countersOf(counters);
  return isCount(day) && counts !== undefined ? { day, counters: counts } : undefined;
}

/** Names that only a later program knows are left out. */
function countersOf(value: unknown): SmartCounts | undefined {
  const fields = objectOf(value);
  if (fields === undefined) return undefined;
  const known = smartCounterNames.map((name) => [name, fields[name]] as const);
  return Object.fromEntries(known.filter(([, count]) => isCount(count)));
}
