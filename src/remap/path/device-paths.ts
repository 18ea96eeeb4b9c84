import type { BlockDevice } from '../../block/block-device.ts';
import { asDeviceError } from '../../block/device-error.ts';
import type { PathProbe } from './path-probe.ts';
import { PathState, type PathStateParts } from './path-state.ts';
import type { ProbeDirection } from './probe-round.ts';
import { TimeoutLedger } from './timeout-ledger.ts';
import { WriteStorm } from './write-storm.ts';

/** A device that can be away. */
export type DevicePlace = 'main' | 'spare';

export interface DevicePathsParts extends Pick<PathStateParts, 'clock' | 'holdMs'> {
  readonly main: BlockDevice;
  readonly spare: BlockDevice;
  readonly probes: Readonly<Record<DevicePlace, PathProbe>>;
  /** Writes that are not flushed are in doubt: the device was opened anew (R7, R32). */
  readonly poison: (place: DevicePlace) => void;
  /** A direction has begun, or ceased, to fail: requests leave the healthy path while one does. */
  readonly onChange: (failed: boolean, change: PathChange) => void;
}

/** Which way it is, and how long it was closed, 0 when it has just closed. */
export interface PathChange {
  readonly disk: DevicePlace;
  readonly direction: ProbeDirection;
  readonly awayMs: number;
}

/**
 * Which ways to the two devices are open: main for reads, main for writes, the spare. A main that is gone fails both
 * ways; one whose firmware has locked itself fails only writes (R16).
 */
export class DevicePaths {
  readonly mainReads: PathState;
  readonly mainWrites: PathState;
  readonly spare: PathState;
  /** Granules of main that failed writes since the last good one (R16). */
  readonly storm: WriteStorm;
  readonly #parts: DevicePathsParts;
  readonly #timeouts: Readonly<Record<DevicePlace, TimeoutLedger>>;
  /** Devices that said ENODEV or ENXIO and can be opened anew. */
  readonly #gone = new Set<DevicePlace>();
  readonly #reopening = new Map<DevicePlace, Promise<boolean>>();

  constructor(parts: DevicePathsParts) {
    this.#parts = parts;
    this.storm = new WriteStorm(parts.probes.main.granuleCount);
    this.#timeouts = {
      main: new TimeoutLedger(parts.probes.main.granuleCount),
      spare: new TimeoutLedger(parts.probes.spare.granuleCount),
    };
    const state = (place: DevicePlace, direction: ProbeDirection): PathState =>
      new PathState({
        clock: parts.clock,
        holdMs: parts.holdMs,
        probe: () => this.#ask(place, direction),
        onChange: (failed, awayMs) => parts.onChange(failed, { disk: place, direction, awayMs }),
      });
    this.mainReads = state('main', 'read');
    this.mainWrites = state('main', 'write');
    this.spare = state('spare', 'read');
  }

  /** Requests that are held. */
  get waiting(): number {
    return this.mainReads.waiting + this.mainWrites.waiting + this.spare.waiting;
  }

  of(place: DevicePlace, direction: ProbeDirection): PathState {
    if (place === 'spare') return this.spare;
    return direction === 'read' ? this.mainReads : this.mainWrites;
  }

  /** True when a suspect failure seen before the call is about its sector; false: the way is closed from now on. */
  async judge(place: DevicePlace, direction: ProbeDirection): Promise<boolean> {
    const probe = this.#parts.probes[place];
    const works = await probe.deviceWorks(place === 'main' ? direction : 'read');
    if (!works) this.noteFailed(place, direction);
    else if (place === 'main' && direction === 'write') this.storm.noteWorked();
    return works;
  }

  noteFailed(place: DevicePlace, direction: ProbeDirection): void {
    this.of(place, direction).noteFailed();
    // A round of writing reads first: it may have found that nothing works at all.
    if (place === 'main' && this.#parts.probes.main.failedLately('read')) this.mainReads.noteFailed();
  }

  /**
   * R14: whose fault it is that granules `first` to `last` of the device gave no answer in time. Only one granule alone can
   * be blamed, and only the second time; what is sent while a way is open has a good probe before it.
   */
  async judgeTimeout(
    place: DevicePlace,
    direction: ProbeDirection,
    first: number,
    last: number,
  ): Promise<'device' | 'granule' | 'unclear'> {
    const ledger = this.#timeouts[place];
    const { clock } = this.#parts;
    if (ledger.isDevices(first, clock.nowMs())) {
      this.noteFailed(place, direction);
      return 'device';
    }
    if (!(await this.judge(place, direction))) return 'device';
    return first === last && ledger.isGranules(first, clock.nowMs()) ? 'granule' : 'unclear';
  }

  /** ENODEV or ENXIO: what is open there will never answer again (R32). False when it cannot be opened anew. */
  noteGone(place: DevicePlace): boolean {
    const device = place === 'main' ? this.#parts.main : this.#parts.spare;
    if (device.reopen === undefined) return false;
    this.#gone.add(place);
    if (place === 'spare') this.spare.noteGone();
    else {
      this.mainReads.noteGone();
      this.mainWrites.noteGone();
    }
    return true;
  }

  /** Another disk is in the place of the spare: it need not be opened anew. */
  noteSpareReplaced(): void {
    this.#gone.delete('spare');
  }

  /** A request was answered as it should be. A good write shows that reads are answered, too. */
  noteWorked(place: DevicePlace, direction: ProbeDirection): void {
    // What an old descriptor still answers says nothing about the disk that is to be opened anew.
    if (this.#gone.has(place)) return;
    if (place === 'spare') this.spare.noteWorked();
    else {
      this.mainReads.noteWorked();
      if (direction === 'write') {
        this.storm.noteWorked();
        this.mainWrites.noteWorked();
      }
    }
  }

  /** An operator says that they may work again: every closed way is tried now. */
  async retry(): Promise<void> {
    await Promise.all([this.mainReads.retry(), this.mainWrites.retry(), this.spare.retry()]);
  }

  /** Nobody is held any longer (I6). */
  close(): void {
    for (const path of [this.mainReads, this.mainWrites, this.spare]) path.close();
  }

  /** Resolves when nobody is being asked. */
  async idle(): Promise<void> {
    await Promise.all([this.#parts.probes.main.idle(), this.#parts.probes.spare.idle()]);
  }

  async #ask(place: DevicePlace, direction: ProbeDirection): Promise<boolean> {
    if (this.#gone.has(place) && !(await this.#reopen(place))) return false;
    const works = await this.#parts.probes[place].askAgain(direction);
    // A good write has shown that main reads, too, and that there is no storm.
    if (works) this.noteWorked(place, direction);
    return works;
  }

  #reopen(place: DevicePlace): Promise<boolean> {
    const running = this.#reopening.get(place);
    if (running !== undefined) return running;
    const attempt = this.#reopenOnce(place).finally(() => this.#reopening.delete(place));
    this.#reopening.set(place, attempt);
    return attempt;
  }

  /**
   * Both ways are closed meanwhile. Poisoned before and after: between them the metadata may write to either opening, and
   * a flush of the new one must not vouch for what the old one was told (R7).
   */
  async #reopenOnce(place: DevicePlace): Promise<boolean> {
    const device = place === 'main' ? this.#parts.main : this.#parts.spare;
    this.#parts.poison(place);
    try {
      await device.reopen?.();
    } catch (error) {
      asDeviceError(error);
      return false;
    }
    this.#gone.delete(place);
    this.#parts.poison(place);
    return true;
  }
}
