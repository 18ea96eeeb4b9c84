import type { DeviceEvent } from '../event-kinds.ts';
import { eventLevel } from '../event-text.ts';

/**
 * One line of an event log: a JSON object, UTF-8, and a newline. Fields that every line has:
 *
 *     v         1, the version of this form
 *     sequence  1, 2, 3, … in one log, over restarts of the device too
 *     time      UTC, ISO 8601 with milliseconds: when it happened
 *     device    the name then; uuid names the device for ever
 *     uuid
 *     pid       of the process that served it
 *     level     info, warn or error
 *     kind      of `event-kinds.ts`; the fields of the kind follow
 */
export const eventFormat = 1;

/** Bytes of a line. No event of ours comes near; one that does (a reason as long as a book) is cut, and says so. */
export const eventLineBytesMax = 8_192;
/** Characters of one text in a line, and elements of one list, once a line would be too long. */
const cutTextLengthMax = 512;
const cutListLengthMax = 16;

/** Who says it. */
export interface EventOrigin {
  readonly device: string;
  readonly uuid: string;
  readonly pid: number;
}

/** An event as a log has it. */
export interface StoredEvent extends EventOrigin {
  readonly sequence: number;
  readonly unixMs: number;
  readonly level: string;
  /** An `EventKind`, or one that only a later program knows. */
  readonly kind: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The line, with its newline. */
export function encodeEvent(
  event: DeviceEvent,
  origin: EventOrigin,
  sequence: number,
  unixMs: number,
): string {
  const { kind, ...fields } = event;
  const head = {
    v: eventFormat,
    sequence,
    time: new Date(unixMs).toISOString(),
    device: origin.device,
    uuid: origin.uuid,
    pid: origin.pid,
    level: eventLevel(event),
    kind,
  };
  const line = `${JSON.stringify({ ...head, ...fields })}\n`;
  if (Buffer.byteLength(line) <= eventLineBytesMax) return line;
  const cut = `${JSON.stringify({ ...head, ...Object.fromEntries(Object.entries(fields).map(cutEntry)), cut: true })}\n`;
  return Buffer.byteLength(cut) <= eventLineBytesMax ? cut : `${JSON.stringify({ ...head, cut: true })}\n`;
}

/** What a line says; undefined for anything that is not a whole line of this form: a torn one, or zeroes of a power cut. */
export function parseEventLine(line: string): StoredEvent | undefined {
  const value = parseJson(line);
  if (typeof value !== 'object' || value === null) return undefined;
  const { v, sequence, time, device, uuid, pid, level, kind, ...fields } = value as Record<string, unknown>;
  const unixMs = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  if (v !== eventFormat || !Number.isSafeInteger(sequence) || Number.isNaN(unixMs)) return undefined;
  if (typeof device !== 'string' || typeof uuid !== 'string' || typeof pid !== 'number') return undefined;
  if (typeof level !== 'string' || typeof kind !== 'string') return undefined;
  return { sequence: Number(sequence), unixMs, device, uuid, pid, level, kind, fields };
}

function cutEntry([name, value]: [string, unknown]): [string, unknown] {
  return [name, cutValue(value)];
}

function cutValue(value: unknown): unknown {
  if (typeof value === 'string') return value.slice(0, cutTextLengthMax);
  if (Array.isArray(value)) return value.slice(0, cutListLengthMax).map(cutValue);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).slice(0, cutListLengthMax).map(cutEntry));
  }
  return value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The number of the last line that is whole; 0 without one. */
export function lastSequence(text: string): number {
  const lines = text.split('\n');
  for (let at = lines.length - 1; at >= 0; at -= 1) {
    const event = parseEventLine(lines[at]!);
    if (event !== undefined) return event.sequence;
  }
  return 0;
}
