import type { DiskAdvice } from './advice.ts';

/** From a measure of `atLeast` on `then` holds. Lists of them ascend in `atLeast` and get worse, so that more faults never raise a score. */
export type Step<T> = readonly [atLeast: number, then: T];

/** One line of the table of rules: what is looked at, and what follows. */
export interface Rule<Facts> {
  readonly id: string;
  /** What is measured, for people. */
  readonly looksAt: string;
  /** 0 for no trouble; more with more of it. */
  readonly measure: (facts: Facts) => number;
  /** Points taken from the score. */
  readonly lowers: readonly Step<number>[];
  /** The score is no higher than this. */
  readonly holds?: readonly Step<number>[];
  /** All that are reached are said. */
  readonly advises?: readonly Step<DiskAdvice>[];
  /** Link trouble without trouble of the medium is a matter of cables. */
  readonly evidence?: 'link' | 'medium';
  /** Why the score is lower, one clause. */
  readonly says: (measure: number, facts: Facts) => string;
  /** Where the rule comes from; a word in brackets is in the list of sources. */
  readonly source: string;
}

/** What the last step that is reached says. */
export function stepAt<T>(steps: readonly Step<T>[] | undefined, measure: number): T | undefined {
  return steps?.findLast(([atLeast]) => measure >= atLeast)?.[1];
}

/** What every step that is reached says. */
export function stepsReached<T>(steps: readonly Step<T>[] | undefined, measure: number): readonly T[] {
  return (steps ?? []).filter(([atLeast]) => measure >= atLeast).map(([, then]) => then);
}

export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
