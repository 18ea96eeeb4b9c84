import type { Alert } from './alert.ts';

/** Lines of one mail; of more only the number is told. */
export const mailLinesMax = 100;
const subjectLengthMax = 120;
/** RFC 5322 section 2.1.1: 998 characters of a line; ours count bytes, and leave room for the rest of the line. */
const lineBytesMax = 900;

export interface Mail {
  readonly to: readonly string[];
  readonly hostName: string;
  readonly alerts: readonly Alert[];
  readonly omitted: number;
  readonly unixMs: number;
}

/** A message as sendmail takes it (RFC 5322): header, empty line, body. */
export function mailText(mail: Mail): string {
  const { to, alerts, unixMs } = mail;
  const header = [
    `To: ${to.join(', ')}`,
    `Subject: ${subject(mail)}`,
    `Date: ${new Date(unixMs).toUTCString().replace('GMT', '+0000')}`,
    // RFC 3834: no holiday answers, please.
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
  ];
  const devices = [...new Set(alerts.map(({ device }) => device))];
  const shown = alerts.slice(0, mailLinesMax);
  const omitted = mail.omitted + alerts.length - shown.length;
  const body = [
    `This is dm-remap monitor on ${mail.hostName}.`,
    ...devices.flatMap((device) => deviceLines(device, shown)),
    ...(omitted === 0 ? [] : ['', `And ${omitted} more: dm-remap events`]),
    '',
    'How things stand now: dm-remap status',
    '',
  ];
  return `${header.join('\n')}\n\n${body.join('\n')}`;
}

function deviceLines(device: string, alerts: readonly Alert[]): readonly string[] {
  const lines = alerts
    .filter((alert) => alert.device === device)
    .map(({ unixMs, level, text }) => cut(`  ${new Date(unixMs).toISOString()} ${level.padEnd(5)} ${text}`));
  return lines.length === 0 ? [] : ['', `${device}:`, ...lines];
}

/** The worst of them: a person decides by it whether to get up. Printable ASCII, so that it needs no encoding (RFC 2047). */
function subject({ hostName, alerts, omitted }: Mail): string {
  const worst = alerts.find(({ level }) => level === 'error') ?? alerts[0];
  const more = alerts.length - 1 + omitted;
  const text = worst === undefined ? 'alerts' : `${worst.device}: ${worst.text}`;
  const tail = more > 0 ? ` (and ${more} more)` : '';
  const head = `dm-remap on ${hostName}: ${text}`.replace(/[^ -~]+/g, '?');
  return `${head.length > subjectLengthMax ? `${head.slice(0, subjectLengthMax)}...` : head}${tail}`;
}

function cut(line: string): string {
  if (Buffer.byteLength(line) <= lineBytesMax) return line;
  return `${line.slice(0, lineBytesMax / 4)}…`;
}
