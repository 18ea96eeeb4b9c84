import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../test/', import.meta.url));

/** The rules of requests, of the metadata, and the invariants: `docs/semantics.md` says what each is. */
const rules: readonly string[] = [...numbered('R', 36), ...numbered('M', 21), ...numbered('I', 28)];

function numbered(letter: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);
}

/** What stands between the quotes of `it('…'`, `describe('…'` and `test('…'`, on the same line or the next. */
function titlesIn(source: string): string[] {
  return [...source.matchAll(/\b(?:it|describe|test)\(\s*(['"`])((?:\\.|(?!\1).)*)\1/gs)].map(
    ([, , title]) => title!,
  );
}

/** Rules that no title names by its own number: `R1-R24` names the first and the last. */
function unnamed(titles: readonly string[]): string[] {
  const named = new Set(titles.flatMap((title) => title.match(/\b[RMI]\d+\b/g) ?? []));
  return rules.filter((rule) => !named.has(rule));
}

describe('the rules', () => {
  it('are each named by the title of a test', () => {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.test.ts'),
    );
    assert.ok(files.length > 50, `only ${files.length} files of tests in ${folder}`);
    const missing = unnamed(files.flatMap((name) => titlesIn(readFileSync(join(folder, name), 'utf8'))));
    assert.deepEqual(missing, [], `no test names ${missing.join(', ')}`);
  });

  it('are missed when no title names them', () => {
    const source = `it('R1, R2 a title', () => {}); test(\n  \`M3 another\`); describe("I4 a third", f); // R5 a remark`;
    assert.deepEqual(titlesIn(source), ['R1, R2 a title', 'M3 another', 'I4 a third']);
    const missing = unnamed(titlesIn(source));
    assert.equal(missing.length, rules.length - 4);
    assert.ok(missing.includes('R5') && missing.includes('R3') && !missing.includes('M3'));
  });
});
