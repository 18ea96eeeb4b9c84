/**
 * What the event log says, day by day: how fast errors come, and what failed again. Kept when the log has long begun anew.
 */

/** An event as its log has it; of `fields` only what is looked at here is trusted to be there. */
export interface LedgerEvent {
  readonly sequence: number;
  readonly unixMs: number;
  readonly kind: string;
  readonly fields: LedgerFields;
}

export interface LedgerFields {
  readonly sectors?: unknown;
  readonly firstSector?: unknown;
  readonly lastSector?: unknown;
  readonly causes?: unknown;
  readonly slots?: unknown;
  readonly granules?: unknown;
  readonly disk?: unknown;
}

/** One day, UTC. Sectors are 512 bytes. */
export interface LedgerDay {
  /** Days since 1970-01-01. */
  readonly day: number;
  /** Sectors of main that proved bad: moved, saved, or found unreadable. */
  readonly badSectors: number;
  /** Of them, sectors that had proved good since they were bad before. */
  readonly failedAgain: number;
  /** Slots of the spare that proved bad. */
  readonly slotsRetired: number;
  readonly mainPathLosses: number;
  readonly sparePathLosses: number;
  /** Requests that were stuck, each time that there were any (I22). */
  readonly stuck: number;
  /** Blocks of main that a scrub found slow, twice. */
  readonly slowBlocks: number;
}

/** Sectors, both included. */
export interface LedgerSpan {
  readonly first: number;
  readonly last: number;
  readonly day: number;
}

export interface EventLedger {
  /** Of the last event in it; 0 for none. */
  readonly sequence: number;
  /** When that was. A log that lost its end, or began anew, goes on with lower numbers at a later time. */
  readonly unixMs: number;
  /** Ascending, only days on which something happened, at most `ledgerDaysMax`. */
  readonly days: readonly LedgerDay[];
  /** Went home to main behind a verified write; the latest `ledgerSpansMax`. */
  readonly home: readonly LedgerSpan[];
  /** Were found unreadable; the latest `ledgerSpansMax`. */
  readonly unreadable: readonly LedgerSpan[];
}

export const ledgerDaysMax = 90;
export const ledgerSpansMax = 128;

export const emptyLedger: EventLedger = { sequence: 0, unixMs: 0, days: [], home: [], unreadable: [] };

const dayMs = 86_400_000;

export function dayOf(unixMs: number): number {
  return Math.floor(unixMs / dayMs);
}

/** With events in the order of their log; those that are in it already count once. */
export function withEvents(ledger: EventLedger, events: readonly LedgerEvent[]): EventLedger {
  return events.reduce(withEvent, ledger);
}

function withEvent(ledger: EventLedger, event: LedgerEvent): EventLedger {
  const { sequence, unixMs } = event;
  if (sequence <= ledger.sequence && unixMs <= ledger.unixMs) return ledger;
  const day = dayOf(unixMs);
  const counted = countsOf(ledger, event);
  const days = counted === undefined ? ledger.days : withDay(ledger.days, day, counted);
  const span = exactSpan(event, day);
  if (span === undefined) return { ...ledger, sequence, unixMs, days };
  const add = (spans: readonly LedgerSpan[]): readonly LedgerSpan[] =>
    [...spans, span].slice(-ledgerSpansMax);
  return {
    sequence,
    unixMs,
    days,
    home: event.kind === 'taken-home' ? add(ledger.home) : ledger.home,
    unreadable: event.kind === 'unreadable' ? add(ledger.unreadable) : ledger.unreadable,
  };
}

type Counts = Partial<Omit<LedgerDay, 'day'>>;

/** What one event adds to its day; undefined for one that is not about the disks. */
function countsOf(ledger: EventLedger, event: LedgerEvent): Counts | undefined {
  const { kind, fields } = event;
  switch (kind) {
    case 'remapped':
      return bad(badSectorsOf(fields), event, ledger.home);
    case 'saved-by-salvage':
      return bad(numberOf(fields.sectors), event, ledger.home);
    case 'unreadable':
      return bad(numberOf(fields.sectors), event, [...ledger.home, ...ledger.unreadable]);
    case 'slot-retired':
      return { slotsRetired: numberOf(fields.slots) };
    case 'path-lost':
      // One of several spares is `spare-1` and so on.
      return String(fields.disk).startsWith('spare') ? { sparePathLosses: 1 } : { mainPathLosses: 1 };
    case 'stuck-requests':
      return { stuck: 1 };
    case 'slow-blocks':
      return { slowBlocks: numberOf(fields.granules) };
    default:
      return undefined;
  }
}

