import { sectorBytes } from '../block/block-device.ts';
import type { Clock } from '../block/clock.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { OpenError } from '../io/open-error.ts';
import { connectNbd, type NbdClient } from './client.ts';
import type { RemoteExport } from './client-handshake.ts';
import { NbdProtocolError } from './codec.ts';
import type { NbdAddress } from './nbd-uri.ts';

/** A server has so long to accept and to shake hands. */
export const connectTimeoutMs = 10_000;
export interface NbdConnectorOptions {
  readonly address: NbdAddress;
  readonly clock: Clock;
  /** Rejects with `StreamError`. */
  readonly stream: () => Promise<ByteStream>;
  readonly readOnly: boolean;
}

/** Makes connections to one export. */
export class NbdConnector {
  readonly address: NbdAddress;
  readonly readOnly: boolean;
  readonly #options: NbdConnectorOptions;

  constructor(options: NbdConnectorOptions) {
    this.address = options.address;
    this.readOnly = options.readOnly;
    this.#options = options;
  }

  /** One connection, with its handshake behind it. Rejects with `OpenError`, with nothing left open. */
  async connect(): Promise<NbdClient> {
    const { uri, exportName } = this.address;
    let late = false;
    let expire: () => void = () => undefined;
    const expired = new Promise<'expired'>((resolve) => {
      expire = () => resolve('expired');
    });
    const timer = this.#options.clock.schedule(connectTimeoutMs, () => {
      late = true;
      expire();
    });
    try {
      const stream = await this.#connected(expired);
      void expired.then(() => stream.close());
      return await connectNbd(stream, exportName);
    } catch (error) {
      if (late && error instanceof StreamError) {
        throw new OpenError('OPEN_FAILED', uri, `no answer in ${connectTimeoutMs / 1000} s`, error);
      }
      if (error instanceof StreamError) throw new OpenError('OPEN_NOT_FOUND', uri, error.message, error);
      if (error instanceof NbdProtocolError) throw new OpenError('OPEN_FAILED', uri, error.message, error);
      throw error;
    } finally {
      timer.cancel();
    }
  }

  /** A stream that comes after the deadline is closed. */
  async #connected(expired: Promise<'expired'>): Promise<ByteStream> {
    const connecting = this.#options.stream();
    const first = await Promise.race([connecting, expired]);
    if (first !== 'expired') return first;
    void connecting.then(
      (stream) => stream.close(),
      (error: unknown) => {
        if (!(error instanceof StreamError)) throw error;
      },
    );
    throw new StreamError('STREAM_FAILED', 'the server does not accept');
  }
}

/** Why an export that was connected to again is not the one of before, as far as anybody can know; or undefined. */
export function exportTrouble(before: RemoteExport, now: RemoteExport): string | undefined {
  if (now.sizeBytes < before.sizeBytes) {
    return `the export has ${now.sizeBytes} bytes, had ${before.sizeBytes}`;
  }
  if (now.minimumBlockBytes > Math.max(sectorBytes, before.minimumBlockBytes)) {
    return `the export takes blocks of ${now.minimumBlockBytes} bytes, took ${before.minimumBlockBytes}`;
  }
  if (now.maximumPayloadBytes < before.maximumPayloadBytes)
    return 'the export takes only shorter requests than before';
  if (before.flush && !now.flush) return 'the export offers no flush any more';
  if (before.fua && !now.fua) return 'the export offers no FUA any more';
  if (now.readOnly && !before.readOnly) return 'the export is read-only now';
  return undefined;
}
