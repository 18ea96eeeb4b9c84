import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { statusLine, statusText } from '../text/status-text.ts';

export interface StatusOptions {
  readonly json?: boolean;
  readonly line?: boolean;
}

/** `status NAME`: for people, `--line` as dmsetup prints it, `--json` for machines. */
export async function runStatus(terminal: Terminal, name: string, options: StatusOptions): Promise<void> {
  const status = await findDevice(name).client.status();
  if (options.json === true) printJson(terminal, status);
  else terminal.print(options.line === true ? statusLine(status) : statusText(status));
}
