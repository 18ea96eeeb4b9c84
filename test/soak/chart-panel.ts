import type { SampleRecord } from './soak-records.ts';

export const panelHeight = 140;
const left = 60;
const right = 130;
const plotTop = 22;
const plotBottom = 16;
const minuteSteps = [0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120];
const minuteTicksMax = 14;
const leastMs = 0.01;

export interface ChartSeries {
  readonly name: string;
  readonly colour: string;
  readonly value: (sample: SampleRecord) => number;
}

export interface ChartPanel {
  /** With its unit. */
  readonly title: string;
  readonly scale: 'linear' | 'logarithmic';
  readonly series: readonly ChartSeries[];
}

export interface PanelPlace {
  readonly top: number;
  readonly width: number;
  /** Of the whole run. */
  readonly seconds: number;
  readonly marks: readonly { readonly seconds: number; readonly colour: string }[];
}

/** One panel: marks, axes with numbers, and a line a series and session, through the largest value of each group. */
export function drawPanel(
  panel: ChartPanel,
  sessions: readonly (readonly (readonly SampleRecord[])[])[],
  place: PanelPlace,
): string {
  const bottom = place.top + panelHeight - plotBottom;
  const height = panelHeight - plotTop - plotBottom;
  const across = place.width - left - right;
  const x = (seconds: number): string => (left + (seconds / place.seconds) * across).toFixed(1);
  const values = sessions.flat(2).flatMap((sample) => panel.series.map(({ value }) => value(sample)));
  const axis = panel.scale === 'linear' ? linearAxis(values) : logarithmicAxis(values);
  const y = (value: number): string => (bottom - axis.portion(value) * height).toFixed(1);
  const lines = sessions.flatMap((groups) =>
    panel.series.map(({ colour, value }) => {
      const points = groups.map((group) => `${x(group[0]!.seconds)},${y(Math.max(...group.map(value)))}`);
      return `<polyline fill="none" stroke="${colour}" stroke-width="1.2" points="${points.join(' ')}"/>`;
    }),
  );
  const end = left + across;
  return [
    `<text x="${left}" y="${place.top + 14}" font-weight="bold">${panel.title}</text>`,
    ...place.marks.map(
      ({ seconds, colour }) =>
        `<path d="M${x(seconds)} ${bottom}V${place.top + plotTop}" stroke="${colour}" stroke-width="0.7"/>`,
    ),
    ...axis.ticks.flatMap((tick) => [
      `<path d="M${left} ${y(tick)}H${end}" stroke="#dddddd" stroke-width="0.5"/>`,
      `<text x="${left - 5}" y="${Number(y(tick)) + 4}" text-anchor="end">${tick}</text>`,
    ]),
    ...minuteTicks(place.seconds).map(
      (minute) => `<text x="${x(minute * 60)}" y="${bottom + 13}" text-anchor="middle">${minute}</text>`,
    ),
    `<path d="M${left} ${place.top + plotTop}V${bottom}H${end}" fill="none" stroke="#333333"/>`,
    ...lines,
    ...panel.series.map(
      ({ name, colour }, index) =>
        `<text x="${end + 8}" y="${place.top + plotTop + 12 + index * 15}" fill="${colour}">${name}</text>`,
    ),
  ].join('\n');
}

interface Axis {
  readonly ticks: readonly number[];
  /** 0 at the bottom to 1 at the top. */
  readonly portion: (value: number) => number;
}

/** From zero to a round number above the largest value. */
function linearAxis(values: readonly number[]): Axis {
  const most = Math.max(1, ...values);
  const power = 10 ** Math.floor(Math.log10(most / 4));
  const step = Math.max(1, [1, 2, 5, 10].map((digit) => digit * power).find((one) => one * 5 >= most)!);
  const count = Math.ceil(most / step);
  const ticks = Array.from({ length: count + 1 }, (_, index) => index * step);
  return { ticks, portion: (value) => value / (count * step) };
}

/** From the power of ten below the smallest value to the one above the largest. */
function logarithmicAxis(values: readonly number[]): Axis {
  const positive = values.filter((value) => value > 0);
  const least = Math.floor(Math.log10(Math.max(leastMs, Math.min(1, ...positive))));
  const most = Math.ceil(Math.log10(Math.max(10, ...positive)));
  const ticks = Array.from({ length: most - least + 1 }, (_, index) => Number(`1e${least + index}`));
  return {
    ticks,
    portion: (value) => (Math.log10(Math.max(value, 10 ** least)) - least) / (most - least),
  };
}

function minuteTicks(seconds: number): number[] {
  const minutes = seconds / 60;
  const step = minuteSteps.find((one) => minutes / one <= minuteTicksMax) ?? minutes / minuteTicksMax;
  return Array.from({ length: Math.floor(minutes / step) + 1 }, (_, index) =>
    Number((index * step).toFixed(2)),
  );
}
