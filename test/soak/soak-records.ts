import type { Percentiles } from './latency-histogram.ts';

/** A line of the run's file. `seconds` count from the start of the run. */
export type SoakRecord = SampleRecord | EventRecord | SessionRecord;

export interface SampleRecord {
  readonly kind: 'sample';
  readonly seconds: number;
  readonly session: number;
  /** Since the traffic of the session began. */
  readonly sessionSeconds: number;
  readonly residentBytes: number;
  readonly openFiles: number;
  readonly threads: number;
  readonly requestsInFlight: number;
  readonly reads: Percentiles;
  readonly writes: Percentiles;
  readonly remappedGranules: number;
  readonly slotsUsed: number;
  readonly slotsFree: number;
  readonly slotsRetired: number;
  readonly unreadableSectors: number;
  readonly goneSectors: number;
}

export const eventKinds = [
  'assemble',
  'kill',
  'remove',
  'outages',
  'bad-sectors',
  'suspend',
  'verify',
  'unremap',
  'replica-destroyed',
  'replica-rewritten',
  'verified',
] as const;
export type EventKind = (typeof eventKinds)[number];

export interface EventRecord {
  readonly kind: 'event';
  readonly seconds: number;
  readonly session: number;
  readonly event: EventKind;
  readonly detail: string;
}

/** What a session was at its end, when all requests had been answered; of a killed one the counters are from before. */
export interface SessionRecord {
  readonly kind: 'session';
  readonly seconds: number;
  readonly session: number;
  readonly end: 'kill' | 'remove';
  /** How long there was traffic. */
  readonly trafficSeconds: number;
  /** Live objects of all threads after a full collection of garbage, under load; and what the process then holds. */
  readonly collectedHeapBytes: number;
  readonly collectedResidentBytes: number;
  readonly writesAcknowledged: number;
  readonly readsChecked: number;
  readonly fioReads: number;
  readonly fioWrites: number;
  /** By EIO of a flush or FUA write while main may be away (R7). */
  readonly failedFlushesTold: number;
  readonly counters: Readonly<Record<string, number>>;
  readonly requestsLeft: number;
}
