import { delay } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import {
  decodeMark,
  encodeMark,
  type InUseMark,
  type MarkedProcess,
  markDevice,
  markPlaces,
} from './in-use-mark.ts';
import type { SpareLayout } from './layout.ts';
import { MetadataError } from './metadata-error.ts';
import { Mutex } from './mutex.ts';
import { isPlaceFault, type SpareIo } from './spare-io.ts';
import type { SharedFacts } from './superblock.ts';

/** How often whoever serves a device says so, on its spare. */
export const heartbeatIntervalMs = 10_000;
/** A mark of another machine is watched for so many of its intervals. */
const intervalsWatched = 2;
/** Of the interval that a mark names. */
const watchedIntervalMinMs = 1_000;
const watchedIntervalMaxMs = 60_000;

/** The process that wants the spare. */
export interface HostIdentity extends MarkedProcess {
  /** Whether a process of this machine and this boot is still there. */
  readonly isRunning: (process: MarkedProcess) => boolean;
}

/** Why a session may have the spare. */
export interface Judgement {
  readonly host: HostIdentity;
  readonly takeover: boolean;
  /** What was there. */
  readonly mark: InUseMark | undefined;
  /** One clause for people when it was somebody's. */
  readonly takenOver: string | undefined;
}

/** Whose marks, and where. */
export type MarkedSpare = Pick<SharedFacts, 'uuid' | 'layout'>;

/** The newest mark of the spare, released or not; undefined when there is none that can be read. */
export function readMark(io: SpareIo, shared: MarkedSpare): Promise<InUseMark | undefined> {
  return newestMark(io, shared.layout, () => shared.uuid);
}

async function newestMark(
  io: SpareIo,
  layout: SpareLayout,
  deviceOf: (block: Uint8Array) => Uint8Array,
): Promise<InUseMark | undefined> {
  let newest: InUseMark | undefined;
  for (const place of markPlaces(layout)) {
    await io.readEach(place, 1, (block) => {
      const mark = block === undefined ? undefined : decodeMark(block, deviceOf(block));
      if (mark !== undefined && (newest === undefined || isNewer(mark, newest))) newest = mark;
    });
  }
  return newest;
}

/** Beats are counted on from session to session: no clock has to be right. */
function isNewer(mark: InUseMark, other: InUseMark): boolean {
  if (mark.heartbeat !== other.heartbeat) return mark.heartbeat > other.heartbeat;
  return mark.writtenUnixSeconds > other.writtenUnixSeconds;
}

/** M11: may `host` have the spare? Throws `METADATA_IN_USE`. */
export async function judgeSpare(
  io: SpareIo,
  shared: MarkedSpare,
  host: HostIdentity,
  takeover: boolean,
): Promise<Judgement> {
  const mark = await readMark(io, shared);
  return { host, takeover, mark, takenOver: await judgeMark(io, shared, mark, host, takeover) };
}

/**
 * Undefined when nobody uses the spare; one clause for people when it is taken over. Takes two intervals when the mark is of
 * another machine, whose processes nobody here can ask about.
 */
async function judgeMark(
  io: SpareIo,
  shared: MarkedSpare,
  mark: InUseMark | undefined,
  host: HostIdentity,
  takeover: boolean,
): Promise<string | undefined> {
  if (mark === undefined || mark.released) return undefined;
  const user = `process ${mark.pid} of ${mark.hostName === '' ? 'an unknown host' : mark.hostName}`;
  if (takeover) return `taken over by force from ${user}`;
  // One boot is of one kernel, whose locks on the spare hold over its containers too.
  if (mark.bootId !== '' && mark.bootId === host.bootId) {
    if (!host.isRunning(mark)) return `taken over from ${user}: it ended without closing`;
    throw inUse(io, `in use by ${user}, this machine: stop it there first`);
  }
  if (mark.machineId !== '' && mark.machineId === host.machineId) {
    return `taken over from ${user}: the machine was started again since`;
  }
  const intervalMs = Math.min(watchedIntervalMaxMs, Math.max(watchedIntervalMinMs, mark.intervalMs));
  await delay(io.clock, intervalsWatched * intervalMs);
  const later = await readMark(io, shared);
  if (later?.released === true) return undefined;
  if (later?.nonce === mark.nonce && later.heartbeat === mark.heartbeat) {
    return `taken over from ${user}: no sign of life for ${(intervalsWatched * intervalMs) / 1000} s`;
  }
  throw inUse(
    io,
    `in use by ${user}, another machine that is alive: stop it there first, or --force-takeover when it can never write again`,
  );
}

/** The mark of one session, while it lasts. */
export class InUse {
  readonly #io: SpareIo;
  readonly #shared: MarkedSpare;
  readonly #mutex = new Mutex();
  /** What was there when the spare was judged to be free. */
  #before: InUseMark | undefined;
  readonly #takeover: boolean;
  #mark: InUseMark;
  /** The mark was seen on the spare. */
  #claimed = false;
  #taken: MetadataError | undefined;
  /** What `goBack` goes back to. */
  #renewedFrom: { readonly mark: InUseMark; readonly claimed: boolean } | undefined;

