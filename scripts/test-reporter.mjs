// What one test file did, as one line of JSON per event, for scripts/run-tests.mjs. The last line says that the file
// reached its end: without it the process died or left early, and what it did not report is missing.

import { inspect } from 'node:util';

/** What node:test tells at the end of every file. */
const summaryLine = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

/** The message and our own frames; what node:test wraps around it says nothing. */
function describeError(error) {
  const cause = error?.code === 'ERR_TEST_FAILURE' && error.cause !== undefined ? error.cause : error;
  if (cause === undefined || cause === null) return '';
  if (!(cause instanceof Error) || cause.stack === undefined) return inspect(cause, { depth: 4 });
  const lines = cause.stack.split('\n').filter((line) => !/^\s+at .*\(?node:/.test(line));
  const deeper = cause.cause === undefined ? '' : `\ncaused by: ${describeError(cause.cause)}`;
  const all =
    cause instanceof AggregateError ? cause.errors.map((one) => `\none of: ${describeError(one)}`) : [];
  return `${lines.join('\n')}${deeper}${all.join('')}`;
}

export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type === 'test:dequeue') {
      yield `${JSON.stringify({ type: 'start', name: data.name, nesting: data.nesting })}\n`;
    } else if (type === 'test:diagnostic' && !summaryLine.test(data.message)) {
      // Errors that no test caught come this way.
      yield `${JSON.stringify({ type: 'remark', text: data.message })}\n`;
    } else if (type === 'test:pass' || type === 'test:fail') {
      const { name, nesting, details, skip, line, todo } = data;
      const told = {
        type: type.slice(5),
        name,
        nesting,
        line,
        suite: details.type === 'suite',
        ms: details.duration_ms,
        ...(skip === undefined ? {} : { skip: typeof skip === 'string' ? skip : '' }),
        ...(todo === undefined ? {} : { todo: true }),
        ...(type === 'test:fail'
          ? { failure: details.error?.failureType, error: describeError(details.error) }
          : {}),
      };
      yield `${JSON.stringify(told)}\n`;
    }
  }
  yield `${JSON.stringify({ type: 'end' })}\n`;
}
