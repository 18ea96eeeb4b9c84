import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type Geometry,
  IoFlags,
  rejectInvalid,
} from '../block/block-device.ts';
import type { Clock, ScheduledAction } from '../block/clock.ts';
import { asDeviceError, DeviceError, deviceError, type FailedRange } from '../block/device-error.ts';
import { Errno, failureKindOfErrno } from '../block/errno.ts';
import { RequestGate } from '../block/request-gate.ts';
import { StreamError } from '../io/byte-stream.ts';
import { OpenError } from '../io/open-error.ts';
import type { NbdClient } from './client.ts';
import { NbdRequestError } from './client.ts';
import type { RemoteExport } from './client-handshake.ts';
import { NbdProtocolError } from './codec.ts';
import { DoubtfulWrites } from './doubtful-writes.ts';
import { exportTrouble, type NbdConnector } from './nbd-connector.ts';

/** Requests sent and not answered; more wait their turn here. */
export const requestsInFlightMax = 256;
/** A longer request is sent in parts, side by side. */
const partBytesMax = 1024 * 1024;
const zeroPieceBytes = 64 * 1024;
/**
 * A server that has not answered anything for so long is taken for gone: its connection is dropped. Longer than a disk's own
 * deadline of 30 s, for behind the server there may be one that is just being reset, or a large cache being flushed.
 */
export const replyTimeoutMs = 60_000;
/** Time for a goodbye. */
const disconnectMs = 2_000;

/**
 * An export of an NBD server as a disk (R33), over one connection. A connection that ends fails what is under way with
 * ENODEV, as a disk that was pulled out: whoever owns the device calls `reopen` (R32), and tells that what was not flushed is
 * in doubt (R7).
 *
 * A write without an answer when its connection ended may still be done by the server. Until a flush on the new connection
 * has succeeded, writes to its range go one at a time, and none of them is answered before such a flush: so the range is
 * locked, and what the client is told is on the other side.
 */
export class NbdDevice implements BlockDevice {
  readonly name: string;
  readonly geometry: Geometry;
  readonly capabilities: Capabilities;
  readonly exported: RemoteExport;
  readonly #connector: NbdConnector;
  readonly #clock: Clock;
  readonly #partBytes: number;
  readonly #gate = new RequestGate();
  readonly #doubtful = new DoubtfulWrites();
  readonly #waiting: (() => void)[] = [];
  /** Undefined between the end of a connection and the next. */
  #client: NbdClient | undefined;
  #sent = 0;
  #answers = 0;
  #watch: ScheduledAction | undefined;
  #replaying: Promise<void> = Promise.resolve();
  #reopening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** Use `openNbdDevice`. */
  constructor(connector: NbdConnector, clock: Clock, client: NbdClient, geometry: Geometry) {
    const { exported } = client;
    this.name = connector.address.uri;
    this.geometry = geometry;
    this.exported = exported;
    this.#connector = connector;
    this.#clock = clock;
    this.#client = client;
    const write = !(connector.readOnly || exported.readOnly);
    this.capabilities = {
      write,
      flush: exported.flush,
      fua: write && exported.fua,
      discard: false,
      writeZeroes: write,
      fastZeroes: false,
      rotational: exported.rotational,
      volatileCache: exported.flush,
    };
    const block = geometry.logicalBlockBytes;
    this.#partBytes = Math.floor(Math.min(partBytesMax, exported.maximumPayloadBytes) / block) * block;
  }

