import type { StoredEvent } from '../../device/log/event-record.ts';
import { oneLine } from '../../device/setup-error.ts';
import { storedEventText } from '../text/event-line.ts';

/** Something that somebody should hear of. */
export interface Alert {
  /** Where it was read, for `AlertPosition`. */
  readonly source: string;
  readonly sequence: number;
  /** Orders what comes from one source, with `sequence`: of an event its time. */
  readonly orderMs: number;
  /** When it happened, or was seen. */
  readonly unixMs: number;
  readonly device: string;
  readonly uuid: string;
  /** An event's kind, `process-died` or `test`. */
  readonly kind: string;
  readonly level: string;
  /** One line. */
  readonly text: string;
}

/** About clients and operators, not about disks: whoever reaches a socket could make us send mail. */
const notAlerted: ReadonlySet<string> = new Set([
  'protocol-error',
  'control-denied',
  'client-connected',
  'client-disconnected',
  'message',
]);

/** No warnings, but the ends of troubles that were told. */
const recoveries: ReadonlySet<string> = new Set([
  'path-back',
  'state-changed',
  'stuck-ended',
  'spare-replaced',
]);

/** Undefined for what is only worth a line in the log. What a later program stored goes by its level. */
export function alertOf(source: string, event: StoredEvent): Alert | undefined {
  const { kind, level, sequence, unixMs, device, uuid } = event;
  // Of what was too much for the log, its number is told too.
  const about = kind === 'suppressed' ? String(event.fields['of']) : kind;
  const isTrouble = (level === 'warn' || level === 'error') && !notAlerted.has(about);
  if (!isTrouble && !recoveries.has(kind)) return undefined;
  return {
    source,
    sequence,
    orderMs: unixMs,
    unixMs,
    device,
    uuid,
    kind,
    level,
    text: oneLine(storedEventText(event)),
  };
}
