import { type ChartPanel, type ChartSeries, drawPanel, panelHeight } from './chart-panel.ts';
import type { EventKind, SampleRecord, SoakRecord } from './soak-records.ts';

const mebibyte = 1024 * 1024;
const width = 960;
const headHeight = 44;
const footHeight = 40;
/** More points than that nobody can tell apart, and the file stays below 100 KB. */
const pointsMax = 300;

const panels: readonly ChartPanel[] = [
  {
    title: 'resident memory (MiB)',
    scale: 'linear',
    series: [{ name: 'VmRSS', colour: '#1f5fa8', value: (sample) => sample.residentBytes / mebibyte }],
  },
  {
    title: 'open files, threads, requests in flight (number)',
    scale: 'linear',
    series: [
      { name: 'open files', colour: '#1f5fa8', value: (sample) => sample.openFiles },
      { name: 'threads', colour: '#b3541e', value: (sample) => sample.threads },
      { name: 'in flight', colour: '#3d8b40', value: (sample) => sample.requestsInFlight },
    ],
  },
  { title: 'reads (ms, logarithmic)', scale: 'logarithmic', series: latencySeries((sample) => sample.reads) },
  {
    title: 'writes (ms, logarithmic)',
    scale: 'logarithmic',
    series: latencySeries((sample) => sample.writes),
  },
  {
    title: 'blocks moved, sectors unreadable (number)',
    scale: 'linear',
    series: [
      { name: 'blocks moved', colour: '#1f5fa8', value: (sample) => sample.remappedGranules },
      { name: 'sectors unreadable', colour: '#b3541e', value: (sample) => sample.unreadableSectors },
    ],
  },
];

/** A picture of a run, in SVG: what was sampled over the minutes, with the beginnings and kills of sessions. */
export function soakChart(records: readonly SoakRecord[]): string {
  const samples = records.filter((record) => record.kind === 'sample');
  const seconds = Math.max(1, ...records.map((record) => record.seconds));
  const height = headHeight + panels.length * panelHeight + footHeight;
  const sessions = thinned(samples, pointsMax);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    '<title>One device under faults, kills and load: memory, descriptors, latencies and moved blocks over time</title>',
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    '<text x="60" y="18" font-size="14">One device under faults, kills and load</text>',
    '<text x="60" y="34" fill="#555555">grey: a session begins (assemble); red: SIGKILL; green: remove; minutes since the start</text>',
    ...panels.map((panel, index) =>
      drawPanel(panel, sessions, {
        top: headHeight + index * panelHeight,
        width,
        seconds,
        marks: [
          ...marksOf(records, 'assemble', '#bbbbbb'),
          ...marksOf(records, 'kill', '#d03030'),
          ...marksOf(records, 'remove', '#3d8b40'),
        ],
      }),
    ),
    `<text x="${width / 2}" y="${height - 8}" text-anchor="middle">minutes</text>`,
    '</svg>',
    '',
  ].join('\n');
}

function latencySeries(of: (sample: SampleRecord) => SampleRecord['reads']): ChartSeries[] {
  return [
    { name: 'p99.9', colour: '#d03030', value: (sample) => of(sample).p999Ms },
    { name: 'p99', colour: '#b3541e', value: (sample) => of(sample).p99Ms },
    { name: 'p50', colour: '#1f5fa8', value: (sample) => of(sample).p50Ms },
  ];
}

function marksOf(
  records: readonly SoakRecord[],
  event: EventKind,
  colour: string,
): { readonly seconds: number; readonly colour: string }[] {
  return records.flatMap((record) =>
    record.kind === 'event' && record.event === event ? [{ seconds: record.seconds, colour }] : [],
  );
}

/**
 * Groups of samples side by side, never of two sessions, at most about `count`, as lists of sessions. The panel draws the
 * largest value of a group, so that no peak is lost.
 */
function thinned(samples: readonly SampleRecord[], count: number): SampleRecord[][][] {
  const perGroup = Math.max(1, Math.ceil(samples.length / count));
  const sessions: SampleRecord[][][] = [];
  let last: SampleRecord | undefined;
  for (const sample of samples) {
    if (last?.session !== sample.session) sessions.push([]);
    const groups = sessions.at(-1)!;
    const group = groups.at(-1);
    if (group === undefined || group.length === perGroup) groups.push([sample]);
    else group.push(sample);
    last = sample;
  }
  return sessions;
}
