/** What several measurements of one thing come to. */
export interface Summary {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Of at least one finite number. */
export function summarize(values: readonly number[]): Summary {
  if (values.length === 0 || !values.every(Number.isFinite)) {
    throw new RangeError(`summarize: needs finite numbers, got [${values.join(', ')}]`);
  }
  const sorted = values.toSorted((left, right) => left - right);
  return { median: medianOfSorted(sorted), least: sorted[0]!, most: sorted.at(-1)! };
}

function medianOfSorted(sorted: readonly number[]): number {
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * The order in which round number `round` measures: each contestant is first, second, … equally often, so that a machine
 * that gets slower with time, or a contestant that leaves it hot, favours nobody.
 */
export function roundOrder<T>(contestants: readonly T[], round: number): T[] {
  const start = contestants.length === 0 ? 0 : round % contestants.length;
  return [...contestants.slice(start), ...contestants.slice(0, start)];
}

/** `one` to `other`, round by round: what changed between rounds changed for both. */
export function ratiosOfRounds(one: readonly number[], other: readonly number[]): number[] {
  if (one.length !== other.length) {
    throw new RangeError(`ratiosOfRounds: ${one.length} rounds against ${other.length}`);
  }
  return one.map((value, round) => value / other[round]!);
}
