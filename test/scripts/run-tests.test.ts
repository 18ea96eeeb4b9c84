import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fixtureTree } from './fixture-tree.ts';

const project = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

interface Outcome {
  readonly status: number | null;
  readonly lastLine: string;
  readonly output: string;
  readonly record: unknown;
}

interface Setting {
  readonly ci?: boolean;
  readonly record?: Readonly<Record<string, number>>;
  readonly lanes?: object;
  readonly words?: readonly string[];
}

/** Runs the runner over a tree of compiled test files, given by their path below dist/test/. */
function run(files: Readonly<Record<string, string>>, setting: Setting = {}): Outcome {
  const compiled = Object.entries(files).map(([path, code]) => [
    `dist/test/${path}`,
    `import { test, describe, before, after } from 'node:test';\n${code}\n`,
  ]);
  using tree = fixtureTree({
    'package.json': '{"type":"module"}',
    'test/recorded-counts.json': JSON.stringify(setting.record ?? {}),
    'test/lanes.json': JSON.stringify(setting.lanes ?? {}),
    ...Object.fromEntries(compiled),
  });
  const result = spawnSync(
    process.execPath,
    [join(project, 'scripts', 'run-tests.mjs'), '--root', tree.root, ...(setting.words ?? [])],
    { encoding: 'utf8', env: { ...process.env, CI: setting.ci === true ? 'true' : '' } },
  );
  const record: unknown = JSON.parse(readFileSync(join(tree.root, 'test/recorded-counts.json'), 'utf8'));
  const lastLine = result.stdout.trimEnd().split('\n').at(-1) ?? '';
  return { status: result.status, lastLine, output: result.stdout + result.stderr, record };
}

