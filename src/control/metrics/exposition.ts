export type Labels = Readonly<Record<string, string>>;

/** `suffix` is for the parts of a histogram. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

/** Everything of one name. */
export interface MetricFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

/**
 * The text format of Prometheus, version 0.0.4
 * (https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md). A family without samples is not mentioned.
 */
export function expositionText(families: readonly MetricFamily[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(
      ({ name, type, help, samples }) =>
        `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n` +
        samples.map((sample) => sampleLine(name, sample)).join(''),
    )
    .join('');
}

function sampleLine(name: string, { labels, value, suffix }: Sample): string {
  const texts = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  const braces = texts.length === 0 ? '' : `{${texts.join(',')}}`;
  return `${name}${suffix ?? ''}${braces} ${value}\n`;
}

/** Names of disks may hold anything; a line feed in one would begin a line of somebody else's making. */
function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('\r', ' ');
}
