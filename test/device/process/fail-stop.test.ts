import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { failStopLine } from '../../../src/device/process/fail-stop.ts';

const moduleUrl = new URL('../../../src/device/process/fail-stop.js', import.meta.url).href;
const assertUrl = new URL('../../../src/block/assert.js', import.meta.url).href;

function runWith(body: string): { status: number | null; stderr: string } {
  const script = `
    import { installFailStop } from ${JSON.stringify(moduleUrl)};
    import { assert } from ${JSON.stringify(assertUrl)};
    installFailStop('disk');
    setInterval(() => {}, 1000);
    ${body}`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status: child.status, stderr: child.stderr };
}

for (const [what, body] of [
  ['an uncaught error', "setImmediate(() => { throw new Error('two\\nlines'); });"],
  ['an unhandled rejection', "void Promise.reject(new Error('two\\nlines'));"],
  ['a failed assertion', "setImmediate(() => assert(false, 'two\\nlines'));"],
] as const) {
  test(`R35 ${what} ends the process with one line and exit code 70`, () => {
    const { status, stderr } = runWith(body);
    assert.equal(status, 70);
    assert.match(stderr, /^dm-remap: disk: internal error, stopping: \w+: two lines[^\n]*\n$/);
  });
}

test('a thrown value that is no error still makes one line', () => {
  assert.equal(failStopLine('disk', 7), 'dm-remap: disk: internal error, stopping: 7');
});
