import type { DeviceStatus } from '../../device/messages.ts';
import { statusCsvHead, statusCsvLine } from './status-csv.ts';
import { statusLine, statusText } from './status-text.ts';

/** At most one of them; none is for people. */
export interface StatusForm {
  readonly json?: boolean;
  readonly line?: boolean;
  readonly csv?: boolean;
}

/** As text, but for JSON. With `single` lines do not name the device: the reader has. */
export function statusForm(statuses: readonly DeviceStatus[], options: StatusForm, single: boolean): string {
  if (options.csv === true) {
    return [statusCsvHead(false), ...statuses.map((status) => statusCsvLine(status))].join('\n');
  }
  if (options.line !== true) return statuses.map(statusText).join('\n\n');
  return statuses
    .map((status) => (single ? statusLine(status) : `${status.name}: ${statusLine(status)}`))
    .join('\n');
}
