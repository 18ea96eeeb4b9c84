import type { Clock, ScheduledAction } from '../block/clock.ts';
import { DeviceError, deviceError, type FailedRange } from '../block/device-error.ts';
import { Errno, failureKindOfErrno } from '../block/errno.ts';
import { StreamError } from '../io/byte-stream.ts';
import { OpenError } from '../io/open-error.ts';
import { type NbdClient, NbdRequestError } from './client.ts';
import type { RemoteExport } from './client-handshake.ts';
import { NbdProtocolError } from './codec.ts';
import { exportTrouble, type NbdConnector } from './nbd-connector.ts';
import type { RemoteFailure } from './read-assembly.ts';

/** Requests sent and not answered; more wait their turn here. */
export const requestsInFlightMax = 256;
/**
 * A server that has not answered anything for so long is taken for gone: its connection is dropped. Longer than a disk's own
 * deadline of 30 s, for behind the server there may be one that is just being reset, or a large cache being flushed.
 */
export const replyTimeoutMs = 60_000;
/** Time for a goodbye. */
const disconnectMs = 2_000;

export interface RemoteLinkOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly connector: NbdConnector;
  readonly clock: Clock;
  readonly client: NbdClient;
}

/** The one connection of a disk that is an NBD export, and the next ones after it: errors of both are the disk's errors. */
export class RemoteLink {
  readonly #options: RemoteLinkOptions;
  readonly #waiting: (() => void)[] = [];
  /** Undefined between the end of a connection and the next. */
  #client: NbdClient | undefined;
  #sent = 0;
  #answers = 0;
  #watch: ScheduledAction | undefined;
  #closed = false;

  constructor(options: RemoteLinkOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /** The connection of this moment. */
  get client(): NbdClient | undefined {
    return this.#client;
  }

  /** One request, about these bytes. Rejects with `DeviceError`. */
  async call(offset: number, length: number, send: (client: NbdClient) => Promise<void>): Promise<void> {
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

  /** A new connection to the same export as `before`. Rejects with `DeviceError` of kind `path`. */
  async reopen(before: RemoteExport): Promise<void> {
    const { sizeBytes, connector } = this.#options;
    const old = this.#client;
    this.#forget();
    await old?.close();
    let fresh: NbdClient;
    try {
      fresh = await connector.connect();
    } catch (error) {
      if (!(error instanceof OpenError)) throw error;
      throw this.#goneError(0, sizeBytes, error.message);
    }
    const trouble = this.#closed ? 'is closed' : exportTrouble(before, fresh.exported);
    if (trouble !== undefined) {
      await fresh.close();
      throw this.#goneError(0, sizeBytes, trouble);
    }
    this.#client = fresh;
  }

  /** A connection that is being made is not kept from now on. */
  stopReopening(): void {
    this.#closed = true;
  }

  /** After the last call. */
  async close(): Promise<void> {
    const client = this.#client;
    this.#forget();
    if (client === undefined) return;
    const late = this.#options.clock.schedule(disconnectMs, () => void client.close());
    await client.disconnect();
    late.cancel();
  }

  /** One timer while anything is under way: a server that says nothing at all has gone, whatever TCP believes. */
  #watchAnswers(client: NbdClient): void {
    if (this.#watch !== undefined) return;
    const answers = this.#answers;
    this.#watch = this.#options.clock.schedule(replyTimeoutMs, () => {
      this.#watch = undefined;
      if (this.#sent === 0) return;
      if (this.#answers === answers) this.#drop(client);
      else this.#watchAnswers(client);
    });
  }

  #errorOf(client: NbdClient | undefined, error: unknown, offset: number, length: number): DeviceError {
    const { name, logicalBlockBytes } = this.#options;
    if (error instanceof NbdRequestError) {
      const { errno, failures = [{ offset, length, errno }] } = error;
      return new DeviceError(name, failedBlocks(failures, logicalBlockBytes), {
        // EINVAL of a server is no proof that we asked wrongly: servers differ in what they take.
        ...(failureKindOfErrno(errno) === 'bug' ? { detail: error.message } : {}),
      });
    }
    if (!(error instanceof StreamError) && !(error instanceof NbdProtocolError)) throw error;
    if (client !== undefined) this.#drop(client);
    return this.#goneError(offset, length, error.message);
  }

  /** ENODEV: only opening it anew can help (R32). */
  #goneError(offset: number, length: number, detail: string): DeviceError {
    return deviceError(this.#options.name, 'path', offset, length, Errno.ENODEV, detail);
  }

  #drop(client: NbdClient): void {
    if (this.#client === client) this.#forget();
    void client.close();
  }

  /** The next connection has a watch of its own, from its first request on. */
  #forget(): void {
    this.#client = undefined;
    this.#watch?.cancel();
    this.#watch = undefined;
  }
}

/** Whole blocks: what a server calls bad may begin anywhere. */
function failedBlocks(failures: readonly RemoteFailure[], blockBytes: number): FailedRange[] {
  const ranges: FailedRange[] = [];
  let before = 0;
  for (const { offset, length, errno } of failures) {
    const from = Math.max(Math.floor(offset / blockBytes) * blockBytes, before);
    const to = Math.ceil((offset + length) / blockBytes) * blockBytes;
    if (to <= from) continue;
    const kind = failureKindOfErrno(errno);
    ranges.push({ offset: from, length: to - from, kind: kind === 'bug' ? 'refused' : kind, errno });
    before = to;
  }
  return ranges;
}