function bad(badSectors: number, event: LedgerEvent, before: readonly LedgerSpan[]): Counts {
  const span = exactSpan(event, 0);
  if (span === undefined || badSectors === 0) return { badSectors };
  const overlaps = before.map(
    ({ first, last }) => Math.min(last, span.last) - Math.max(first, span.first) + 1,
  );
  return { badSectors, failedAgain: Math.min(badSectors, Math.max(0, ...overlaps)) };
}

/** What an operator moves is not bad for that. */
function badSectorsOf({ sectors, causes }: LedgerFields): number {
  if (typeof causes !== 'object' || causes === null) return numberOf(sectors);
  const counts = Object.entries(causes).map(([cause, count]) => ({ cause, count: numberOf(count) }));
  const all = counts.reduce((sum, { count }) => sum + count, 0);
  const failed = counts.reduce((sum, { cause, count }) => (cause === 'operator' ? sum : sum + count), 0);
  return all === 0 ? numberOf(sectors) : Math.ceil((numberOf(sectors) * failed) / all);
}

/** Undefined where an event stands for some sectors within a span, and not for all of them: nobody can say which. */
function exactSpan({ fields }: LedgerEvent, day: number): LedgerSpan | undefined {
  const [first, last] = [numberOf(fields.firstSector), numberOf(fields.lastSector)];
  return last - first + 1 === numberOf(fields.sectors) ? { first, last, day } : undefined;
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

const noDay: Omit<LedgerDay, 'day'> = {
  badSectors: 0,
  failedAgain: 0,
  slotsRetired: 0,
  mainPathLosses: 0,
  sparePathLosses: 0,
  stuck: 0,
  slowBlocks: 0,
};

function sumOf(one: Omit<LedgerDay, 'day'>, other: Counts): Omit<LedgerDay, 'day'> {
  return {
    badSectors: one.badSectors + (other.badSectors ?? 0),
    failedAgain: one.failedAgain + (other.failedAgain ?? 0),
    slotsRetired: one.slotsRetired + (other.slotsRetired ?? 0),
    mainPathLosses: one.mainPathLosses + (other.mainPathLosses ?? 0),
    sparePathLosses: one.sparePathLosses + (other.sparePathLosses ?? 0),
    stuck: one.stuck + (other.stuck ?? 0),
    slowBlocks: one.slowBlocks + (other.slowBlocks ?? 0),
  };
}

/** A clock that was set back makes an earlier day, once more at its place. */
function withDay(days: readonly LedgerDay[], day: number, counts: Counts): readonly LedgerDay[] {
  const before = days.find((one) => one.day === day);
  const changed = { day, ...sumOf(before ?? noDay, counts) };
  const others = days.filter((one) => one.day !== day);
  return [...others, changed].sort((a, b) => a.day - b.day).slice(-ledgerDaysMax);
}

/** How fast errors come. */
export interface Growth {
  readonly badSectorsLastDay: number;
  readonly badSectorsLastWeek: number;
  readonly badSectorsWeekBefore: number;
  /** Within 30 days. */
  readonly failedAgain: number;
  readonly slotsRetiredLastWeek: number;
  readonly mainPathLossesLastWeek: number;
  readonly sparePathLossesLastWeek: number;
  readonly stuckLastWeek: number;
  /** Within 30 days: a disk is scrubbed once in some weeks. */
  readonly slowBlocks: number;
}

/** Days are whole days UTC; today is the last of them, however young. */
export function growthOf({ days }: EventLedger, nowUnixMs: number): Growth {
  const today = dayOf(nowUnixMs);
  const within = (from: number, to: number): Omit<LedgerDay, 'day'> =>
    days.filter(({ day }) => day > today - to && day <= today - from).reduce(sumOf, noDay);
  const week = within(0, 7);
  const month = within(0, 30);
  return {
    badSectorsLastDay: within(0, 1).badSectors,
    badSectorsLastWeek: week.badSectors,
    badSectorsWeekBefore: within(7, 14).badSectors,
    failedAgain: month.failedAgain,
    slotsRetiredLastWeek: week.slotsRetired,
    mainPathLossesLastWeek: week.mainPathLosses,
    sparePathLossesLastWeek: week.sparePathLosses,
    stuckLastWeek: week.stuck,
    slowBlocks: month.slowBlocks,
  };
}
