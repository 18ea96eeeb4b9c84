import { existsSync, statSync } from 'node:fs';
import { stateDirectory } from '../../device/host/state-directory.ts';
import { eventLogPaths } from '../../device/log/event-places.ts';
import { EventReader } from '../../device/log/event-reader.ts';
import {
  deviceFolder,
  folderState,
  listDevices,
  runtimeDirectory,
} from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { type Alert, alertOf } from './alert.ts';

/** A process that gives its device to another one is gone for a moment: told is what is gone at two looks so far apart. */
export const deathConfirmedMs = 2_000;

/** In the place of a log's path. */
const processSource = 'process:';

/** A process that was killed can say nothing: its folder without a process says it. */
const diedText =
  'its process was killed and left no last word; "dm-remap assemble" brings the device back, the journal of the system may say who killed it';

/**
 * Where alerts come from: the event logs of all devices, those that come and go too, and the folders of devices whose process is
 * gone. No device is asked, so none is woken.
 */
export class AlertSources {
  readonly #names: readonly string[];
  readonly #readers = new Map<string, EventReader>();
  /** Devices whose process is gone, until they are served again or cleaned up, with when that was seen first. */
  readonly #died = new Map<string, Alert>();

  /** Of these devices, by name or UUID; of all without any. */
  constructor(names: readonly string[]) {
    this.#names = names;
  }

  /** Whether a process is gone, and perhaps only for a moment. */
  hasSuspects(nowUnixMs: number): boolean {
    return [...this.#died.values()].some(({ unixMs }) => nowUnixMs - unixMs < deathConfirmedMs);
  }

  /** What came since the last look. A log that cannot be read is tried again at the next. */
  async look(nowUnixMs: number, complain: (line: string) => void): Promise<readonly Alert[]> {
    const alerts: Alert[] = [];
    for (const reader of this.#allReaders()) {
      try {
        for (const { event } of await reader.read()) {
          const alert = alertOf(reader.path, event);
          if (alert !== undefined && this.#isWanted(alert)) alerts.push(alert);
        }
      } catch (error) {
        if (!(error instanceof Error) || !('code' in error)) throw error;
        complain(`${reader.path}: ${error.message}`);
      }
    }
    return [...alerts, ...this.#deaths(nowUnixMs)];
  }

  /** Whether there is anything left of it to be told of. */
  isThere(source: string): boolean {
    if (source.startsWith(processSource)) return isDead(source.slice(processSource.length));
    return existsSync(source) || existsSync(`${source}.1`);
  }

  async close(): Promise<void> {
    for (const reader of this.#readers.values()) await reader.close();
    this.#readers.clear();
  }

  #isWanted({ device, uuid }: Alert): boolean {
    return this.#names.length === 0 || this.#names.includes(device) || this.#names.includes(uuid);
  }

  #allReaders(): Iterable<EventReader> {
    for (const path of eventLogPaths(stateDirectory(), directoryIfAny())) {
      if (!this.#readers.has(path)) this.#readers.set(path, new EventReader(path));
    }
    return this.#readers.values();
  }

  /** All that are gone now: who has heard of one hears nothing new. */
  #deaths(nowUnixMs: number): readonly Alert[] {
    const directory = directoryIfAny();
    const devices = directory === undefined ? [] : listDevices(directory);
    const dead = devices.filter(({ state }) => state.state === 'dead').map(({ folder }) => folder.name);
    for (const name of this.#died.keys()) if (!dead.includes(name)) this.#died.delete(name);
    for (const name of dead) {
      if (this.#died.has(name)) continue;
      this.#died.set(name, {
        source: `${processSource}${name}`,
        sequence: 1,
        orderMs: startedMs(directory, name),
        unixMs: nowUnixMs,
        device: name,
        uuid: '',
        kind: 'process-died',
        level: 'error',
        text: diedText,
      });
    }
    return [...this.#died.values()].filter(
      (alert) => this.#isWanted(alert) && nowUnixMs - alert.unixMs >= deathConfirmedMs,
    );
  }
}

function isDead(name: string): boolean {
  const directory = directoryIfAny();
  return directory !== undefined && folderState(deviceFolder(directory, name)).state === 'dead';
}

/** Of the process that is gone; one that is served again and dies again is another death. */
function startedMs(directory: string | undefined, name: string): number {
  if (directory === undefined) return 0;
  const { pidPath } = deviceFolder(directory, name);
  return statSync(pidPath, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function directoryIfAny(): string | undefined {
  try {
    return runtimeDirectory();
  } catch (error) {
    if (error instanceof SetupError) return undefined;
    throw error;
  }
}
