import type { ScrubEvent } from '../scrub/scrub-event.ts';
import type { DiskRequests, HealthChange, SmartIncreased, StepOutcome, WaitingRequest } from './messages.ts';

/** Sectors are 512 bytes, numbered from the start of main; for `slot-retired` from the start of the spare. */
export interface SectorSpan {
  /** How many, all within the span and not necessarily all of it. */
  readonly sectors: number;
  readonly firstSector: number;
  readonly lastSector: number;
}

/** Granules that went somewhere. One event may stand for all of a window: a storm is some lines, not one for each. */
export interface GranuleSpan extends SectorSpan {
  readonly granules: number;
}

/** What the scrub room tells of one kind. */
type EndedScrubFields = Omit<Extract<ScrubEvent, { readonly seconds: number }>, 'kind'>;
type ScrubFields<K extends ScrubEvent['kind']> = Omit<Extract<ScrubEvent, { readonly kind: K }>, 'kind'>;

/** No more than the kind says. */
export type NoFields = Readonly<Record<never, never>>;

/**
 * Everything that can happen to a device and is worth a line, with what is said of it. Closed: a new kind is added here, and
 * in `event-text.ts`, where the compiler asks for its level and its words. The names are what the event log stores, for ever.
 */
export interface EventFields {
  /** Clients can connect. `notes`: whole sentences about what was found. */
  readonly serving: {
    readonly version: string;
    readonly engine: string;
    /** Why, where it was not asked for. */
    readonly engineReason: string;
    readonly exports: readonly string[];
    readonly notes: readonly string[];
  };
  readonly 'start-failed': { readonly reason: string };
  readonly suspended: { readonly flush: boolean };
  readonly resumed: NoFields;
  /** `by`: the control API or a signal. */
  readonly removing: { readonly by: string };
  /** `leftBehind`: what disks had not answered (R3). */
  readonly removed: {
    readonly clean: boolean;
    readonly steps: readonly StepOutcome[];
    readonly leftBehind: readonly DiskRequests[];
  };
  /** Found at the start: the last session was killed or lost its power. With what the table then held. */
  readonly 'unclean-end': {
    readonly remappedGranules: number;
    readonly unreadableSectors: number;
    readonly goneSectors: number;
  };
  /** M11: the spare was somebody's. */
  readonly 'took-over': { readonly from: string };
  /** M11: somebody else has the spare now; writes are refused. */
  readonly 'spare-taken': { readonly detail: string };
  /** Moved to the spare, by cause: `writeError`, `operator`, … */
  readonly remapped: GranuleSpan & { readonly causes: Readonly<Record<string, number>> };
  /** Moved to the spare because main gave the bytes only when asked again (R17, R18). */
  readonly 'saved-by-salvage': GranuleSpan;
  readonly 'taken-home': GranuleSpan;
  /** Main cannot read them, and only main has them (R4). */
  readonly unreadable: SectorSpan;
  /** The last acknowledged bytes are lost (R4). */
  readonly gone: SectorSpan;
  /** Sectors that were lost and hold bytes again: written, saved, or made zeroes. */
  readonly 'lost-cleared': SectorSpan;
  readonly 'slot-retired': SectorSpan & { readonly slots: number };
  /** As much of the spare is used as people are warned of: 80 and 90 percent, each once until it is well below again. */
  readonly 'spare-filling': {
    readonly percent: number;
    readonly slotsFree: number;
    readonly slotsTotal: number;
  };
  /** Another disk is to take the place of the spare. `giveUp`: the old one is lost. */
  readonly 'spare-replacing': { readonly path: string; readonly giveUp: boolean };
  /** It has. `oldWiped`: the old one has no superblock any more, and is an ordinary disk. */
  readonly 'spare-replaced': {
    readonly path: string;
    readonly from: string;
    /** That only the old one held, and did not give. */
    readonly goneSectors: number;
    readonly oldWiped: boolean;
  };
  /** One more spare; `badSlots` failed the check and are never used. */
  readonly 'spare-added': { readonly path: string; readonly slots: number; readonly badSlots: number };
  readonly 'spare-add-failed': { readonly path: string; readonly reason: string };
  /** What it holds is on its way to the others. */
  readonly 'spare-leaving': { readonly path: string; readonly giveUp: boolean };
  /** `goneSectors` only it held, and it did not give them. */
  readonly 'spare-removed': { readonly path: string; readonly goneSectors: number };
  /** What has not moved is there still. */
  readonly 'spare-remove-failed': { readonly path: string; readonly reason: string };
  /** The device was opened without it. */
  readonly 'spare-absent': { readonly path: string; readonly reason: string };
  readonly 'spare-replace-failed': { readonly path: string; readonly reason: string };
  /** Counts are of the whole pass, also of what was read before it was paused or the device opened again. */
  readonly 'scrub-started': ScrubFields<'scrub-started'>;
  readonly 'scrub-resumed': ScrubFields<'scrub-resumed'>;
  readonly 'scrub-paused': ScrubFields<'scrub-paused'>;
  readonly 'scrub-stopped': EndedScrubFields;
  readonly 'scrub-finished': EndedScrubFields;
  /** Main gave them twice only after much longer than usual. */
  readonly 'slow-blocks': ScrubFields<'slow-blocks'>;
  /** `RemapState` of before and now. */
  readonly 'state-changed': { readonly from: string; readonly to: string };
  readonly 'path-lost': { readonly disk: 'main' | 'spare'; readonly direction: 'read' | 'write' };
  readonly 'path-back': {
    readonly disk: 'main' | 'spare';
    readonly direction: 'read' | 'write';
    readonly awayMs: number;
  };
  /** An image file lost its end while it was served; nothing of it is read or written any more. */
  readonly 'file-cut': { readonly path: string; readonly hadBytes: number; readonly hasBytes: number };
  /** A disk takes no writes for want of room (R15): the file system of an image, or a thin volume, is full. `writes` since the last such event. */
  readonly 'no-room': { readonly disk: 'main' | 'spare'; readonly writes: number };
  readonly 'replica-lost': { readonly inSync: number; readonly total: number };
  /** At the start (`detail` says what was found), or while serving. */
  readonly 'replica-repaired': { readonly inSync: number; readonly total: number; readonly detail: string };
  /** The spare does not take the sign of life (M11). */
  readonly 'heartbeat-failed': NoFields;
  /** What the host remembers of the device cannot be written (M12, M13). */
  readonly 'host-state-failed': { readonly detail: string };
  readonly 'policy-changed': { readonly policy: string; readonly value: string };
  /** 100 is healthy. */
  readonly 'health-changed': HealthChange;
  readonly 'smart-increased': SmartIncreased;
  /** What an operator asked the device to do. `failure` is empty when it did. */
  readonly message: {
    readonly sector: number;
    readonly words: readonly string[];
    readonly failure: string;
  };
  readonly 'client-connected': { readonly peer: string; readonly open: number };
  readonly 'client-disconnected': { readonly peer: string; readonly open: number };
  /** A client broke the protocol or let a deadline pass; its connection was closed. */
  readonly 'protocol-error': { readonly detail: string };
  /** A process that may not use the control API tried to; `count` times since the last such event. */
  readonly 'control-denied': { readonly uid: number; readonly pid: number; readonly count: number };
  readonly 'control-restarted': { readonly reason: string; readonly restart: number };
  /** R35: the data thread did not turn for so long; nothing was served meanwhile. */
  readonly 'data-thread-stalled': { readonly forMs: number };
  /** I22: requests that have had no answer for too long; `phase` is the oldest one's. */
  readonly 'stuck-requests': {
    readonly count: number;
    readonly oldestAgeMs: number;
    readonly phase: string;
    readonly oldest: readonly WaitingRequest[];
  };
  /** I22: all that were stuck have their answers; the greatest age seen. */
  readonly 'stuck-ended': { readonly longestAgeMs: number };
  /** R35: the last line of a process that found a bug in itself. */
  readonly 'fail-stop': { readonly origin: string; readonly error: string; readonly stack: string };
  /** I11: events of one kind that were not stored, because there were too many of them. */
  readonly suppressed: { readonly of: EventKind; readonly count: number };
  /** Events that could not be stored: the disk under the log was full or did not answer. */
  readonly dropped: { readonly count: number; readonly reason: string };
}

export type EventKind = keyof EventFields;

/** One event, as whoever reports it says it; the log adds time, number, device and process. */
export type DeviceEvent = {
  readonly [K in EventKind]: { readonly kind: K } & EventFields[K];
}[EventKind];

/** Takes events; nobody who reports one waits for anything. */
export interface EventSink {
  append(event: DeviceEvent): void;
}
