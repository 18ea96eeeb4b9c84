import assert from 'node:assert/strict';

export interface Exposition {
  /** Undefined where there is no such series. */
  readonly value: (name: string, labels: Readonly<Record<string, string>>) => number | undefined;
  /** The same, added up over all series of the name that have these labels. */
  readonly sum: (name: string, labels?: Readonly<Record<string, string>>) => number;
  /** How many series there are. */
  readonly series: number;
}

const samplePattern = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/s;
const labelPattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/y;

/**
 * A reader of Prometheus' text format, written from its page and not with what writes it. Refuses what the page does not allow: a sample before
 * its TYPE, a family in two places, a series twice.
 */
export function parseExposition(text: string): Exposition {
  const values = new Map<string, number>();
  const types = new Set<string>();
  let current = '';
  assert.ok(text === '' || text.endsWith('\n'), 'the last line ends');
  for (const line of text.split('\n').slice(0, -1)) {
    const [, keyword, family = ''] = /^# (HELP|TYPE) (\S+) /.exec(line) ?? [];
    if (keyword === 'HELP') assert.ok(!types.has(family), `${family}: one place`);
    if (keyword === 'TYPE') {
      current = family;
      types.add(family);
    }
    if (keyword !== undefined) continue;
    const [, name = '', labels = '', value = ''] = samplePattern.exec(line) ?? assert.fail(line);
    assert.match(name, new RegExp(`^${current}(_bucket|_sum|_count)?$`), `${name}: behind its TYPE`);
    const key = keyOf(name, labelsOf(labels));
    assert.ok(!values.has(key), `${key}: once`);
    values.set(key, Number(value));
  }
  return {
    value: (name, labels) => values.get(keyOf(name, labels)),
    sum: (name, labels = {}) =>
      [...values]
        .map(([key, value]) => ({
          ...(JSON.parse(key) as { name: string; labels: Record<string, string> }),
          value,
        }))
        .filter(
          (one) =>
            one.name === name && Object.entries(labels).every(([label, word]) => one.labels[label] === word),
        )
        .reduce((total, one) => total + one.value, 0),
    series: values.size,
  };
}

function keyOf(name: string, labels: Readonly<Record<string, string>>): string {
  const sorted = Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify({ name, labels: Object.fromEntries(sorted) });
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let at = 0; at < text.length; ) {
    labelPattern.lastIndex = at;
    const [whole, name, value] = labelPattern.exec(text) ?? assert.fail(text);
    labels[name!] = value!.replace(/\\(["\\n])/g, (_, letter: string) => (letter === 'n' ? '\n' : letter));
    at += whole.length;
  }
  return labels;
}
