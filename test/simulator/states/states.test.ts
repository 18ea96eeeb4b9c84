import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { eventRows, rulesElsewhere } from './event-rows.ts';
import { StatesMeter, statesAsked } from './states-reached.ts';
import { rulesOf } from './states-text.ts';

/** From `dist/test/simulator/states/`. */
const root = new URL('../../../../', import.meta.url);

/** First cells of the table of events, in their order. */
function documentedEvents(): string[] {
  const page = readFileSync(new URL('docs/semantics.md', root), 'utf8');
  const table = /\n## Events\n([\s\S]*?)\n## /.exec(page)?.[1] ?? '';
  const cells = table.split('\n').filter((line) => line.startsWith('| '));
  return cells.slice(1).map((line) => line.split(' | ')[0]!.slice(2));
}

function withoutRules(event: string): string {
  return event.replace(/ \((?:[RMI][0-9]+(?:, )?)+\)/, '');
}

describe('the states that worlds reach', () => {
  it('are asked for by every row of the event table, in its order', () => {
    const documented = documentedEvents().map(withoutRules);
    assert.ok(documented.length > 30, `only ${documented.length} rows found on the page`);
    assert.deepEqual([...new Set(eventRows.map(({ event }) => event))], documented);
  });

  it('are measured, or have a test elsewhere', () => {
    for (const { event, anchors = [], seen, elsewhere } of eventRows) {
      const isMeasured = anchors.length > 0 || seen !== undefined;
      assert.equal(isMeasured, elsewhere === undefined, event);
      if (elsewhere === undefined) continue;
      assert.ok(existsSync(new URL(elsewhere.test, root)), `${event}: there is no ${elsewhere.test}`);
    }
  });

  it('have a test for each rule that worlds do not reach', () => {
    const known = new Set(rulesOf(statesAsked()));
    for (const [rule, test] of Object.entries(rulesElsewhere)) {
      assert.ok(known.has(rule) && existsSync(new URL(test, root)), `${rule}: ${test}`);
    }
  });

  it('are known by code that is where it was, once', () => {
    const asked = statesAsked();
    new StatesMeter(asked).end();
    assert.ok(rulesOf(asked).length > 40, 'comments of remap and metadata name more than 40 rules');
  });
});
