// Runs one compiled test file in a process of its own and says what came of it.
//
// Not through `node --test`: that would put one more process between us and the file, keep the file's own death from
// us, and know one time-out for all. Every failure a file can have must end up in `failures`: a failed or cancelled
// test, a crash, an end before all tests were reported, a time-out, no tests at all.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const reporter = fileURLToPath(new URL('test-reporter.mjs', import.meta.url));
const fixedSeed = new URL('fixed-seed.mjs', import.meta.url).href;

/** How much of a failed file's own output is shown. */
const outputBytesMax = 64 * 1024;

/** A process that does not even answer SIGKILL sits in the kernel; the run goes on without it. */
const killPatienceMs = 5_000;

/** Process groups that run now, to be ended when the runner itself is. */
const running = new Set();

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is gone already.
  }
}

export function killRunning() {
  for (const pid of running) killGroup(pid);
}

function parseEvents(path) {
  if (!existsSync(path)) return [];
  const events = [];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    try {
      if (line !== '') events.push(JSON.parse(line));
    } catch {
      // A crash cut the last line; the missing end tells of it.
    }
  }
  return events;
}

/** The results of tests and suites, each with `title`: the names of the suites around it and its own. */
function nameResults(events) {
  const results = events
    .filter(({ type }) => type === 'pass' || type === 'fail')
    .map((event) => ({ ...event }));
  // Parents are reported after their children: walking backwards meets each parent first.
  const parents = [];
  for (const result of results.toReversed()) {
    parents.length = Math.min(parents.length, result.nesting);
    result.title = [...parents, result.name].join(' > ');
    parents[result.nesting] = result.name;
  }
  return results;
}

/** Tests that were started and never reported: what a file hung or died in. */
function unfinished(events) {
  const started = [];
  for (const event of events) {
    if (event.type === 'start') started.push(event.name);
    else if (event.type === 'pass' || event.type === 'fail') {
      const at = started.lastIndexOf(event.name);
      if (at >= 0) started.splice(at, 1);
    }
  }
  return started;
}

function judge(events, ending) {
  const results = nameResults(events);
  const tests = results.filter((one) => !one.suite);
  const failures = results
    // A suite that fails because of its tests is told by them; one that fails by itself (a hook) is told here.
    .filter((one) => one.type === 'fail' && !(one.suite && one.failure === 'subtestsFailed'))
    .map((one) => ({ title: one.title, line: one.line, error: one.error, ms: one.ms }));
  const during = unfinished(events);
  const where = during.length === 0 ? '' : ` during: ${during.join(', ')}`;
  const ended = events.at(-1)?.type === 'end';
  const remarks = events.filter(({ type }) => type === 'remark').map(({ text }) => text);
  const fail = (text) => failures.push({ title: `(file) ${text}`, error: remarks.join('\n') });
  if (ending.timedOut) fail(`not finished after ${ending.timeoutMs / 1000} s${where}`);
  else if (ending.signal !== null) fail(`killed by ${ending.signal}${where}`);
  else if (results.length === 0) fail(`has no tests, or ended before they did, exit code ${ending.status}`);
  else if (!ended) fail(`ended before its tests did, exit code ${ending.status}${where}`);
  else if (ending.status !== 0 && failures.length === 0) fail(`exit code ${ending.status}`);
  const skipped = results
    .filter((one) => one.type === 'pass' && one.skip !== undefined)
    .map((one) => ({
      title: one.title,
      reason: one.skip === '' ? 'no reason given' : one.skip,
      suite: one.suite,
    }));
  const passed = tests.filter((one) => one.type === 'pass' && one.skip === undefined).length;
  return { passed, failures, skipped, testCount: tests.length };
}

/** Resolves, never rejects, to `{ passed, failures, skipped, testCount, output, ms }`. */
export function runTestFile(path, { cwd, timeoutMs, environment }) {
  const scratch = mkdtempSync(join(tmpdir(), 'dm-remap-run-'));
  const eventsPath = join(scratch, 'events');
  const startMs = Date.now();
  return new Promise((done) => {
    const child = spawn(
      process.execPath,
      [
        '--enable-source-maps',
        ...(environment.CI ? ['--import', fixedSeed] : []),
        `--test-reporter=${reporter}`,
        `--test-reporter-destination=${eventsPath}`,
        path,
      ],
      // A group of its own: what a test left behind is ended with it.
      { cwd, env: environment, detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    const collect = (piece) => {
      output = (output + piece).slice(-outputBytesMax);
    };
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    let timedOut = false;
    let finished = false;
    let giveUp;
    const finish = (status, signal) => {
      if (finished) return;
      finished = true;
      clearTimeout(deadline);
      clearTimeout(giveUp);
      if (child.pid !== undefined) {
        killGroup(child.pid);
        running.delete(child.pid);
      }
      child.stdout.destroy();
      child.stderr.destroy();
      const verdict = judge(parseEvents(eventsPath), { status, signal, timedOut, timeoutMs });
      rmSync(scratch, { recursive: true, force: true });
      done({ ...verdict, output, ms: Date.now() - startMs });
    };
    const deadline = setTimeout(() => {
      timedOut = true;
      if (child.pid !== undefined) killGroup(child.pid);
      giveUp = setTimeout(() => finish(null, 'SIGKILL'), killPatienceMs);
    }, timeoutMs);
    if (child.pid !== undefined) running.add(child.pid);
    child.on('error', (error) => {
      output += error.message;
      finish(127, null);
    });
    // Not `close`: a process left behind would keep the pipes open for ever.
    child.on('exit', (status, signal) => setTimeout(() => finish(status, signal), 20));
  });
}