  constructor(io: SpareIo, shared: MarkedSpare, judgement: Judgement, nonce: string) {
    const { machineId, bootId, pid, startTicks, hostName } = judgement.host;
    this.#io = io;
    this.#shared = shared;
    this.#before = judgement.mark;
    this.#takeover = judgement.takeover;
    this.#mark = {
      ...{ machineId, bootId, pid, startTicks, hostName, nonce },
      heartbeat: judgement.mark?.heartbeat ?? 0,
      writtenUnixSeconds: 0,
      intervalMs: heartbeatIntervalMs,
      released: false,
    };
  }

  /**
   * Before anything else is written: flushed and read back. Rejects with `METADATA_IN_USE` when somebody else came since the
   * spare was judged, or with the device's error. Places that cannot be written do not keep a device closed: its beats fail.
   */
  async claim(): Promise<void> {
    const found = await readMark(this.#io, this.#shared);
    if (found !== undefined && !this.#isAsJudged(found)) throw this.#lostTo(found);
    try {
      await this.#write(false);
    } catch (error) {
      if (isPlaceFault(asDeviceError(error))) return;
      throw error;
    }
    await this.#io.flusher.flush();
    const written = await readMark(this.#io, this.#shared);
    if (written !== undefined && written.nonce !== this.#mark.nonce) throw this.#lostTo(written);
    this.#claimed = written !== undefined;
  }

  /**
   * One sign of life. False when the spare did not take it. Rejects with `METADATA_IN_USE` when the mark is another's: the
   * session is over, nothing of it may be written any more.
   */
  beat(): Promise<boolean> {
    return this.#mutex.run(() => this.#beat(false));
  }

  /** The spare is another disk, or another session has begun on it: as `claim`, under that session's name. */
  renew(nonce: string): Promise<void> {
    return this.#mutex.run(() => {
      this.#renewedFrom = { mark: this.#mark, claimed: this.#claimed };
      this.#before = this.#mark;
      this.#mark = { ...this.#mark, nonce };
      this.#claimed = false;
      return this.claim();
    });
  }

  /** The spare is the disk again that it was before `renew`, and the session is that one. */
  goBack(): Promise<void> {
    return this.#mutex.run(() => {
      const from = this.#renewedFrom;
      this.#renewedFrom = undefined;
      if (from !== undefined) {
        this.#mark = { ...from.mark, heartbeat: this.#mark.heartbeat };
        this.#claimed = from.claimed;
        // Whoever has the disk that was left has not this one.
        this.#taken = undefined;
      }
      return Promise.resolve();
    });
  }

  /** The session has ended with close. */
  release(): Promise<boolean> {
    return this.#mutex.run(() => this.#beat(true));
  }

  async #beat(released: boolean): Promise<boolean> {
    if (this.#taken !== undefined) throw this.#taken;
    try {
      const found = await readMark(this.#io, this.#shared);
      if (found !== undefined && found.nonce !== this.#mark.nonce) throw this.#lostTo(found);
      if (found === undefined) await this.#refuseFormatted();
      await this.#write(released);
      return true;
    } catch (error) {
      if (error instanceof MetadataError) throw error;
      asDeviceError(error);
      return false;
    }
  }

  /** Our mark is not there any more, and a device that was made since has its own: nothing of ours may go onto that. */
  async #refuseFormatted(): Promise<void> {
    if (!this.#claimed) return;
    const other = await newestMark(this.#io, this.#shared.layout, markDevice);
    if (other !== undefined) throw this.#lostTo(other);
  }

  #isAsJudged(found: InUseMark): boolean {
    if (this.#before?.nonce !== found.nonce) return false;
    return this.#takeover || found.heartbeat === this.#before.heartbeat;
  }

  /** Both copies; one is enough. */
  async #write(released: boolean): Promise<void> {
    const heartbeat = this.#mark.heartbeat + 1;
    const writtenUnixSeconds = Math.floor(this.#io.clock.unixMs() / 1000);
    this.#mark = { ...this.#mark, heartbeat, writtenUnixSeconds, released };
    await this.#io.withPiece(1, async (piece) => {
      encodeMark(piece, this.#shared.uuid, this.#mark);
      const places = markPlaces(this.#shared.layout);
      const written = await Promise.allSettled(places.map((place) => this.#io.write(piece, place)));
      const failures = written.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
      for (const failure of failures) asDeviceError(failure);
      if (failures.length === places.length) throw failures[0];
    });
  }

  #lostTo(other: InUseMark): MetadataError {
    this.#taken = inUse(
      this.#io,
      `taken over by process ${other.pid} of ${other.hostName === '' ? 'an unknown host' : other.hostName}: ` +
        'nothing is written any more; remove the device here',
    );
    return this.#taken;
  }
}

function inUse(io: SpareIo, what: string): MetadataError {
  return new MetadataError('METADATA_IN_USE', `${io.spare.name}: ${what}`);
}
