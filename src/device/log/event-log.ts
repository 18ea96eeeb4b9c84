import { join } from 'node:path';
import pino from 'pino';
import type { Clock } from '../../block/clock.ts';
import type { DeviceEvent, EventSink } from '../event-kinds.ts';
import { eventLevel, eventText } from '../event-text.ts';
import type { HostState } from '../host/host-state.ts';
import type { EventLogStatus } from '../messages.ts';
import { isWorldError } from '../setup-failure.ts';
import { EventLimits } from './event-limits.ts';
import { eventFileBytesMax, eventFileName, eventFilePath, logFileBytesMax } from './event-log-file.ts';
import { type EventOrigin, encodeEvent, lastSequence } from './event-record.ts';
import { LineQueue, type LineTarget } from './line-queue.ts';
import { RotatingFile } from './rotating-file.ts';
import { standardErrorTarget } from './standard-error.ts';

/** How long the end of a device waits for its last lines. */
const closeDeadlineMs = 2_000;
/** How long the start of a device waits to hear whether its events can be stored. */
const folderDeadlineMs = 1_000;

export interface EventLogOptions {
  readonly clock: Clock;
  readonly origin: EventOrigin;
  /** Where the host remembers its devices; undefined: nowhere, the events are then in `runtimeFolder` and go with it. */
  readonly hostState: HostState | undefined;
  readonly runtimeFolder: string;
  /** The same for people; undefined: to standard error. */
  readonly logPath: string | undefined;
}

interface Waiting {
  readonly event: DeviceEvent;
  readonly unixMs: number;
}

/**
 * What happened to a device: each event once, stored for ever as a line of JSON and told to people as a line of the log.
 *
 *     append -> limits by kind -> events.jsonl   (by LineQueue: nobody waits)
 *                              -> daemon.log, or standard error
 *
 * Never called per healthy I/O. A full or hanging disk under it costs events, which are counted and told, never the device.
 */
export class EventLog implements EventSink {
  readonly #clock: Clock;
  readonly #limits: EventLimits;
  readonly #file: RotatingFile;
  readonly #events: LineQueue<Waiting>;
  readonly #lines: LineQueue<string>;
  readonly #logger: pino.Logger;
  readonly #place: string;
  readonly #isLasting: boolean;
  readonly #makeFolder: (() => Promise<void>) | undefined;
  #sequence = 0;

  constructor(options: EventLogOptions) {
    const { clock, origin, hostState, runtimeFolder, logPath } = options;
    this.#clock = clock;
    this.#limits = new EventLimits(clock, (of, count) => this.#store({ kind: 'suppressed', of, count }));
    this.#isLasting = hostState !== undefined;
    this.#makeFolder = hostState === undefined ? undefined : () => hostState.makeFolder(origin.uuid);
    this.#place =
      hostState === undefined ? join(runtimeFolder, eventFileName) : eventFilePath(hostState, origin.uuid);
    this.#file = new RotatingFile({
      path: async () => {
        await hostState?.makeFolder(origin.uuid);
        return this.#place;
      },
      bytesMax: eventFileBytesMax,
      onTail: (text) => {
        this.#sequence = Math.max(this.#sequence, lastSequence(text));
      },
    });
    const onDropped = (count: number, reason: string): void =>
      this.append({ kind: 'dropped', count, reason });
    this.#events = new LineQueue({
      clock,
      target: this.#file,
      encode: ({ event, unixMs }) => encodeEvent(event, origin, this.#nextSequence(), unixMs),
      onDropped,
    });
    const people: LineTarget =
      logPath === undefined
        ? standardErrorTarget
        : new RotatingFile({ path: () => Promise.resolve(logPath), bytesMax: logFileBytesMax });
    this.#lines = new LineQueue({ clock, target: people, encode: (line: string) => line, onDropped });
    // pino asks of a stream no more than this.
    this.#logger = pino(
      { base: { pid: origin.pid, device: origin.device } },
      { write: (line: string) => this.#lines.add(line) },
    );
  }

  /** Why nothing can be remembered on this host, the system's words; undefined when it can, or has not answered within a second. */
  whyNotLasting(): Promise<string | undefined> {
    if (this.#makeFolder === undefined) return Promise.resolve(undefined);
    const made = this.#makeFolder().then(
      () => undefined,
      (error: unknown) => {
        if (!isWorldError(error)) throw error;
        return error instanceof Error ? error.message : String(error);
      },
    );
    let timer: { cancel(): void } | undefined;
    const deadline = new Promise<undefined>((resolve) => {
      timer = this.#clock.schedule(folderDeadlineMs, () => resolve(undefined));
    });
    return Promise.race([made, deadline]).finally(() => timer?.cancel());
  }

  append(event: DeviceEvent): void {
    if (this.#limits.admit(event.kind)) this.#store(event);
  }

  status(): EventLogStatus {
    const trouble = this.#events.trouble;
    return {
      path: this.#place,
      trouble:
        trouble === '' && !this.#isLasting
          ? 'goes with the device: no folder for it, set DM_REMAP_STATE_DIR'
          : trouble,
      dropped: this.#events.dropped,
      suppressed: this.#limits.suppressed,
    };
  }

  /** R35: the last event of a process that ends at once; it is in the file when this returns, unless the disk hangs. */
  lastWords(event: DeviceEvent): void {
    this.#store(event);
    this.#events.flushNow();
    this.#lines.flushNow();
  }

  /** Writes what waits, within two seconds. */
  async close(): Promise<void> {
    this.#limits.close();
    await Promise.all([this.#events.close(closeDeadlineMs), this.#lines.close(closeDeadlineMs)]);
  }

  #store(event: DeviceEvent): void {
    this.#events.add({ event, unixMs: this.#clock.unixMs() });
    const { kind, ...fields } = event;
    this.#logger[eventLevel(event)]({ kind, ...fields }, eventText(event));
  }

  #nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }
}
