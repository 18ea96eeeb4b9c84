import type { AttachmentKind } from '../../attach/attachment-record.ts';
import { SetupError } from '../../device/setup-error.ts';
import { type AttachChoices, attachDevice, attachText } from '../attach-device.ts';
import { printJson, type Terminal } from '../terminal.ts';

export interface AttachFlags {
  readonly readOnly?: boolean;
  readonly onDaemonLoss?: string;
  readonly driver?: string;
  readonly json?: boolean;
}

/** A day: whoever waits longer for a process waits for nothing. */
const queueSecondsMax = 86_400;
const queueSecondsDefault = 30;

/** `attach NAME`: done when the block device and its links are there. */
export async function runAttach(terminal: Terminal, name: string, flags: AttachFlags): Promise<void> {
  const report = await attachDevice(name, attachChoices(flags));
  for (const warning of report.warnings) terminal.warn(`dm-remap: attach: warning: ${warning}`);
  if (flags.json === true) printJson(terminal, report);
  else terminal.print(attachText(report));
}

export function attachChoices(flags: AttachFlags): AttachChoices {
  return {
    readOnly: flags.readOnly === true,
    queueSeconds: queueSecondsOf(flags.onDaemonLoss),
    kind: kindOf(flags.driver),
  };
}

/** `fail`, `queue` or `queue:30s`. */
function queueSecondsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (text === 'fail') return 0;
  if (text === 'queue') return queueSecondsDefault;
  const seconds = Number(/^queue:(\d{1,5})s?$/.exec(text)?.[1] ?? Number.NaN);
  if (seconds >= 1 && seconds <= queueSecondsMax) return seconds;
  throw new SetupError(
    'usage',
    `--on-daemon-loss ${text}: expected fail, queue, or queue:30s with 1 to 86400 seconds`,
  );
}

function kindOf(text: string | undefined): AttachmentKind | undefined {
  if (text === undefined || text === 'nbd' || text === 'loop') return text;
  throw new SetupError('usage', `--driver ${text}: expected nbd or loop`);
}
