import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deviceRules } from '../../src/health/device-rules.ts';
import { diskRules } from '../../src/health/disk-rules.ts';
import { rulesTable } from '../../src/health/rules-page.ts';

const page = fileURLToPath(new URL('../../../docs/health.md', import.meta.url));
const rules = [...deviceRules, ...diskRules];

test('docs/health.md has the table of rules that judges: else `node dist/test/health/write-rules.js`', () => {
  const table = /<!-- rules -->\n(.*)<!-- \/rules -->/s.exec(readFileSync(page, 'utf8'))?.[1];
  assert.equal(table, rulesTable());
});

test('every rule has a name of its own, a source, and steps that go up and get worse', () => {
  assert.equal(new Set(rules.map(({ id }) => id)).size, rules.length);
  for (const { id, source, lowers, holds = [] } of rules) {
    assert.ok(source.length > 0, id);
    assert.ok(lowers.length + holds.length > 0, `${id}: takes nothing away`);
    for (const steps of [lowers, holds]) {
      for (const [at, [atLeast]] of steps.entries()) assert.ok(atLeast > (steps[at - 1]?.[0] ?? 0), id);
    }
    for (const [at, [, points]] of lowers.entries()) assert.ok(points > (lowers[at - 1]?.[1] ?? 0), id);
    for (const [at, [, score]] of holds.entries()) assert.ok(score < (holds[at - 1]?.[1] ?? 100), id);
  }
});
