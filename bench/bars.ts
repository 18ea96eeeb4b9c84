import { compareRows, type Figure, type Row } from './measure.ts';

/** What a ratio must come to. */
export interface Bar {
  readonly workload: string;
  readonly one: string;
  /** Against the best of these that took part. */
  readonly others: readonly string[];
  readonly figure: Figure;
  /** Exactly one of them is there: rates must be high, processor time low. */
  readonly least?: number;
  readonly most?: number;
}

export interface BarResult {
  readonly bar: Bar;
  readonly other: string;
  readonly ratio: number;
  readonly met: boolean;
  /** One of both rows says more of the client than of the server. */
  readonly clientBound: boolean;
}

/** The rows of one workload. */
export interface MeasuredRows {
  /** Of the workload. */
  readonly name: string;
  readonly rows: readonly Row[];
}

/** The bars that can be judged by what was measured, in their order. */
export function judgeBars(bars: readonly Bar[], sections: readonly MeasuredRows[]): BarResult[] {
  const results: BarResult[] = [];
  for (const bar of bars) {
    const rows = sections.find(({ name }) => name === bar.workload)?.rows ?? [];
    const one = rows.find(({ contestant }) => contestant === bar.one);
    const others = rows.filter(({ contestant }) => bar.others.includes(contestant));
    if (one !== undefined && others.length > 0) results.push(judge(bar, one, others));
  }
  return results;
}

function judge(bar: Bar, one: Row, others: readonly Row[]): BarResult {
  const ratios = others.map((other) => ({ other, ratio: compareRows(one, other, bar.figure).median }));
  // The best of the others is the one that makes this ratio worst.
  const worse = bar.least === undefined ? 1 : -1;
  const [hardest] = ratios.toSorted((left, right) => (right.ratio - left.ratio) * worse);
  const { other, ratio } = hardest!;
  return {
    bar,
    other: other.contestant,
    ratio,
    met: bar.least === undefined ? ratio <= (bar.most ?? 0) : ratio >= bar.least,
    clientBound: one.clientBound || other.clientBound,
  };
}
