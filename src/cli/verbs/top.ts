import process from 'node:process';
import { listDevices, runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { findDevice } from '../find-device.ts';
import type { Terminal } from '../terminal.ts';
import { DeviceWatch, type WatchedDevices } from '../top/device-watch.ts';
import { printLooks, printOnce } from '../top/print-looks.ts';
import { showScreen } from '../top/show-screen.ts';
import type { TopRun } from '../top/top-run.ts';

export interface TopOptions {
  readonly interval?: string;
  readonly count?: string;
  readonly once?: boolean;
  readonly json?: boolean;
}

const intervalSecondsDefault = 2;
const intervalSecondsMin = 0.1;
const intervalSecondsMax = 86_400;

/**
 * `top [NAME…]`: on a terminal a screen that is drawn anew, elsewhere a line a look and device. Ends by `q`, SIGINT, SIGTERM, SIGHUP,
 * after `--count` looks, when nobody reads any more, and when all devices that were named are removed.
 */
export async function runTop(
  terminal: Terminal,
  names: readonly string[],
  options: TopOptions,
): Promise<void> {
  const intervalSeconds = intervalOf(options.interval);
  const countMax = countOf(options.count);
  if (options.once === true && options.count !== undefined) {
    throw new SetupError('usage', '--once and --count exclude each other; give one');
  }
  const ending = new AbortController();
  const run: TopRun = {
    watch: new DeviceWatch(watchedDevices(names, ending)),
    intervalSeconds,
    countMax,
    json: options.json === true,
    ending,
  };
  const end = (): void => ending.abort();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, end);
  try {
    if (options.once === true) await printOnce(terminal, run);
    else if (run.json || terminal.screen?.() === undefined || process.env['TERM'] === 'dumb') {
      await printLooks(terminal, run);
    } else await showScreen(run);
  } finally {
    for (const signal of signals) process.off(signal, end);
  }
}

/** A name with a typing error is an error, once; what is removed later is no longer named, and the last one ends it. */
function watchedDevices(names: readonly string[], ending: AbortController): WatchedDevices {
  if (names.length === 0) {
    const all = (): string[] => listDevices(runtimeDirectory()).map(({ folder }) => folder.name);
    return { names: all, find: (name) => findDevice(name).client };
  }
  let left = [...new Set(names)];
  for (const name of left) findDevice(name);
  return {
    names: () => left,
    find: (name) => {
      try {
        return findDevice(name).client;
      } catch (error) {
        if (error instanceof SetupError && /no such device/.test(error.message)) {
          left = left.filter((one) => one !== name);
          if (left.length === 0) ending.abort();
        }
        throw error;
      }
    },
  };
}

function intervalOf(text: string | undefined): number {
  if (text === undefined) return intervalSecondsDefault;
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value >= intervalSecondsMin && value <= intervalSecondsMax) return value;
  throw new SetupError(
    'usage',
    `--interval ${text}: expected seconds from ${intervalSecondsMin} to ${intervalSecondsMax}`,
  );
}

function countOf(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new SetupError('usage', `--count ${text}: expected how many looks, from 1`);
}
