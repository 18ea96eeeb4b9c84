import { existsSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { stateDirectory } from '../../device/host/state-directory.ts';
import { eventLogPaths } from '../../device/log/event-places.ts';
import { EventReader, type ReadEvent } from '../../device/log/event-reader.ts';
import { runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { SetupError } from '../../device/setup-error.ts';
import { type EventChoice, type EventFlags, eventChoice } from '../event-choice.ts';
import type { Terminal } from '../terminal.ts';
import { eventLine } from '../text/event-line.ts';

/** How often files are looked at with `--follow`: a person does not see the difference, a machine asks for its own copy. */
const followIntervalMs = 250;

/** `events [NAME]`: what happened, from the files: the device need not be served, and is not asked. */
export async function runEvents(
  terminal: Terminal,
  name: string | undefined,
  flags: EventFlags,
): Promise<void> {
  if (name !== undefined && flags.file !== undefined)
    throw new SetupError('usage', 'NAME and --file both say whose events; give one');
  const choice = eventChoice(flags, Date.now());
  const logs = new EventLogs(name, flags.file);
  const print = ({ line, event }: ReadEvent): void =>
    terminal.print(flags.json === true ? line : eventLine(event));
  try {
    const events = await logs.read();
    if (flags.follow !== true && logs.count === 0) refuseNothing(name, flags.file);
    for (const event of lastOf(events, choice)) print(event);
    if (flags.follow === true) {
      if (logs.count === 0) terminal.warn('dm-remap: events: none yet, waiting for the first');
      await follow(logs, choice, print);
    }
    logs.warnOfDamage(terminal);
  } finally {
    await logs.close();
  }
}

/** Ends by SIGINT or SIGTERM; by nothing else, for a device that is removed may be assembled again. */
async function follow(
  logs: EventLogs,
  choice: EventChoice,
  print: (event: ReadEvent) => void,
): Promise<void> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  try {
    for (;;) {
      await sleep(followIntervalMs, undefined, { signal: ending.signal }).catch(() => undefined);
      if (ending.signal.aborted) return;
      for (const event of await logs.read()) if (choice.chosen(event.event)) print(event);
    }
  } finally {
    process.off('SIGINT', end);
    process.off('SIGTERM', end);
  }
}

function lastOf(events: readonly ReadEvent[], { chosen, lastCount }: EventChoice): readonly ReadEvent[] {
  const all = events.filter(({ event }) => chosen(event));
  return lastCount === undefined ? all : all.slice(Math.max(0, all.length - lastCount));
}

function refuseNothing(name: string | undefined, file: string | undefined): void {
  if (file !== undefined && !existsSync(file) && !existsSync(`${file}.1`))
    throw new SetupError('not-found', `${file}: no such file`);
  if (name === undefined) return;
  throw new SetupError(
    'not-found',
    `${name}: no events of a device of this name on this machine; --file reads those of another`,
  );
}

/** The logs that are asked for; new ones are found with each look. */
class EventLogs {
  readonly #name: string | undefined;
  readonly #file: string | undefined;
  readonly #readers = new Map<string, EventReader>();
  /** Whose log it is now: that of its last event. Only with a name. */
  readonly #isOurs = new Map<EventReader, boolean>();

  constructor(name: string | undefined, file: string | undefined) {
    this.#name = name;
    this.#file = file;
  }

  /** Logs that have an event and are of the device that is asked for. */
  get count(): number {
    return [...this.#isOurs.values()].filter((ours) => ours).length;
  }

  /** What came since the last look, in the order of time; of one log always in its own order. */
  async read(): Promise<readonly ReadEvent[]> {
    const lists: (readonly ReadEvent[])[] = [];
    for (const reader of this.#allReaders()) {
      const events = await reader.read();
      const last = events.at(-1)?.event;
      if (last === undefined) continue;
      const ours = this.#name === undefined || last.device === this.#name || last.uuid === this.#name;
      this.#isOurs.set(reader, ours);
      if (ours) lists.push(events);
    }
    return merged(lists);
  }

  warnOfDamage(terminal: Terminal): void {
    for (const [reader, ours] of this.#isOurs) {
      if (!ours || reader.damagedLines === 0) continue;
      terminal.warn(
        `dm-remap: events: warning: ${reader.path}: ${reader.damagedLines} lines cannot be read, cut by a crash or a power cut`,
      );
    }
  }

  async close(): Promise<void> {
    for (const reader of this.#readers.values()) await reader.close();
  }

  #allReaders(): Iterable<EventReader> {
    const paths =
      this.#file === undefined ? eventLogPaths(stateDirectory(), runtimeDirectoryIfAny()) : [this.#file];
    for (const path of paths) if (!this.#readers.has(path)) this.#readers.set(path, new EventReader(path));
    return this.#readers.values();
  }
}

/** Nobody needs one to read what happened. */
function runtimeDirectoryIfAny(): string | undefined {
  try {
    return runtimeDirectory();
  } catch (error) {
    if (error instanceof SetupError) return undefined;
    throw error;
  }
}

/** By time; each list keeps its own order, whatever the clock of the machine did. */
function merged(lists: readonly (readonly ReadEvent[])[]): readonly ReadEvent[] {
  const next = lists.map(() => 0);
  const all: ReadEvent[] = [];
  for (;;) {
    let best: number | undefined;
    for (const [at, list] of lists.entries()) {
      const event = list[next[at]!]?.event;
      if (event === undefined) continue;
      if (best === undefined || event.unixMs < lists[best]![next[best]!]!.event.unixMs) best = at;
    }
    if (best === undefined) return all;
    all.push(lists[best]![next[best]!]!);
    next[best]! += 1;
  }
}
