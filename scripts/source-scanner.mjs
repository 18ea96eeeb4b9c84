// Reads TypeScript far enough for the rules of scripts/check.mjs: what a file imports, and its code without comments and
// texts. No parser: the sources are formatted and compile, so tokens are enough.

const regexBefore = new Set([
  'return',
  'typeof',
  'case',
  'in',
  'of',
  'do',
  'else',
  'void',
  'delete',
  'throw',
  'new',
  'await',
  'yield',
]);

/**
 * `code` is `text` with comments, the insides of strings, templates and regular expressions as blanks; places and
 * line ends stay. `strings` maps the place of an opening quote to what the string says.
 */
export function maskSource(text) {
  const code = [...text.replace(/[^\n]/gu, (letter) => ' '.repeat(letter.length))];
  const strings = new Map();
  /** Depths of braces at which a template's `${` was opened. */
  const templates = [];
  let depth = 0;
  let place = 0;
  /** Where the last piece of code ends: decides what a slash means. */
  let lastCode = -1;

  const keep = (at) => {
    code[at] = text[at];
    if (!/\s/.test(text[at])) lastCode = at;
  };
  const keepRange = (from, to) => {
    for (let at = from; at < to; at += 1) keep(at);
  };

  const slashStartsRegex = () => {
    if (lastCode < 0) return true;
    const before = text[lastCode];
    const previous = text[lastCode - 1] ?? '';
    if (/[\w$)\]]/.test(before)) {
      const word = /[\w$]+$/.exec(text.slice(Math.max(0, lastCode - 20), lastCode + 1))?.[0];
      return word !== undefined && regexBefore.has(word);
    }
    if (/["'`]/.test(before)) return false;
    if (before === '!') return !/[\w$)\]]/.test(previous);
    if ((before === '+' || before === '-') && previous === before) return false;
    return true;
  };

  const skipRegex = () => {
    let inClass = false;
    for (let at = place + 1; at < text.length && text[at] !== '\n'; at += 1) {
      if (text[at] === '\\') at += 1;
      else if (text[at] === '[') inClass = true;
      else if (text[at] === ']') inClass = false;
      else if (text[at] === '/' && !inClass) return at + 1;
    }
    return undefined;
  };

  const skipQuoted = (quote) => {
    let at = place + 1;
    while (at < text.length && text[at] !== quote && text[at] !== '\n') at += text[at] === '\\' ? 2 : 1;
    strings.set(place, text.slice(place + 1, at));
    keep(place);
    if (at < text.length) keep(at);
    return at + 1;
  };

  /** From after a backtick, or after the brace that ends an expression, to the end or the next expression. */
  const skipTemplate = (from) => {
    let at = from;
    while (at < text.length) {
      if (text[at] === '\\') at += 2;
      else if (text[at] === '`') {
        keep(at);
        return at + 1;
      } else if (text[at] === '$' && text[at + 1] === '{') {
        templates.push(depth);
        depth += 1;
        keepRange(at + 1, at + 2);
        return at + 2;
      } else at += 1;
    }
    return at;
  };

  while (place < text.length) {
    const letter = text[place];
    const next = text[place + 1];
    if (letter === '/' && next === '/') {
      const end = text.indexOf('\n', place);
      place = end < 0 ? text.length : end;
    } else if (letter === '/' && next === '*') {
      const end = text.indexOf('*/', place + 2);
      place = end < 0 ? text.length : end + 2;
    } else if (letter === '"' || letter === "'") {
      place = skipQuoted(letter);
    } else if (letter === '`') {
      const start = place;
      keep(place);
      place = skipTemplate(place + 1);
      if (text[place - 1] === '`') strings.set(start, text.slice(start + 1, place - 1));
    } else if (letter === '/' && slashStartsRegex()) {
      const end = skipRegex();
      if (end === undefined) keep(place);
      else {
        keep(place);
        keep(end - 1);
      }
      place = end ?? place + 1;
    } else if (letter === '}' && templates.at(-1) === depth - 1) {
      templates.pop();
      depth -= 1;
      keep(place);
      place = skipTemplate(place + 1);
    } else {
      if (letter === '{') depth += 1;
      if (letter === '}') depth -= 1;
      keep(place);
      place += 1;
    }
  }
  return { code: code.join(''), strings };
}

export function lineOf(text, place) {
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < place; at = text.indexOf('\n', at + 1)) line += 1;
  return line;
}

/**
 * Everything a file imports: `{ specifier, line, typeOnly, dynamic }`. Of a dynamic import of something that is not a
 * plain string the specifier is undefined.
 */
export function importsOf(text) {
  const { code, strings } = maskSource(text);
  const found = [];
  const add = (match, quote, typeOnly, dynamic) =>
    found.push({ specifier: strings.get(quote), line: lineOf(text, match.index), typeOnly, dynamic });
  const forms = [
    /(?<![\w$.#])import\b(?<type>\s+type\b)?(?<names>[\w$*{},\s]*?)(?<![\w$])from\s*["']/g,
    /(?<![\w$.#])export\s*(?<type>\s+type\b)?\s*(?<names>\*(?:\s*as\s+[\w$]+)?|\{[^}]*\})\s*from\s*["']/g,
    /(?<![\w$.#])import\s*["']/g,
  ];
  for (const form of forms) {
    for (const match of code.matchAll(form)) {
      const names = match.groups?.names ?? '';
      const inner =
        /^\s*\{(.*)\}\s*$/s
          .exec(names)?.[1]
          ?.split(',')
          .map((name) => name.trim())
          .filter(Boolean) ?? [];
      const onlyTypes = inner.length > 0 && inner.every((name) => /^type\s/.test(name));
      add(match, match.index + match[0].length - 1, match.groups?.type !== undefined || onlyTypes, false);
    }
  }
  for (const match of code.matchAll(/(?<![\w$.#])import\s*\(\s*(["'`])?/g)) {
    const quote = match[1] === undefined ? -1 : match.index + match[0].length - 1;
    add(match, quote, false, true);
  }
  return found.sort((one, other) => one.line - other.line);
}
