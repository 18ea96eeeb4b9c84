import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { stateDirectory } from '../../device/host/state-directory.ts';
import { listDevices, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import type { Terminal } from '../terminal.ts';
import type { Alert } from '../watching/alert.ts';
import { AlertSources, deathConfirmedMs } from '../watching/alert-sources.ts';
import type { Receiver } from '../watching/delivery.ts';
import { mailReceiver } from '../watching/mail-receiver.ts';
import { Monitor } from '../watching/monitor.ts';
import { MonitorFile } from '../watching/monitor-file.ts';
import { printReceiver } from '../watching/print-receiver.ts';
import { programReceiver } from '../watching/program-receiver.ts';

export interface MonitorFlags {
  readonly scan?: boolean;
  readonly mail?: string;
  readonly program?: string;
  readonly interval?: string;
  readonly oneshot?: boolean;
  readonly test?: boolean;
  readonly state?: string;
  readonly json?: boolean;
}

/** Files are looked at, nobody is asked: often enough for a person, seldom enough for a machine that sleeps. */
const intervalSecondsDefault = 10;
const intervalSecondsMax = 3_600;

/** `monitor [NAME...]`: tells somebody what happens to devices, until interrupted. */
export async function runMonitor(
  terminal: Terminal,
  names: readonly string[],
  flags: MonitorFlags,
): Promise<void> {
  if (flags.scan === true && names.length > 0)
    throw new SetupError('usage', '--scan is for all devices, and NAME for some; give one');
  const intervalMs = intervalOf(flags.interval) * 1000;
  const complain = (line: string): void => terminal.warn(`dm-remap: monitor: warning: ${line}`);
  const receivers = receiversOf(terminal, flags);
  const file = new MonitorFile(flags.state ?? defaultPath(), complain);
  const sources = new AlertSources(names);
  const options = { sources, receivers, file, complain };
  const monitor = new Monitor({ ...options, nowUnixMs: Date.now, nowMs: () => performance.now() });
  if (flags.test === true) await sendTests(receivers, names, flags.oneshot === true ? undefined : complain);
  if (monitor.isFirst) terminal.warn('dm-remap: monitor: tells what happens from now on');
  try {
    monitor.save();
    if (flags.oneshot === true) await lookOnce(monitor, sources);
    else await watch(monitor, intervalMs);
  } finally {
    await sources.close();
    monitor.save(true);
  }
  if (flags.oneshot === true && monitor.waiting > 0)
    throw new SetupError(
      'failed',
      `${monitor.waiting} alerts could not be told; the next monitor tries again`,
    );
}

async function lookOnce(monitor: Monitor, sources: AlertSources): Promise<void> {
  await monitor.look();
  if (!sources.hasSuspects(Date.now())) return;
  await sleep(deathConfirmedMs);
  await monitor.look();
}

/** Ends by SIGINT or SIGTERM, when what is being told has been told. */
async function watch(monitor: Monitor, intervalMs: number): Promise<void> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  try {
    while (!ending.signal.aborted) {
      await monitor.look();
      await sleep(intervalMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  } finally {
    process.off('SIGINT', end);
    process.off('SIGTERM', end);
  }
}

function receiversOf(terminal: Terminal, { mail, program, json }: MonitorFlags): readonly Receiver[] {
  return [
    printReceiver(terminal, json === true),
    ...(mail === undefined ? [] : [mailReceiver(mail, hostname(), process.env['PATH'] ?? '')]),
    ...(program === undefined ? [] : [programReceiver(program)]),
  ];
}

/** One for each device that is there, or one at all, to each receiver: what no test has shown to arrive does not arrive. */
async function sendTests(
  receivers: readonly Receiver[],
  names: readonly string[],
  complain: ((line: string) => void) | undefined,
): Promise<void> {
  const alerts = testedDevices(names).map(testAlert);
  for (const receiver of receivers) {
    for (const alert of receiver.joins ? [alerts] : alerts.map((one) => [one])) {
      try {
        await receiver.deliver(alert, 0);
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        const line = `${receiver.name}: the test was not told: ${error.message}`;
        if (complain === undefined) throw new SetupError('failed', line, { cause: error });
        complain(line);
      }
    }
  }
}

function testedDevices(names: readonly string[]): readonly string[] {
  const there = listDevices(runtimeDirectory()).map(({ folder }) => folder.name);
  const wanted = names.length === 0 ? there : names;
  return wanted.length === 0 ? ['none'] : wanted;
}

function testAlert(device: string): Alert {
  const text = `a test of dm-remap monitor on ${hostname()}; nothing has happened`;
  const place = { source: '', sequence: 0, orderMs: 0, unixMs: Date.now() };
  return { ...place, device, uuid: '', kind: 'test', level: 'info', text };
}

function intervalOf(text: string | undefined): number {
  if (text === undefined) return intervalSecondsDefault;
  const seconds = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && seconds >= 0.1 && seconds <= intervalSecondsMax) return seconds;
  throw new SetupError('usage', `--interval ${text}: expected seconds from 0.1 to ${intervalSecondsMax}`);
}

function defaultPath(): string {
  const directory = stateDirectory();
  if (directory !== undefined) return join(directory, 'monitor', 'told.json');
  throw new SetupError(
    'usage',
    'there is no folder to remember in: set DM_REMAP_STATE_DIR, or name a file with --state',
  );
}
