import { eventText, isEventKind } from '../../device/event-text.ts';
import type { StoredEvent } from '../../device/log/event-record.ts';

/** `2026-01-31T14:05:00.123Z warn  old-disk: 3 granules …`: UTC, as the log has it. */
export function eventLine(event: StoredEvent): string {
  const time = new Date(event.unixMs).toISOString();
  return oneLine(`${time} ${event.level.padEnd(5)} ${event.device}: ${storedEventText(event)}`);
}

/** What it says, without time and name. */
export function storedEventText({ kind, fields }: StoredEvent): string {
  const cut = fields['cut'] === true ? ' (cut)' : '';
  if (isEventKind(kind)) {
    try {
      // What another version stored may lack a field.
      return `${eventText({ kind, ...fields })}${cut}`;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }
  return `${kind} ${JSON.stringify(fields)}`;
}

/** Clients, disks and operators choose some of the words; on a terminal nothing of them is a command, or a second line. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}
