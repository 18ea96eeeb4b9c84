import { scrubLooks } from './message-scrub.ts';
import { messageVerbs } from './remap-messages.ts';

/** Messages that only look, with the most words each may have for that. */
const lookingWordsMax: Readonly<Record<string, number>> = {
  list: Number.POSITIVE_INFINITY,
  query: Number.POSITIVE_INFINITY,
  map: Number.POSITIVE_INFINITY,
  spare: 1,
  health: Number.POSITIVE_INFINITY,
  stats: Number.POSITIVE_INFINITY,
  clear_stats: Number.POSITIVE_INFINITY,
  help: Number.POSITIVE_INFINITY,
  lost: 1,
  policy: 2,
  scrub: 1,
};

/** R30: a suspended device answers these; all others would touch its disks. */
export function worksSuspended(words: readonly string[]): boolean {
  return onlyAsks(words);
}

/** Messages that change nothing of the device, and those that nobody knows. */
export function onlyAsks(words: readonly string[]): boolean {
  const [verb = '', first = ''] = words;
  if (verb === 'scrub' && scrubLooks.includes(first)) return true;
  return !messageVerbs.includes(verb) || words.length <= (lookingWordsMax[verb] ?? 0);
}
