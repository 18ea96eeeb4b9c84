import { assert } from '../../block/assert.ts';
import type { BlockDevice } from '../../block/block-device.ts';
import { asDeviceError } from '../../block/device-error.ts';
import type { PathProbe } from './path-probe.ts';
import { PathState, type PathStateParts } from './path-state.ts';
import type { ProbeDirection } from './probe-round.ts';
import { TimeoutLedger } from './timeout-ledger.ts';
import { WriteStorm } from './write-storm.ts';

/** One of the spares: the home, which carries the metadata, and those beside it. */
export type SparePlace = 'spare' | `spare-${number}`;
/** A device that can be away. */
export type DevicePlace = 'main' | SparePlace;

export interface DevicePathsParts extends Pick<PathStateParts, 'clock' | 'holdMs'> {
  readonly main: BlockDevice;
  readonly spare: BlockDevice;
  readonly probes: Readonly<Record<'main' | 'spare', PathProbe>>;
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

/** One device: a spare has one way for both directions. */
interface DevicePath {
  readonly device: BlockDevice;
  readonly probe: PathProbe;
  readonly reads: PathState;
  readonly writes: PathState;
  readonly timeouts: TimeoutLedger;
}

/**
 * Which ways to the devices are open: main for reads, main for writes, each spare. A main that is gone fails both
 * ways; one whose firmware has locked itself fails only writes (R16).
 */
export class DevicePaths {
  readonly mainReads: PathState;
  readonly mainWrites: PathState;
  readonly spare: PathState;
  /** Granules of main that failed writes since the last good one (R16). */
  readonly storm: WriteStorm;
  readonly #parts: DevicePathsParts;
  readonly #devices = new Map<DevicePlace, DevicePath>();
  /** Devices that said ENODEV or ENXIO and can be opened anew. */
  readonly #gone = new Set<DevicePlace>();
  readonly #reopening = new Map<DevicePlace, Promise<boolean>>();

  constructor(parts: DevicePathsParts) {
    this.#parts = parts;
    const { main, spare, probes } = parts;
    this.storm = new WriteStorm(probes.main.granuleCount);
    this.mainReads = this.#newState('main', 'read');
    this.mainWrites = this.#newState('main', 'write');
    this.#devices.set('main', {
      device: main,
      probe: probes.main,
      reads: this.mainReads,
      writes: this.mainWrites,
      timeouts: new TimeoutLedger(probes.main.granuleCount),
    });
    this.spare = this.addSpare('spare', spare, probes.spare);
  }

  /** One more spare. */
  addSpare(place: SparePlace, device: BlockDevice, probe: PathProbe): PathState {
    const state = this.#newState(place, 'read');
    const timeouts = new TimeoutLedger(probe.granuleCount);
    this.#devices.set(place, { device, probe, reads: state, writes: state, timeouts });
    return state;
  }

  /** It is no spare any more; nobody is sent there, and nobody waits for it any longer. */
  async dropSpare(place: SparePlace): Promise<void> {
    const { reads, probe } = this.#deviceAt(place);
    // What was closed is closed no more: nobody may be held for it.
    reads.noteWorked();
    reads.close();
    await this.#reopening.get(place);
    await probe.idle();
    this.noteSpareReplaced(place);
    this.#devices.delete(place);
  }

  /** Requests that are held. */
  get waiting(): number {
    let waiting = 0;
    for (const state of this.#states()) waiting += state.waiting;
    return waiting;
  }

  /** Spares that are away, the home first. */
  get sparesAway(): readonly SparePlace[] {
    const away: SparePlace[] = [];
    for (const [place, { reads }] of this.#devices) if (place !== 'main' && reads.failed) away.push(place);
    return away;
  }

  of(place: DevicePlace, direction: ProbeDirection): PathState {
    const device = this.#deviceAt(place);
    return direction === 'read' ? device.reads : device.writes;
  }

  /** True when a suspect failure seen before the call is about its sector; false: the way is closed from now on. */
  async judge(place: DevicePlace, direction: ProbeDirection): Promise<boolean> {
    const { probe } = this.#deviceAt(place);
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
    const { timeouts: ledger } = this.#deviceAt(place);
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
    const { device, reads, writes } = this.#deviceAt(place);
    if (device.reopen === undefined) return false;
    this.#gone.add(place);
    reads.noteGone();
    if (writes !== reads) writes.noteGone();
    return true;
  }

  /** Another disk is in the place of the spare: it need not be opened anew. */
  noteSpareReplaced(spare: SparePlace = 'spare'): void {
    this.#gone.delete(spare);
  }

  /** A request was answered as it should be. A good write shows that reads are answered, too. */
  noteWorked(place: DevicePlace, direction: ProbeDirection): void {
    // What an old descriptor still answers says nothing about the disk that is to be opened anew.
    if (this.#gone.has(place)) return;
    if (place !== 'main') this.#deviceAt(place).reads.noteWorked();
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
    await Promise.all(this.#states().map((state) => state.retry()));
  }

  /** Nobody is held any longer (I6). */
  close(): void {
    for (const state of this.#states()) state.close();
  }

  /** Resolves when nobody is being asked. */
  async idle(): Promise<void> {
    await Promise.all([...this.#devices.values()].map(({ probe }) => probe.idle()));
  }

  #newState(place: DevicePlace, direction: ProbeDirection): PathState {
    return new PathState({
      clock: this.#parts.clock,
      holdMs: this.#parts.holdMs,
      probe: () => this.#ask(place, direction),
      onChange: (failed, awayMs) => this.#parts.onChange(failed, { disk: place, direction, awayMs }),
    });
  }

  #deviceAt(place: DevicePlace): DevicePath {
    // Whoever still speaks of a spare that is none any more is sent again as soon as the home answers.
    const device = this.#devices.get(place) ?? this.#devices.get('spare');
    assert(device !== undefined, 'a device has a home');
    return device;
  }

  /** Each once. */
  #states(): readonly PathState[] {
    return [...new Set([...this.#devices.values()].flatMap(({ reads, writes }) => [reads, writes]))];
  }

  async #ask(place: DevicePlace, direction: ProbeDirection): Promise<boolean> {
    if (this.#gone.has(place) && !(await this.#reopen(place))) return false;
    const works = await this.#deviceAt(place).probe.askAgain(direction);
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
    const { device } = this.#deviceAt(place);
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
