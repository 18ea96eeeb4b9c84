import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type Geometry,
  IoFlags,
  rejectInvalid,
} from '../block/block-device.ts';
import type { Clock } from '../block/clock.ts';
import { asDeviceError, DeviceError, deviceError, type FailedRange } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { RequestGate } from '../block/request-gate.ts';
import { extentsOfAllocation } from './allocation-extents.ts';
import type { NbdClient } from './client.ts';
import type { RemoteExport } from './client-handshake.ts';
import { DoubtfulWrites } from './doubtful-writes.ts';
import type { NbdConnector } from './nbd-connector.ts';
import { RemoteLink } from './remote-link.ts';

/** A longer request is sent in parts, side by side. */
const partBytesMax = 1024 * 1024;
const zeroPieceBytes = 64 * 1024;
/**
 * Bytes of one command that carries no payload: a server that zeroes or trims slowly should say something within
 * `replyTimeoutMs` all the same.
 */
const rangeBytesMax = 64 * 1024 * 1024;
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
  readonly #link: RemoteLink;
  readonly #partBytes: number;
  readonly #gate = new RequestGate();
  readonly #doubtful = new DoubtfulWrites();
  #replaying: Promise<void> = Promise.resolve();
  #reopening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** Use `openNbdDevice`. */
  constructor(connector: NbdConnector, clock: Clock, client: NbdClient, geometry: Geometry) {
    const { exported } = client;
    this.name = connector.address.uri;
    this.geometry = geometry;
    this.exported = exported;
    const write = !(connector.readOnly || exported.readOnly);
    this.capabilities = {
      write,
      flush: exported.flush,
      fua: write && exported.fua,
      discard: write && exported.trim,
      writeZeroes: write,
      fastZeroes: write && exported.fastZeroes,
      rotational: exported.rotational,
      volatileCache: exported.flush,
    };
    const { sizeBytes, logicalBlockBytes: block } = geometry;
    this.#link = new RemoteLink({
      name: this.name,
      sizeBytes,
      logicalBlockBytes: block,
      connector,
      clock,
      client,
    });
    this.#partBytes = Math.floor(Math.min(partBytesMax, exported.maximumPayloadBytes) / block) * block;
  }

  /** Requests that were admitted and have no answer. */
  get inFlight(): number {
    return this.#gate.inFlight;
  }

  read(target: Uint8Array, offset: number): Promise<void> {
    return this.#admitted(offset, target.length, () =>
      this.#inParts(target.length, (at, length) => {
        const part = target.subarray(at, at + length);
        return this.#link.call(offset + at, length, (client) => client.read(part, offset + at));
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

  /** R20: best effort. A server that knows no trim has done all that was promised. */
  discard(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    return this.#admitted(offset, length, async () => {
      this.#refuseReadOnly(offset, length);
      // TRIM has no such flag, and behind a server there may be a file that gives its room away (M17).
      if ((flags & IoFlags.keepAllocated) !== 0) return;
      await this.#inPieces(offset, length, rangeBytesMax, async (at, pieceLength) => {
        if (this.#link.client?.exported.trim === false) return;
        await this.#change(at, pieceLength, (client) => client.trim(at, pieceLength));
      });
    });
  }

  /** By the server where it can, else by writing zeros. */
  writeZeroes(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    return this.#admitted(offset, length, async () => {
      this.#refuseReadOnly(offset, length);
      const { writeZeroes, fastZeroes } = this.#link.client?.exported ?? this.exported;
      const fast = (flags & IoFlags.onlyIfFast) !== 0;
      if (fast && !fastZeroes) throw deviceError(this.name, 'unsupported', offset, length, Errno.EOPNOTSUPP);
      if (!writeZeroes) {
        await this.#writePlainZeroes(offset, length, flags);
        return;
      }
      const options = { fua: this.#isFua(flags), noHole: (flags & IoFlags.keepAllocated) !== 0, fast };
      await this.#inPieces(offset, length, rangeBytesMax, (at, pieceLength) =>
        this.#change(at, pieceLength, (client) => client.writeZeroes(at, pieceLength, options)),
      );
    });
  }

  async extents(offset: number, length: number): Promise<readonly Extent[]> {
    const covered = Math.min(length, rangeBytesMax);
    let extents: readonly Extent[] = [{ length, state: 'data' }];
    await this.#admitted(offset, length, async () => {
      if (this.#link.client?.exported.allocationId === undefined) return;
      await this.#link.call(offset, covered, async (client) => {
        const descriptors = await client.allocation(offset, covered);
        extents = extentsOfAllocation(descriptors, offset, covered, this.geometry.logicalBlockBytes);
      });
    });
    return extents;
  }

  /** R32: a new connection to the same export. Rejects with a `DeviceError` of kind `path`, and may be called again. */
  reopen(): Promise<void> {
    this.#reopening ??= this.#link.reopen(this.exported).finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  /** R30: why the disk cannot be reached, or undefined. Which disk it is, only its URI says. */
  identityTrouble(): Promise<string | undefined> {
    return Promise.resolve(
      this.#link.client === undefined ? 'the connection to its NBD server is lost' : undefined,
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

  /** One after the other, and nothing after a failure. */
  async #inPieces(
    offset: number,
    length: number,
    bytesMax: number,
    send: (at: number, pieceLength: number) => Promise<void>,
  ): Promise<void> {
    const end = offset + length;
    for (let at = offset; at < end; at += bytesMax) await send(at, Math.min(bytesMax, end - at));
  }

  async #writePlainZeroes(offset: number, length: number, flags: number): Promise<void> {
    const zeroes = new Uint8Array(Math.min(length, zeroPieceBytes, this.#partBytes));
    await this.#inPieces(offset, length, zeroes.length, (at, pieceLength) =>
      this.#writePart(zeroes.subarray(0, pieceLength), at, flags),
    );
  }

  #writePart(source: Uint8Array, offset: number, flags: number): Promise<void> {
    const fua = this.#isFua(flags);
    return this.#change(offset, source.length, (client) => client.write(source, offset, { fua }));
  }

  #isFua(flags: number): boolean {
    return (flags & IoFlags.fua) !== 0 && this.capabilities.fua;
  }

  /** Sends what changes these bytes: a write, zeroes or a trim. */
  async #change(offset: number, length: number, send: (client: NbdClient) => Promise<void>): Promise<void> {
    if (!this.#doubtful.overlaps(offset, length)) {
      await this.#sendChange(offset, length, send);
      return;
    }
    const turn = this.#replaying.then(() => this.#replay(offset, length, send));
    // The next one has its own answer; a bug is thrown by `turn`.
    this.#replaying = turn.catch(() => undefined);
    await turn;
  }

  /** R33: the lock is held until a flush on this connection has succeeded. */
  async #replay(offset: number, length: number, send: (client: NbdClient) => Promise<void>): Promise<void> {
    const stillDoubtful = this.#doubtful.overlaps(offset, length);
    await this.#sendChange(offset, length, send);
    if (stillDoubtful) await this.#flushConnection();
  }

  /** Also a trim that nobody waits for any more may still be done, and would take away what is written later. */
  async #sendChange(
    offset: number,
    length: number,
    send: (client: NbdClient) => Promise<void>,
  ): Promise<void> {
    // Who it was sent to is known only then: it may have waited for its turn meanwhile.
    let sentTo: NbdClient | undefined;
    try {
      await this.#link.call(offset, length, (client) => {
        sentTo = client;
        return send(client);
      });
    } catch (error) {
      if (sentTo !== undefined && this.#link.client !== sentTo) this.#doubtful.add(offset, length);
      throw error;
    }
  }

  async #flushConnection(): Promise<void> {
    if (!this.exported.flush) return;
    const client = this.#link.client;
    await this.#link.call(0, this.geometry.sizeBytes, (connected) => connected.flush());
    // Doubt begins with the end of a connection: what there is now is older than this one.
    if (this.#link.client === client) this.#doubtful.clear();
  }

  async #close(): Promise<void> {
    const drained = this.#gate.close();
    this.#link.stopReopening();
    await drained;
    await this.#reopening?.catch((error: unknown) => void asDeviceError(error));
    await this.#link.close();
  }
}
