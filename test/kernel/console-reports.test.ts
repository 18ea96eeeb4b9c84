import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsoleReports } from './console-reports.ts';
import { reportMark } from './story-plan.ts';

const begun = { kind: 'begun', title: 'one' } as const;
const line = `${reportMark}${JSON.stringify(begun)}`;

test('reports are found between the lines of the kernel, however they are cut', () => {
  const text = `[ 1.0] loop\r\n${line}\r\nmore ${line}\n`;
  for (let cut = 0; cut <= text.length; cut += 1) {
    const reports = new ConsoleReports();
    const taken = [...reports.take(text.slice(0, cut)), ...reports.take(text.slice(cut))];
    assert.deepEqual(taken, [begun, begun]);
    assert.deepEqual(reports.reports, [begun, begun]);
  }
});

test('a line in which the machine died is no report', () => {
  const reports = new ConsoleReports();
  assert.deepEqual(reports.take(`${line.slice(0, -5)}\n`), []);
  assert.deepEqual(reports.take(line), []);
});

test('of the text the end is kept', () => {
  const reports = new ConsoleReports();
  reports.take('x'.repeat(100_000));
  reports.note('the end');
  assert.equal(reports.text.length, 65_536);
  assert.ok(reports.text.endsWith('the end'));
});
