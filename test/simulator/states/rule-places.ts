import { readdirSync, readFileSync } from 'node:fs';
import type { CodeSpan } from './code-counts.ts';

/** Code that a comment says implements a rule. */
export interface RulePlace extends CodeSpan {
  readonly rule: string;
  /** For people: the file, and the first words of the comment's line. */
  readonly text: string;
}

const compiled = new URL('../../../src/', import.meta.url);
/** Rooms that decide what becomes of a request and of a record; their comments name the rules. */
const rooms = ['remap', 'metadata'];
const ruleName = /\b[RM][0-9]{1,2}\b/g;
const comment = /\/\*[\s\S]*?\*\/|(?:^[ \t]*\/\/[^\n]*\n)+/gm;

/** Compiled sources, by their name below `src/`, with `.ts`. */
export function compiledSources(): ReadonlyMap<string, { readonly url: string; readonly text: string }> {
  const sources = new Map<string, { readonly url: string; readonly text: string }>();
  for (const room of rooms) {
    for (const name of readdirSync(new URL(`${room}/`, compiled), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.js')) continue;
      const url = new URL(`${room}/${name}`, compiled);
      const text = readFileSync(url, 'utf8');
      sources.set(`${room}/${name.replace(/\.js$/, '.ts')}`, { url: url.href, text });
    }
  }
  return sources;
}

/**
 * Every place that a comment gives a rule's number: the code behind the comment. A comment on a class means its functions. What
 * is not executed with a request, such as a constant or a field, is no place.
 */
export function rulePlaces(): RulePlace[] {
  const places: RulePlace[] = [];
  for (const [name, { url, text }] of compiledSources()) {
    for (const match of text.matchAll(comment)) {
      const rules = new Set(match[0].match(ruleName) ?? []);
      if (rules.size === 0) continue;
      const span = codeBehind(text, match.index + match[0].length);
      if (span === undefined) continue;
      for (const rule of rules)
        places.push({ rule, url, ...span, text: `${name}: ${wordsOf(match[0], rule)}` });
    }
  }
  return places;
}

const classStart = /^(?:export )?(?:abstract )?class /;
const functionStart = /^(?:export )?(?:async )?function/;

function codeBehind(text: string, at: number): { from: number; to: number } | undefined {
  const from = at + (spaceAndComments.exec(text.slice(at))?.[0].length ?? 0);
  const line = text.slice(from, text.indexOf('\n', from));
  if (classStart.test(line)) return { from, to: text.indexOf('\n}', from) + 2 };
  const indent = /[^\n]*$/.exec(text.slice(0, from))?.[0].length ?? 0;
  const isMember = indent === 4 && text.lastIndexOf('\nexport class ', from) > text.lastIndexOf('\n}', from);
  if (indent > 0 && !isMember) return isInConstant(text, from) ? undefined : { from, to: from };
  // A field or a constant has no count of its own. Of a function the body's: where it begins, V8 counts for it.
  if (!line.endsWith('{') || (!isMember && !functionStart.test(line))) return undefined;
  const body = from + line.length;
  return { from: body, to: body };
}

/** True inside of a constant of the file, which is made once, when the file is loaded. */
function isInConstant(text: string, at: number): boolean {
  const topLevel = text
    .slice(0, at)
    .split('\n')
    .findLast((line) => /^[a-z]/.test(line));
  return topLevel !== undefined && /^(?:export )?const \w+ = [^>]*$/.test(topLevel);
}

const spaceAndComments = /^(?:\s|\/\*[\s\S]*?\*\/|\/\/[^\n]*\n)*/;

function wordsOf(words: string, rule: string): string {
  const line = words.split('\n').find((one) => one.includes(rule)) ?? words;
  return line.replace(/^[\s/*]+|[\s*/]+$/g, '').slice(0, 90);
}
