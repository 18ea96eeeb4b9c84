import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from '../../device/setup-error.ts';
import type { Alert } from './alert.ts';
import type { Receiver } from './delivery.ts';
import { mailText } from './mail-text.ts';
import { runOperatorProgram } from './run-program.ts';

/** Five at once, then one in ten minutes with all that came meanwhile: a disk that dies is told of, and is no flood. */
const mailBurst = 5;
const mailRefillMs = 600_000;

/** Where every mail server of Linux puts it (Filesystem Hierarchy Standard, sections 4.4 and 4.7). */
const sendmailFolders = ['/usr/sbin', '/usr/lib'];

/** Tells by mail, through the `sendmail` of this machine. Throws `SetupError` without one, or for what is no address. */
export function mailReceiver(address: string, hostName: string, searchPath: string): Receiver {
  const addresses = address.split(',').map((one) => one.trim());
  for (const one of addresses) refuseAddress(one);
  const sendmail = findSendmail(searchPath);
  return {
    name: `mail ${addresses.join(', ')}`,
    joins: true,
    burst: mailBurst,
    refillMs: mailRefillMs,
    deliver: (alerts: readonly Alert[], omitted: number) =>
      // -t: the header says to whom; -oi: a line with only a dot is a line.
      runOperatorProgram(sendmail, ['-t', '-oi'], {
        input: mailText({ to: addresses, hostName, alerts, omitted, unixMs: Date.now() }),
      }),
  };
}

/** It stands in a header line. */
function refuseAddress(address: string): void {
  if (/^[^\s\p{Cc},;:<>()"\\-][^\s\p{Cc},;:<>()"\\]{0,253}$/u.test(address)) return;
  throw new SetupError(
    'usage',
    `--mail ${address}: expected an address such as root or admin@example.org; several with commas between them`,
  );
}

function findSendmail(searchPath: string): string {
  const folders = [...searchPath.split(':').filter((folder) => folder.startsWith('/')), ...sendmailFolders];
  const found = folders.map((folder) => join(folder, 'sendmail')).find(isProgram);
  if (found !== undefined) return found;
  throw new SetupError(
    'not-found',
    '--mail: there is no sendmail on this machine: install a mail server, or one that only passes on (msmtp-mta, nullmailer), or use --program',
  );
}

export function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
