import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlError } from '../../control/client.ts';
import type { DeviceStatus } from '../../device/messages.ts';
import { oneLine, SetupError } from '../../device/setup-error.ts';
import { parseMap } from './disk-map.ts';
import { figuresBetween, type Look } from './figures.ts';
import type { DeviceView } from './screen.ts';

/** What is asked of a device; `ControlClient` is one. */
export interface AskedDevice {
  status(): Promise<DeviceStatus>;
  message(sector: number, words: readonly string[]): Promise<{ readonly reply: string }>;
}

export interface WatchedDevices {
  /** Names of those to be seen now. */
  readonly names: () => readonly string[];
  /** Throws `SetupError` not-found for one that was removed or killed. */
  readonly find: (name: string) => AskedDevice;
}

/** A device that has not answered for so long is shown without; its answer comes into a later look. */
const patienceMs = 1_000;
/** A timer of Node may come a millisecond before its time: who has waited for it has waited so long. */
const timerEarlyMs = 2;
/** A device draws no finer: 4096 cells are more than most terminals show, and a longer answer is dear. */
const mapCellsMax = 4096;
/** The map of a large table costs the device up to a second, in pieces: at most this share of its time goes there. */
const mapShare = 1 / 20;

/** One device, over all looks. */
class Watched {
  readonly name: string;
  #look: Look | undefined;
  #view: DeviceView;
  #askedAtMs: number | undefined;
  #mapKey = '';
  #mapNotBeforeMs = 0;
  #mapAsked = false;

  constructor(name: string) {
    this.name = name;
    this.#view = { name, status: undefined, figures: undefined, map: undefined, silent: '' };
  }

  /** As it was seen last; what is overdue is said. */
  get view(): DeviceView {
    if (this.#askedAtMs === undefined) return this.#view;
    const seconds = Math.floor((performance.now() - this.#askedAtMs + timerEarlyMs) / 1000);
    return { ...this.#view, silent: seconds < 1 ? this.#view.silent : `no answer for ${seconds} s` };
  }

  /** Resolves with its answer, or without. One question at a time: the one that is still open is the same. */
  async ask(find: () => AskedDevice): Promise<void> {
    if (this.#askedAtMs !== undefined) return;
    this.#askedAtMs = performance.now();
    try {
      const status = await find().status();
      const look: Look = { atMs: performance.now(), status };
      this.#view = { ...this.#view, status, figures: figuresBetween(this.#look, look), silent: '' };
      this.#look = look;
    } catch (error) {
      this.#view = { ...this.#view, silent: whyOf(error) };
    } finally {
      this.#askedAtMs = undefined;
    }
  }

  /** Asks for the map, unless nothing has changed since the last one, or that was dear. Rejects with bugs only. */
  async askMap(find: () => AskedDevice, cells: number): Promise<void> {
    const { status } = this.#view;
    if (status === undefined || this.#view.silent !== '' || this.#mapAsked || cells === 0) return;
    const key = mapKeyOf(status, cells);
    const startMs = performance.now();
    if (key === this.#mapKey || startMs < this.#mapNotBeforeMs) return;
    this.#mapAsked = true;
    try {
      const { reply } = await find().message(0, ['map', String(Math.min(cells, mapCellsMax))]);
      this.#view = { ...this.#view, map: parseMap(reply) };
      this.#mapKey = key;
    } catch (error) {
      // Without its spare a device takes no messages, and one that ends none either: the rest of the screen says so.
      whyOf(error);
    } finally {
      const nowMs = performance.now();
      this.#mapNotBeforeMs = nowMs + (nowMs - startMs) / mapShare;
      this.#mapAsked = false;
    }
  }
}

/** Looks at devices again and again, with one question to each of them a look. */
export class DeviceWatch {
  readonly #devices: WatchedDevices;
  #watched: readonly Watched[] = [];

  constructor(devices: WatchedDevices) {
    this.#devices = devices;
  }

  get views(): readonly DeviceView[] {
    return this.#watched.map(({ view }) => view);
  }

  /** Resolves when all have answered, or had their time. */
  async look(): Promise<void> {
    const before = new Map(this.#watched.map((one) => [one.name, one]));
    this.#watched = this.#devices.names().map((name) => before.get(name) ?? new Watched(name));
    const answered = Promise.all(this.#watched.map((one) => one.ask(() => this.#devices.find(one.name))));
    const patience = new AbortController();
    const tired = sleep(patienceMs, undefined, { signal: patience.signal }).catch(() => undefined);
    await Promise.race([answered, tired]);
    patience.abort();
  }

  /** The map of one device as of its last look. */
  async lookAtMap(name: string, cellsMax: number): Promise<void> {
    const one = this.#watched.find((watched) => watched.name === name);
    await one?.askMap(() => this.#devices.find(name), cellsMax);
  }
}

/** What the world has against an answer; bugs are thrown on. */
function whyOf(error: unknown): string {
  if (error instanceof ControlError || error instanceof SetupError) return oneLine(error.message);
  throw error;
}

/** As long as it is the same, so is the map: every change of the table changes a count. */
function mapKeyOf({ pid, remap }: DeviceStatus, cells: number): string {
  const { remappedSectors, unreadableSectors, freshZeroSectors, goneSectors, counters } = remap;
  const changes = [counters['remaps'], counters['takenHome'], counters['salvagedGranules']];
  return [pid, cells, remappedSectors, unreadableSectors, freshZeroSectors, goneSectors, ...changes].join(
    ' ',
  );
}