  read(target: Uint8Array, offset: number): Promise<void> {
    return this.#admitted(offset, target.length, () =>
      this.#inParts(target.length, (at, length) => {
        const part = target.subarray(at, at + length);
        return this.#call(offset + at, length, (client) => client.read(part, offset + at));
      }),
    );
  }

  write(source: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    return this.#admitted(offset, source.length, async () => {
      this.#refuseReadOnly(offset, source.length);
      await this.#inParts(source.length, (at, length) =>
        this.#writePart(source.subarray(at, at + length), offset + at, flags),
      );
    });
  }

  /** All of the export; a server that offers no flush has nothing to flush, or does not say. */
  flush(): Promise<void> {
    const { sizeBytes } = this.geometry;
    return this.#admitted(0, sizeBytes, () => this.#flushConnection());
  }

  /** R20: best effort, and nothing is a good effort where the server was not asked whether it can. */
  discard(offset: number, length: number): Promise<void> {
    return this.#admitted(offset, length, async () => this.#refuseReadOnly(offset, length));
  }

  writeZeroes(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    return this.#admitted(offset, length, async () => {
      this.#refuseReadOnly(offset, length);
      if ((flags & IoFlags.onlyIfFast) !== 0) {
        throw deviceError(this.name, 'unsupported', offset, length, Errno.EOPNOTSUPP);
      }
      const zeroes = new Uint8Array(Math.min(length, zeroPieceBytes, this.#partBytes));
      for (let at = 0; at < length; at += zeroes.length) {
        await this.#writePart(zeroes.subarray(0, Math.min(zeroes.length, length - at)), offset + at, flags);
      }
    });
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#refusal(offset, length) ?? Promise.resolve([{ length, state: 'data' }]);
  }

  /** R32: a new connection to the same export. Rejects with a `DeviceError` of kind `path`, and may be called again. */
  reopen(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  /** R30: why the disk cannot be reached, or undefined. Which disk it is, only its URI says. */
  identityTrouble(): Promise<string | undefined> {
    return Promise.resolve(
      this.#client === undefined ? 'the connection to its NBD server is lost' : undefined,
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Calls `work` for an aligned request inside the device, and counts it until it is over. */
  #admitted(offset: number, length: number, work: () => Promise<void>): Promise<void> {
    return this.#refusal(offset, length) ?? this.#counted(work);
  }

  async #counted(work: () => Promise<void>): Promise<void> {
    this.#gate.enter();
    try {
      await work();
    } finally {
      this.#gate.leave();
    }
  }

  #refusal(offset: number, length: number): Promise<never> | undefined {
    if (!this.#gate.closed) return rejectInvalid(this, offset, length);
    return Promise.reject(deviceError(this.name, 'closed', offset, length, Errno.ESHUTDOWN));
  }

  #refuseReadOnly(offset: number, length: number): void {
    if (this.capabilities.write) return;
    throw deviceError(this.name, 'refused', offset, length, Errno.EROFS, 'the export is read-only');
  }

  /** Sends the parts of a long request side by side, and names every range that failed. */
  async #inParts(length: number, send: (at: number, partLength: number) => Promise<void>): Promise<void> {
    if (length <= this.#partBytes) {
      await send(0, length);
      return;
    }
    const parts: Promise<void>[] = [];
    for (let at = 0; at < length; at += this.#partBytes) {
      parts.push(send(at, Math.min(this.#partBytes, length - at)));
    }
    const failed: FailedRange[] = [];
    for (const result of await Promise.allSettled(parts)) {
      if (result.status === 'rejected') failed.push(...asDeviceError(result.reason).ranges);
    }
    if (failed.length > 0) throw new DeviceError(this.name, failed);
  }

  async #writePart(source: Uint8Array, offset: number, flags: number): Promise<void> {
    if (!this.#doubtful.overlaps(offset, source.length)) {
      await this.#sendWrite(source, offset, flags);
      return;
    }
    const turn = this.#replaying.then(() => this.#replay(source, offset, flags));
    // The next one has its own answer; a bug is thrown by `turn`.
    this.#replaying = turn.catch(() => undefined);
    await turn;
  }

  /** R33: the lock is held until a flush on this connection has succeeded. */
  async #replay(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const stillDoubtful = this.#doubtful.overlaps(offset, source.length);
    await this.#sendWrite(source, offset, flags);
    if (stillDoubtful) await this.#flushConnection();
  }

  async #sendWrite(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const fua = (flags & IoFlags.fua) !== 0 && this.capabilities.fua;
    const client = this.#client;
    try {
      await this.#call(offset, source.length, (connected) => connected.write(source, offset, { fua }));
    } catch (error) {
      if (client !== undefined && this.#client !== client) this.#doubtful.add(offset, source.length);
      throw error;
    }
  }

  async #flushConnection(): Promise<void> {
    if (!this.exported.flush) return;
    const client = this.#client;
    await this.#call(0, this.geometry.sizeBytes, (connected) => connected.flush());
    // Doubt begins with the end of a connection: what there is now is older than this one.
    if (this.#client === client) this.#doubtful.clear();
  }

  /** One request on the connection of this moment. */
  async #call(offset: number, length: number, send: (client: NbdClient) => Promise<void>): Promise<void> {
    if (this.#sent >= requestsInFlightMax) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    } else {
      this.#sent += 1;
    }
    const client = this.#client;
    try {
      if (client === undefined) throw this.#goneError(offset, length, 'the connection is lost');
      this.#watchAnswers(client);
      await send(client);
    } catch (error) {
      throw error instanceof DeviceError ? error : this.#errorOf(client, error, offset, length);
    } finally {
      this.#answers += 1;
      const next = this.#waiting.shift();
      if (next === undefined) this.#sent -= 1;
      else next();
    }
  }

  /** One timer while anything is under way: a server that says nothing at all has gone, whatever TCP believes. */
  #watchAnswers(client: NbdClient): void {
    if (this.#watch !== undefined) return;
    const answers = this.#answers;
    this.#watch = this.#clock.schedule(replyTimeoutMs, () => {
      this.#watch = undefined;
      if (this.#sent === 0 || this.#client !== client) return;
      if (this.#answers === answers) this.#drop(client);
      else this.#watchAnswers(client);
    });
  }

  #errorOf(client: NbdClient | undefined, error: unknown, offset: number, length: number): DeviceError {
    if (error instanceof NbdRequestError) {
      const kind = failureKindOfErrno(error.errno);
      // EINVAL of a server is no proof that we asked wrongly: servers differ in what they take.
      if (kind !== 'bug') return deviceError(this.name, kind, offset, length, error.errno);
      return deviceError(this.name, 'refused', offset, length, error.errno, error.message);
    }
    if (!(error instanceof StreamError) && !(error instanceof NbdProtocolError)) throw error;
    if (client !== undefined) this.#drop(client);
    return this.#goneError(offset, length, error.message);
  }

  /** ENODEV: only opening it anew can help (R32). */
  #goneError(offset: number, length: number, detail: string): DeviceError {
    return deviceError(this.name, 'path', offset, length, Errno.ENODEV, detail);
  }

  #drop(client: NbdClient): void {
    if (this.#client === client) this.#client = undefined;
    void client.close();
  }

  async #reopen(): Promise<void> {
    const { sizeBytes } = this.geometry;
    const old = this.#client;
    this.#client = undefined;
    await old?.close();
    let fresh: NbdClient;
    try {
      fresh = await this.#connector.connect();
    } catch (error) {
      if (!(error instanceof OpenError)) throw error;
      throw this.#goneError(0, sizeBytes, error.message);
    }
    const trouble = this.#gate.closed ? 'is closed' : exportTrouble(this.exported, fresh.exported);
    if (trouble !== undefined) {
      await fresh.close();
      throw this.#goneError(0, sizeBytes, trouble);
    }
    this.#client = fresh;
  }

  async #close(): Promise<void> {
    await this.#gate.close();
    this.#watch?.cancel();
    await this.#reopening?.catch((error: unknown) => void asDeviceError(error));
    const client = this.#client;
    this.#client = undefined;
    if (client === undefined) return;
    const late = this.#clock.schedule(disconnectMs, () => void client.close());
    await client.disconnect();
    late.cancel();
  }
}
