/** Messages that only look, whatever words follow. */
const looking: ReadonlySet<string> = new Set([
  'help',
  'list',
  'query',
  'spare',
  'stats',
  'clear_stats',
  'health',
]);

/** Messages that only look when they are one word, and change something with more. */
const lookingAlone: ReadonlySet<string> = new Set(['lost', 'policy']);

/** R30: a suspended device answers these; all others would touch its disks, and wait for `resume`. */
export function worksSuspended(words: readonly string[]): boolean {
  const [verb = ''] = words;
  return looking.has(verb) || (lookingAlone.has(verb) && words.length === 1);
}
