import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlError } from '../control/client.ts';
import type { DeviceStatus } from '../device/messages.ts';
import { oneLine, SetupError } from '../device/setup-error.ts';
import { type Answers, askAll } from './ask-all.ts';
import { type FoundDevice, findDevice } from './find-device.ts';
import type { Terminal } from './terminal.ts';
import { statusCsvHead, statusCsvLine } from './text/status-csv.ts';
import { type StatusForm, statusForm } from './text/status-form.ts';

const intervalSecondsDefault = 2;
/** A tenth is as fast as anybody reads; a day is a mistake less often than a longer one. */
const intervalSecondsMin = 0.1;
const intervalSecondsMax = 86_400;

type Look = Answers<DeviceStatus>;

/**
 * `status --watch [SECONDS]`: on a terminal the screen is drawn anew, in a pipe each look is a block, or with `--line`,
 * `--csv` and `--json` lines. Ends by SIGINT or SIGTERM, when nobody reads any more, and when the one device is removed.
 */
export async function watchStatus(
  terminal: Terminal,
  words: string | undefined,
  options: StatusForm,
  seconds: string | true,
): Promise<void> {
  const { name, intervalMs } = whatAndHowOften(words, seconds);
  // The first look is an ordinary one: a name with a typing error is an error and nothing to wait for.
  const device = name === undefined ? undefined : findDevice(name);
  const ending = new AbortController();
  const end = (): void => ending.abort();
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  const printer = new Printer(terminal, options, name !== undefined);
  try {
    while (!ending.signal.aborted) {
      const look = await lookAt(device, ending.signal);
      if (look === undefined) return;
      printer.show(look);
      await sleep(intervalMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  } finally {
    process.off('SIGINT', end);
    process.off('SIGTERM', end);
  }
}

/** `status --watch 5` gives the 5 to `--watch`, `status --watch disk` would give it the name: a name is no number. */
function whatAndHowOften(
  name: string | undefined,
  seconds: string | true,
): { name: string | undefined; intervalMs: number } {
  if (seconds === true) return { name, intervalMs: intervalSecondsDefault * 1000 };
  if (/^\d+(\.\d+)?$/.test(seconds)) {
    const value = Number(seconds);
    if (value >= intervalSecondsMin && value <= intervalSecondsMax) return { name, intervalMs: value * 1000 };
  } else if (name === undefined) return { name: seconds, intervalMs: intervalSecondsDefault * 1000 };
  throw new SetupError(
    'usage',
    `--watch ${seconds}: expected seconds from ${intervalSecondsMin} to ${intervalSecondsMax}`,
  );
}

/** Undefined when it is over: interrupted, or the device was removed. Throws when its process was killed. */
async function lookAt(device: FoundDevice | undefined, ending: AbortSignal): Promise<Look | undefined> {
  let interrupt = (): void => undefined;
  const interrupted = new Promise<undefined>((resolve) => {
    interrupt = () => resolve(undefined);
  });
  ending.addEventListener('abort', interrupt);
  try {
    return await Promise.race([
      device === undefined ? askAll((client) => client.status()) : lookAtOne(device),
      interrupted,
    ]);
  } finally {
    // A watch may go on for months, a listener a look would be as many.
    ending.removeEventListener('abort', interrupt);
  }
}

async function lookAtOne(device: FoundDevice): Promise<Look | undefined> {
  try {
    return { answers: [await device.client.status()], silent: [] };
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    if (hasGone(device.folder.name)) return undefined;
    // Its control plane may be on its way back, its disks may hang: that is what somebody watches for.
    return { answers: [], silent: [`${device.folder.name}: ${error.message}`] };
  }
}

/** True when the device was removed. Throws what says that it was killed. */
function hasGone(name: string): boolean {
  try {
    findDevice(name);
    return false;
  } catch (error) {
    if (error instanceof SetupError && error.reason === 'not-found' && /no such device/.test(error.message)) {
      return true;
    }
    throw error;
  }
}

/** Prints looks, each in the form that was asked for. */
class Printer {
  readonly #terminal: Terminal;
  readonly #options: StatusForm;
  readonly #single: boolean;
  #looks = 0;

  constructor(terminal: Terminal, options: StatusForm, single: boolean) {
    this.#terminal = terminal;
    this.#options = options;
    this.#single = single;
  }

  show(look: Look): void {
    const screen = this.#terminal.screen?.();
    if (screen === undefined || this.#options.json === true || this.#options.csv === true) this.#append(look);
    else this.#terminal.draw?.(fitted(this.#text(look), screen));
    this.#looks += 1;
  }

  #append(look: Look): void {
    const unixMs = Date.now();
    for (const silent of look.silent) this.#terminal.warn(`dm-remap: status: warning: ${oneLine(silent)}`);
    if (this.#options.json === true) {
      for (const status of look.answers) this.#terminal.print(JSON.stringify({ unixMs, ...status }));
      return;
    }
    if (this.#options.csv === true) {
      if (this.#looks === 0) this.#terminal.print(statusCsvHead(true));
      for (const status of look.answers) this.#terminal.print(statusCsvLine(status, unixMs));
      return;
    }
    if (look.answers.length === 0) return;
    const apart = this.#looks > 0 && this.#options.line !== true ? '\n' : '';
    this.#terminal.print(`${apart}${statusForm(look.answers, this.#options, this.#single)}`);
  }

  #text({ answers: statuses, silent }: Look): string {
    const parts = statuses.length === 0 ? [] : [statusForm(statuses, this.#options, this.#single)];
    return [...parts, ...silent].join(this.#options.line === true ? '\n' : '\n\n');
  }
}

/** Cut to the screen: a line that wraps would push the first ones out of sight. The last line is left to the cursor. */
export function fitted(text: string, screen: { readonly columns: number; readonly rows: number }): string[] {
  const lines = text.split('\n').map((line) => cut(oneLineOf(line), screen.columns));
  const rows = Math.max(1, screen.rows - 1);
  return lines.length <= rows ? lines : [...lines.slice(0, rows - 1), '…'];
}

/** Names of devices and disks may hold anything; on a terminal nothing of it is a command. */
function oneLineOf(line: string): string {
  return line.replace(/\p{Cc}/gu, ' ');
}

function cut(line: string, columns: number): string {
  const letters = Array.from(line);
  return letters.length <= columns ? line : `${letters.slice(0, Math.max(0, columns - 1)).join('')}…`;
}
