import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlClient, ControlError } from '../../control/client.ts';
import type { ScrubStatus } from '../../device/messages.ts';
import { SetupError } from '../../device/setup-error.ts';
import { type FoundDevice, findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { percentOf, progressBar, progressText, scrubLine, scrubText } from '../text/scrub-text.ts';
import { namingDevice } from './message.ts';
import { runPolicy } from './policy.ts';

export interface ScrubFlags {
  /** MiB a second. */
  readonly rate?: string;
  /** Days. */
  readonly every?: string;
  readonly wait?: boolean;
  readonly json?: boolean;
}

const actions: readonly string[] = ['status', 'start', 'pause', 'resume', 'stop'];

/** How often one that is waited for is asked how far it is. */
const askIntervalMs = 500;
/** In a pipe a line is printed each time so much more is done, and after so long in any case. */
const lineEveryPercent = 10;
const lineEveryMs = 60_000;

/** `scrub NAME [status|start|pause|resume|stop]`. What is asked for goes on when this command ends, or is interrupted. */
export async function runScrub(
  terminal: Terminal,
  name: string,
  action: string,
  flags: ScrubFlags,
): Promise<void> {
  if (!actions.includes(action))
    throw new SetupError(
      'usage',
      `'${action}' is no action, expected one of ${actions.join(', ')}: dm-remap scrub NAME ACTION`,
    );
  const device = findDevice(name);
  const { client } = device;
  await scrubOf(client, name);
  await setPolicies(name, flags);
  if (action !== 'status') await ask(device, action);
  if (flags.wait === true) await waitForEnd(terminal, client, name, flags.json === true);
  const scrub = await scrubOf(client, name);
  if (flags.json === true) printJson(terminal, { name, scrub });
  else
    terminal.print(
      action === 'status' || flags.wait === true ? scrubText(name, scrub) : shortText(name, scrub),
    );
  if (flags.wait === true && scrub.state === 'paused')
    throw new SetupError('failed', `${name}: the scrub is ${scrubLine(scrub)}`);
}

/** The device names its message in what it says of it; here that is the command, which is named already. */
async function ask({ client, folder }: FoundDevice, action: string): Promise<void> {
  try {
    await client.message(0, ['scrub', action]);
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    const plain = new ControlError(error.code, error.message.replace(/^scrub: /, ''), { cause: error });
    throw namingDevice(folder.name, plain);
  }
}

async function scrubOf(client: ControlClient, name: string): Promise<ScrubStatus> {
  const { scrub } = await client.status();
  if (scrub === null) throw new SetupError('refused', `${name}: is served without its spare`);
  return scrub;
}

/** Stored with the device: they hold for later scrubs too. */
async function setPolicies(name: string, { rate, every }: ScrubFlags): Promise<void> {
  const quiet: Terminal = { print: () => undefined, warn: () => undefined };
  if (rate !== undefined) await runPolicy(quiet, name, 'scrub-rate', rate, {});
  if (every !== undefined) await runPolicy(quiet, name, 'scrub-every', every, {});
}

/** Until none is running: it has ended, or is paused. */
async function waitForEnd(
  terminal: Terminal,
  client: ControlClient,
  name: string,
  isJson: boolean,
): Promise<void> {
  const lines = new ProgressLines(terminal, name, isJson);
  try {
    for (;;) {
      const scrub = await scrubOf(client, name);
      if (scrub.state !== 'running') return;
      lines.show(scrub);
      await sleep(askIntervalMs);
    }
  } finally {
    terminal.progress?.(undefined);
  }
}

/** A bar on a terminal; in a pipe a plain line now and then, and none where JSON is asked for. */
class ProgressLines {
  readonly #terminal: Terminal;
  readonly #name: string;
  readonly #isJson: boolean;
  #percent = -1;
  #saidMs = 0;

  constructor(terminal: Terminal, name: string, isJson: boolean) {
    this.#terminal = terminal;
    this.#name = name;
    this.#isJson = isJson;
  }

  show(scrub: ScrubStatus): void {
    this.#terminal.progress?.(`${this.#name}: ${progressBar(scrub)} ${progressText(scrub)}`);
    if (this.#isJson || this.#terminal.screen?.() !== undefined) return;
    const step = Math.floor(percentOf(scrub) / lineEveryPercent);
    const nowMs = Date.now();
    if (step <= this.#percent && nowMs - this.#saidMs < lineEveryMs) return;
    this.#percent = Math.max(step, this.#percent);
    this.#saidMs = nowMs;
    this.#terminal.print(`${this.#name}: scrub ${progressText(scrub)}`);
  }
}

function shortText(name: string, scrub: ScrubStatus): string {
  return `${name}: scrub ${scrubLine(scrub)}`;
}