/** A killed process whose new parent has not asked for it yet is a zombie; it runs no more. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function expect(outcome: Outcome, lastLine: string, ...told: readonly RegExp[]): void {
  assert.equal(outcome.lastLine, lastLine, outcome.output);
  assert.equal(outcome.status, lastLine.endsWith(' 0 failed') ? 0 : 1, outcome.output);
  for (const pattern of told) assert.match(outcome.output, pattern);
}

const good = "test('one', () => {});\ntest('two', () => {});";

describe('the last line', () => {
  test('counts every test of every file', () => {
    expect(run({ 'a/one.test.js': good, 'b/two.test.js': good }), '4 passed, 0 failed');
  });

  test('counts tests inside of suites, not the suites', () => {
    expect(run({ 'a.test.js': `describe('group', () => {\n${good}\n});` }), '2 passed, 0 failed');
  });

  test('takes only files whose path contains a given word', () => {
    const files = { 'nbd/codec.test.js': good, 'remap/table.test.js': good, 'remap/locks.test.js': good };
    expect(run(files, { words: ['test/nbd', 'remap/table'] }), '4 passed, 0 failed');
    expect(run(files, { words: ['nothing'] }), '0 passed, 1 failed', /no test file matches nothing/);
  });

  test('without any test file is a failure', () => {
    expect(run({}), '0 passed, 1 failed', /no test file in dist\/test/);
  });

  test('stands also after an unknown option', () => {
    expect(run({ 'a.test.js': good }, { words: ['--fast'] }), '0 passed, 1 failed', /unknown option --fast/);
  });
});

describe('what counts as failed', () => {
  test('a failing test, told with its suites and its message', () => {
    const code = "describe('outer', () => { test('inner', () => { throw new Error('bad byte'); }); });";
    expect(run({ 'a.test.js': `${good}\n${code}` }), '2 passed, 1 failed', /outer > inner/, /bad byte/);
  });

  test('cancelled tests', () => {
    const code =
      "describe('s', () => { before(() => { throw new Error('hook'); }); test('x', () => {}); test('y', () => {}); });";
    expect(run({ 'a.test.js': code }), '0 passed, 3 failed', /x s > x/, /x s > y/, /hook/);
  });

  test('a hook that fails after good tests', () => {
    const code = "describe('s', () => { after(() => { throw new Error('hook'); }); test('x', () => {}); });";
    expect(run({ 'a.test.js': code }), '1 passed, 1 failed', /hook/);
  });

  test('a test that never settles', () => {
    expect(run({ 'a.test.js': "test('x', () => new Promise(() => {}));" }), '0 passed, 1 failed');
  });

  test('an error outside of every test', () => {
    const code = "test('x', () => { setTimeout(() => { throw new Error('stray'); }, 5); });";
    const outcome = run({ 'a.test.js': code });
    assert.equal(outcome.status, 1, outcome.output);
    assert.match(outcome.output, /stray/);
  });

  test('a file that does not load', () => {
    expect(run({ 'a.test.js': "import './missing.js';" }), '0 passed, 1 failed', /missing\.js/);
  });

  test('a file without tests', () => {
    expect(
      run({ 'a.test.js': '' }),
      '0 passed, 1 failed',
      /has no tests, or ended before they did, exit code 0/,
    );
  });

  test('a crash, with the test it happened in', () => {
    const code = `${good}\ntest('deadly', async () => { process.kill(process.pid, 'SIGSEGV'); await new Promise(() => {}); });`;
    const outcome = run({ 'a.test.js': code });
    assert.equal(outcome.status, 1, outcome.output);
    assert.match(outcome.output, /killed by SIGSEGV/);
  });

  test('a file that leaves before its tests are done, though it says 0', () => {
    const code =
      "test('leaves', async () => { await new Promise((done) => setTimeout(done, 50)); process.exit(0); });";
    const outcome = run({ 'a.test.js': `${good}\n${code}` });
    assert.equal(outcome.status, 1, outcome.output);
    assert.match(outcome.output, /ended before its tests did, exit code 0/);
  });

  test('a file that does not finish, and what it hung in', () => {
    const code = "test('hangs', async () => { await new Promise((done) => setTimeout(done, 600000)); });";
    const outcome = run(
      { 'slow/a.test.js': `${good}\n${code}`, 'b.test.js': good },
      { lanes: { timeoutsMs: { 'slow/': 700 } } },
    );
    assert.match(outcome.output, /not finished after 0\.7 s during: hangs/);
    expect(outcome, '4 passed, 1 failed');
  });

  test('fewer tests than recorded', () => {
    const record = { 'a.test.ts': 3 };
    expect(run({ 'a.test.js': good }, { record }), '2 passed, 1 failed', /2 tests, recorded are 3/);
    expect(run({ 'a.test.js': good }, { record: { 'a.test.ts': 2 } }), '2 passed, 0 failed');
  });

  test('a recorded file that is gone', () => {
    const record = { 'a.test.ts': 2, 'gone.test.ts': 5 };
    expect(
      run({ 'a.test.js': good }, { record }),
      '2 passed, 1 failed',
      /gone\.test\.ts is recorded and gone/,
    );
  });
});

describe('skipped tests', () => {
  const skipping = `${good}\ntest('three', { skip: 'missing tool: fio' }, () => {});\ntest('four', { skip: 'needs root' }, () => {});`;

  test('are listed with their reasons and are no failure', () => {
    expect(
      run({ 'a.test.js': skipping }),
      '2 passed, 0 failed',
      /a\.test\.ts: three: missing tool: fio/,
      /needs root/,
    );
  });

  test('fail in CI when a tool is missing', () => {
    expect(
      run({ 'a.test.js': skipping }, { ci: true }),
      '2 passed, 1 failed',
      /three: skipped: missing tool: fio/,
    );
  });

  test('of a whole suite do not count as lost tests', () => {
    const code = `${good}\ndescribe('s', { skip: 'needs root' }, () => { test('x', () => {}); });`;
    expect(run({ 'a.test.js': code }, { record: { 'a.test.ts': 3 } }), '2 passed, 0 failed');
  });
});

describe('the record', () => {
  test('is rewritten with what was seen, and forgets files that are gone', () => {
    const outcome = run(
      { 'a.test.js': good },
      { record: { 'gone.test.ts': 1, 'a.test.ts': 9 }, words: ['--record'] },
    );
    assert.deepEqual(outcome.record, { 'a.test.ts': 2 });
  });

  test('keeps the count of a file that failed, and of files not run', () => {
    const files = { 'a.test.js': "test('x', () => { throw new Error('no'); });", 'b.test.js': good };
    const record = { 'a.test.ts': 7, 'b.test.ts': 1 };
    assert.deepEqual(run(files, { record, words: ['--record'] }).record, { 'a.test.ts': 7, 'b.test.ts': 2 });
    assert.deepEqual(run(files, { record, words: ['--record', 'b.test'] }).record, {
      'a.test.ts': 7,
      'b.test.ts': 2,
    });
  });
});

describe('the other engine', () => {
  test('its files run once more with it, and both runs are counted and recorded', () => {
    const code = `test('engine', (t) => { if (process.env.DM_REMAP_IO === 'node') throw new Error('as asked'); });`;
    const files = { 'io/one.test.js': code, 'block/two.test.js': code };
    const outcome = run(files, { lanes: { otherEngine: ['io/'] }, record: { 'io/one.test.ts@node': 2 } });
    expect(outcome, '2 passed, 2 failed', /FAILED .* io\/one\.test\.ts@node/, /1 tests, recorded are 2/);
  });

  test('a recorded second run that is gone fails', () => {
    const files = { 'io/one.test.js': `test('one', () => {});` };
    const record = { 'io/one.test.ts': 1, 'io/one.test.ts@node': 1 };
    expect(run(files, { record }), '1 passed, 1 failed', /io\/one\.test\.ts@node is recorded and gone/);
  });
});

describe('lanes', () => {
  test('files of a serial place never run beside each other', () => {
    // Each file fails when another one of its kind holds the directory both need.
    const alone = `import { mkdirSync, rmdirSync } from 'node:fs';
test('alone', async () => {
  const place = new URL('./held', import.meta.url);
  mkdirSync(place);
  await new Promise((done) => setTimeout(done, 150));
  rmdirSync(place);
});`;
    const files = { 'end/a.test.js': alone, 'end/b.test.js': alone, 'end/c.test.js': alone };
    expect(run(files, { lanes: { serial: ['end/'] } }), '3 passed, 0 failed');
    const beside = run(files);
    assert.equal(
      beside.status,
      1,
      `without the lane they must meet, else this test shows nothing:\n${beside.output}`,
    );
  });

  test('what a file leaves running is ended with it', async () => {
    const code = `import { spawn } from 'node:child_process';
test('leaves', () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  console.log('LEFT=' + child.pid);
  child.unref();
  throw new Error('so that the output is shown');
});`;
    const outcome = run({ 'a.test.js': code });
    const pid = Number(/LEFT=(\d+)/.exec(outcome.output)?.[1]);
    assert.ok(pid > 0, outcome.output);
    for (let attempt = 0; isRunning(pid); attempt += 1) {
      assert.ok(attempt < 100, `process ${pid} still runs`);
      await new Promise((done) => setTimeout(done, 20));
    }
  });
});
