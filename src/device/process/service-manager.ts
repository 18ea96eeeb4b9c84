import process from 'node:process';
import type { Clock, ScheduledAction } from '../../block/clock.ts';
import { DatagramSocket } from '../../linux/datagram-socket.ts';
import { abstractAddress, unixAddress, unixPathBytesMax } from '../../linux/socket-address.ts';
import { oneLine } from '../setup-error.ts';

/**
 * What a service manager that started this process wants to hear (man 3 sd_notify, man 3 sd_watchdog_enabled): that the device
 * serves, that it ends, and meanwhile that the data thread turns. R35: a ping comes from a timer of the data thread and of
 * nothing else, so it never means that a disk answers. Silent where nobody asked; nothing waits for it, nothing depends on it.
 */
export class ServiceManager {
  readonly #clock: Clock;
  readonly #address: Uint8Array | undefined;
  readonly #pingIntervalMs: number;
  #socket: DatagramSocket | undefined;
  #timer: ScheduledAction | undefined;

  /** Takes its variables out of `environment`: no process that we start is to speak for us. */
  constructor(clock: Clock, environment: Record<string, string | undefined> = process.env) {
    this.#clock = clock;
    this.#address = socketAddressOf(environment['NOTIFY_SOCKET'] ?? '');
    this.#pingIntervalMs = pingIntervalOf(environment);
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  }

  /** Clients can connect. From here on the manager hears that the data thread turns. */
  ready(status: string): void {
    this.#tell(`READY=1\nSTATUS=${oneLine(status)}`);
    if (this.#address !== undefined && this.#pingIntervalMs > 0) this.#pingLater();
  }

  /** The end has begun; it may take as long as a disk that does not answer. */
  stopping(): void {
    this.#tell('STOPPING=1\nSTATUS=closing');
  }

  close(): void {
    this.#timer?.cancel();
    this.#socket?.close();
    this.#socket = undefined;
  }

  #pingLater(): void {
    this.#timer = this.#clock.schedule(this.#pingIntervalMs, () => {
      this.#tell('WATCHDOG=1');
      this.#pingLater();
    });
  }

  /** A manager that does not read loses what it does not read. */
  #tell(text: string): void {
    if (this.#address === undefined) return;
    this.#socket ??= new DatagramSocket();
    this.#socket.send(this.#address, new TextEncoder().encode(text));
  }
}

/** A path, or behind `@` a name of the abstract namespace; undefined for anything else. */
function socketAddressOf(place: string): Uint8Array | undefined {
  const bytes = Buffer.byteLength(place);
  if (bytes < 2 || bytes > unixPathBytesMax) return undefined;
  if (place.startsWith('@')) return abstractAddress(place.slice(1));
  return place.startsWith('/') ? unixAddress(place) : undefined;
}

/** Half of what the manager waits for (sd_watchdog_enabled advises it); 0 when it does not watch this process. */
function pingIntervalOf(environment: Readonly<Record<string, string | undefined>>): number {
  const watched = environment['WATCHDOG_PID'];
  if (watched !== undefined && watched !== String(process.pid)) return 0;
  const microseconds = Number(environment['WATCHDOG_USEC'] ?? 0);
  return Number.isFinite(microseconds) && microseconds > 0 ? Math.max(1, microseconds / 2000) : 0;
}
