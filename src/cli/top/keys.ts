export type Key = 'quit' | 'pause' | 'next' | 'previous';

/** What a terminal sends; the arrows in both of their modes. Control-C comes as a letter: nobody else turns it into a signal. */
const keys: Readonly<Record<string, Key | 'stop'>> = {
  q: 'quit',
  Q: 'quit',
  '\u0003': 'quit',
  '\u0004': 'quit',
  '\u001a': 'stop',
  p: 'pause',
  P: 'pause',
  ' ': 'pause',
  '\t': 'next',
  '\u001b[B': 'next',
  '\u001b[C': 'next',
  '\u001bOB': 'next',
  '\u001bOC': 'next',
  '\u001b[A': 'previous',
  '\u001b[D': 'previous',
  '\u001bOA': 'previous',
  '\u001bOD': 'previous',
  '\u001b[Z': 'previous',
};

/** A sequence of a key is over long before: what is longer is none. */
const sequenceCharactersMax = 16;

/** Makes keys of what comes from a terminal, in whatever pieces it comes. `stop` is control-Z. */
export class KeyReader {
  #begun = '';

  read(text: string): (Key | 'stop')[] {
    const found: (Key | 'stop')[] = [];
    for (const letter of text) {
      this.#begun += letter;
      if (isBegun(this.#begun)) continue;
      // A lone escape before it means nothing.
      const key = keys[this.#begun] ?? (this.#begun.length === 2 ? keys[letter] : undefined);
      if (key !== undefined) found.push(key);
      this.#begun = letter === escapeCharacter ? letter : '';
    }
    return found;
  }
}

const escapeCharacter = '\u001b';

/** ECMA-48: ESC, `[` or `O`, parameters, one letter. */
function isBegun(text: string): boolean {
  if (!text.startsWith(escapeCharacter) || text.length >= sequenceCharactersMax) return false;
  return text === escapeCharacter || /^[[O][ -?]*$/.test(text.slice(1));
}
