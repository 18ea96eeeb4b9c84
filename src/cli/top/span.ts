/** What a piece of a line means; the terminal's colour for it stands in one table. */
export type Style = 'plain' | 'strong' | 'good' | 'moved' | 'bad' | 'lost' | 'faint';

/** A piece of one line, of one style. */
export interface Span {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Span[];

/** Of ECMA-48, "select graphic rendition". Nothing is said by colour alone: words and letters say it too. */
const codes: Readonly<Record<Style, string>> = {
  plain: '',
  strong: '1',
  good: '32',
  moved: '33',
  bad: '31',
  lost: '1;35',
  faint: '2',
};

export function span(text: string, style: Style = 'plain'): Span {
  return { text, style };
}

/** What stands for a character that is no single cell of a terminal, or a command to it. */
const unprintable = '?';

/**
 * A text of others, names and serials of disks, for a place on the screen: each character one cell wide and none a command. What is
 * wider, joins, turns the direction of writing or is not a character at all becomes `?`.
 */
export function screenText(text: string): string {
  return text.replace(
    /[^\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff\u0370-\u0377\u0384-\u0482\u048a-\u052f]/gu,
    unprintable,
  );
}

/** The line in so many columns at most; `…` where something is missing. */
export function fittedLine(line: Line, columns: number): Line {
  const fitted: Span[] = [];
  let left = columns;
  for (const [index, { text, style }] of line.entries()) {
    const more = line.slice(index + 1).some((one) => one.text !== '');
    if (text.length < left || (text.length === left && !more)) {
      fitted.push({ text, style });
      left -= text.length;
      continue;
    }
    if (left > 0) fitted.push({ text: `${text.slice(0, left - 1)}…`, style });
    return fitted;
  }
  return fitted;
}

export function plainText(line: Line): string {
  return line
    .map(({ text }) => text)
    .join('')
    .trimEnd();
}

/** As a terminal with colours takes it. */
export function colouredText(line: Line): string {
  return line
    .map(({ text, style }) => {
      const code = codes[style];
      return code === '' || text === '' ? text : `\u001b[${code}m${text}\u001b[0m`;
    })
    .join('');
}
