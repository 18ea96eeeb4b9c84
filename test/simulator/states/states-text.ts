import { type EventRow, rulesElsewhere } from './event-rows.ts';
import type { Reached, StatesAsked, StatesReached } from './states-reached.ts';

/** One line: how much of the event table and of the rules was reached. */
export function statesLine(asked: StatesAsked, reached: StatesReached): string {
  const inWorlds = asked.rows.filter(({ elsewhere }) => elsewhere === undefined);
  const rows = asked.rows.filter((_row, index) => reached.rows[index]!.times > 0);
  const places = reached.places.filter(({ times }) => times > 0);
  const gaps = gapsOf(asked, reached);
  const summary =
    `reached:  ${rows.length} of ${inWorlds.length} rows of the event table, ` +
    `${places.length} of ${asked.places.length} places of ${rulesOf(asked).length} rules (--states lists them)`;
  return gaps.length === 0 ? summary : `${summary}\nnever:    ${gaps.join('; ')}`;
}

/** Rows and rules that no world reached. */
export function gapsOf(asked: StatesAsked, reached: StatesReached): string[] {
  const rows = asked.rows
    .filter((row, index) => row.elsewhere === undefined && reached.rows[index]!.times === 0)
    .map(nameOfRow);
  const rules = rulesOf(asked).filter(
    (rule) => rulesElsewhere[rule] === undefined && timesOfRule(asked, reached, rule).covered === 0,
  );
  return [...rows, ...rules];
}

/** Every row and every rule, a line each. */
export function statesText(asked: StatesAsked, reached: StatesReached, worlds: number): string {
  const rows = asked.rows.map((row, index) => {
    const name = nameOfRow(row);
    if (row.elsewhere !== undefined) return `${'elsewhere'.padStart(19)}  ${name} (${row.elsewhere.test})`;
    return `${inWorlds(reached.rows[index]!, worlds)}  ${name}`;
  });
  const rules = rulesOf(asked).flatMap((rule) => {
    const { covered, places, most } = timesOfRule(asked, reached, rule);
    const missing = asked.places
      .filter((place, index) => place.rule === rule && reached.places[index]!.times === 0)
      .map(({ text }) => `${''.padStart(21)}not ${text}`);
    return [`${inWorlds(most, worlds)}  ${rule}, ${covered} of ${places} places`, ...missing];
  });
  return ['times     in worlds  row of the event table', ...rows, 'times     in worlds  rule', ...rules].join(
    '\n',
  );
}

export function nameOfRow({ event, way }: EventRow): string {
  return way === undefined ? event : `${event} (${way})`;
}

export function rulesOf({ places }: StatesAsked): string[] {
  const order = (rule: string): number => (rule.startsWith('M') ? 100 : 0) + Number(rule.slice(1));
  return [...new Set(places.map(({ rule }) => rule))].sort((one, other) => order(one) - order(other));
}

function timesOfRule(
  asked: StatesAsked,
  reached: StatesReached,
  rule: string,
): { covered: number; places: number; most: Reached } {
  const ofRule = reached.places.filter((_place, index) => asked.places[index]!.rule === rule);
  const most = ofRule.reduce((best, one) => (one.worlds > best.worlds ? one : best));
  return { covered: ofRule.filter(({ times }) => times > 0).length, places: ofRule.length, most };
}

function inWorlds({ times, worlds }: Reached, all: number): string {
  return `${String(times).padStart(9)} ${String(worlds).padStart(4)}/${all}`.padEnd(19);
}
