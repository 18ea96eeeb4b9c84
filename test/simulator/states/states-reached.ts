import { assert } from '../../../src/block/assert.ts';
import type { WorldOutcome } from '../../../src/simulator/world/world-outcome.ts';
import { CodeCounts, type CodeSpan } from './code-counts.ts';
import { type Anchor, type EventRow, eventRows } from './event-rows.ts';
import { compiledSources, rulePlaces } from './rule-places.ts';

/** How often something happened, and in how many worlds. */
export interface Reached {
  times: number;
  worlds: number;
}

/** What some worlds reached: rows of the event table, and places of rules, in their order. Plain, to be sent between threads. */
export interface StatesReached {
  readonly rows: readonly Reached[];
  readonly places: readonly Reached[];
}

/** What of the event table and of the rules is looked at. */
export interface StatesAsked {
  readonly rows: readonly EventRow[];
  readonly places: ReturnType<typeof rulePlaces>;
}

export function statesAsked(): StatesAsked {
  return { rows: eventRows, places: rulePlaces() };
}

export function nothingReached({ rows, places }: StatesAsked): StatesReached {
  const none = (): Reached => ({ times: 0, worlds: 0 });
  return { rows: rows.map(none), places: places.map(none) };
}

export function addReached(sum: StatesReached, one: StatesReached): void {
  const add = (into: readonly Reached[], from: readonly Reached[]): void => {
    for (const [index, { times, worlds }] of from.entries()) {
      into[index]!.times += times;
      into[index]!.worlds += worlds;
    }
  };
  add(sum.rows, one.rows);
  add(sum.places, one.places);
}

/**
 * Measures what worlds reach, from what V8 executed of the shipped code and from what the world saw of disks and answers. The
 * code itself counts nothing for this.
 */
export class StatesMeter {
  readonly #asked: StatesAsked;
  readonly #counts = new CodeCounts();
  readonly #spans: readonly CodeSpan[];
  /** Of each row: its anchors' indices in `#spans`. */
  readonly #anchors: readonly (readonly number[])[];

  constructor(asked: StatesAsked) {
    this.#asked = asked;
    const spans: CodeSpan[] = [...asked.places];
    const sources = compiledSources();
    this.#anchors = asked.rows.map(({ anchors = [] }) =>
      anchors.map((anchor) => spans.push(spanOf(anchor, sources.get(anchor.file))) - 1),
    );
    this.#spans = spans;
  }

  /** To be called before a world. */
  begin(): void {
    this.#counts.take([]);
  }

  /** What the world that has ended since `begin` reached. */
  ended(outcome: WorldOutcome): StatesReached {
    const counts = this.#counts.take(this.#spans);
    const reached = (times: number): Reached => ({ times, worlds: Math.min(times, 1) });
    const places = this.#asked.places.map((_place, index) => reached(counts[index]!));
    const rows = this.#asked.rows.map((row, index) => {
      const times = this.#anchors[index]!.map((span) => counts[span]!);
      if (row.seen !== undefined) times.push(row.seen(outcome));
      return reached(times.length === 0 ? 0 : Math.min(...times));
    });
    return { rows, places };
  }

  end(): void {
    this.#counts.end();
  }
}

/** The last character of the code: in an operand or an arrow function that is inside of it. */
function spanOf(
  { file, code }: Anchor,
  source: { readonly url: string; readonly text: string } | undefined,
): CodeSpan {
  assert(source !== undefined, `there is no ${file}`);
  const start = source.text.indexOf(code);
  const isOnce = start >= 0 && source.text.indexOf(code, start + 1) < 0;
  assert(isOnce, `${file} must have this once: ${code}`);
  const from = start + code.length - 1;
  return { url: source.url, from, to: from };
}
