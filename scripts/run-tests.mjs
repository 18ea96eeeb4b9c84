// Runs the checks of scripts/check.mjs and every test file; the last line it prints is `N passed, N failed`.
//
//   npm test                        everything
//   npm test -- nbd remap/table     only the files whose path contains one of the words; no checks
//   npm test -- --record            also writes how many tests each file has (test/recorded-counts.json)
//   npm test -- --list              only prints the files
//
// A file that reports fewer tests than recorded has failed: a crash in native code takes a file's tests along silently.
// test/lanes.json names the files that must run alone in their lane, the slow ones, and those that run once more, as
// `FILE@node`, on libuv instead of io_uring.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runChecks } from './check.mjs';
import { toolFolders } from './install-test-tools.mjs';
import { killRunning, runTestFile } from './test-file.mjs';

const project = dirname(dirname(fileURLToPath(import.meta.url)));

/** Two lanes: more would make the tests that watch the time depend on the number of cores. */
const concurrency = 2;

/** Tests say so in the reason of a skip when a program of scripts/test-tools.json is not there. */
const missingToolReason = /missing tool|not installed|not found/i;

const slowestShown = 5;

/** Behind a file's name: its second run, on the other engine. */
const onNode = '@node';
/** As a launcher would start a process for that engine (src/io/thread-pool.ts). */
const nodeEngineVariables = { DM_REMAP_IO: 'node', UV_THREADPOOL_SIZE: '64' };

function isCi() {
  const { CI } = process.env;
  return CI !== undefined && CI !== '' && CI !== 'false';
}

function readOptions(parameters) {
  const options = { record: false, list: false, root: project, filters: [] };
  for (let at = 0; at < parameters.length; at += 1) {
    const word = parameters[at];
    if (word === '--record') options.record = true;
    else if (word === '--list') options.list = true;
    else if (word === '--root') {
      at += 1;
      options.root = parameters[at];
    } else if (word.startsWith('-')) throw new Error(`unknown option ${word}; known: --record, --list`);
    else options.filters.push(word.replace(/^(\.\/)?test\//, ''));
  }
  return options;
}

function readJson(path, fallback) {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : fallback;
}

/** Test sources relative to test/, e.g. `nbd/codec.test.ts`, found by their compiled form. */
function findTests(root) {
  const folder = join(root, 'dist', 'test');
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.js'))
    .map((entry) =>
      relative(folder, join(entry.parentPath ?? entry.path, entry.name)).replace(/\.js$/, '.ts'),
    )
    .sort();
}

/** The files, and behind them the second runs. */
function withOtherEngine(lanes, tests) {
  const again = tests.filter((test) => lanes.otherEngine.some((place) => test.startsWith(place)));
  return [...tests, ...again.map((test) => `${test}${onNode}`)];
}

function timeoutOf(lanes, test) {
  const declared = Object.entries(lanes.timeoutsMs).find(([place]) => test.startsWith(place));
  return declared?.[1] ?? lanes.timeoutMs;
}

/**
 * Of the second runs only those with mounts and loop devices: the others fill the lane that is done first, and so do
 * files without any of `besideSerial`.
 */
function isSerial(lanes, test) {
  if (lanes.besideSerial.some((place) => test.startsWith(place))) return false;
  const places = test.endsWith(onNode) ? lanes.serialOtherEngine : lanes.serial;
  return places.some((place) => test.startsWith(place));
}

function runOne(options, lanes, test) {
  const environment = { ...process.env, PATH: toolFolders.join(':') };
  // Set when this runner is itself run by a test; the file would then report to that one.
  delete environment.NODE_TEST_CONTEXT;
  const file = test.replace(onNode, '');
  if (file !== test) Object.assign(environment, nodeEngineVariables);
  return runTestFile(join(options.root, 'dist', 'test', file.replace(/\.ts$/, '.js')), {
    cwd: options.root,
    timeoutMs: timeoutOf(lanes, test),
    environment,
  });
}

/** Starts files as lanes get free; files that must not run beside each other start one after the other, and first. */
async function runAll(options, lanes, tests, told) {
  const serial = tests.filter((test) => isSerial(lanes, test));
  const parallel = tests.filter((test) => !isSerial(lanes, test));
  const results = new Map();
  let serialBusy = false;
  const lane = async () => {
    for (;;) {
      const takesSerial = !serialBusy && serial.length > 0;
      const test = takesSerial ? serial.shift() : parallel.shift();
      if (test === undefined) return;
      if (takesSerial) serialBusy = true;
      const result = await runOne(options, lanes, test);
      if (takesSerial) serialBusy = false;
      results.set(test, result);
      told(test, result);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  return results;
}

/** Adds what only the whole knows: too few tests, and skips that CI does not accept. */
function judgeFile(test, result, recorded) {
  const failures = [...result.failures];
  const wanted = recorded[test];
  const suiteSkipped = result.skipped.some((one) => one.suite);
  if (wanted !== undefined && result.testCount < wanted && !suiteSkipped) {
    failures.push({
      title: `(file) ${result.testCount} tests, recorded are ${wanted}; after removing tests: npm test -- ${test} --record`,
      error: '',
    });
  }
  if (isCi()) {
    for (const { title, reason } of result.skipped) {
      if (missingToolReason.test(reason)) failures.push({ title: `${title}: skipped: ${reason}`, error: '' });
    }
  }
  return { ...result, failures };
}

function tellFile(test, { passed, failures, skipped, ms, output }) {
  const seconds = `${(ms / 1000).toFixed(1)} s`.padStart(8);
  const skips = skipped.length === 0 ? '' : `, ${skipped.length} skipped`;
  const fails = failures.length === 0 ? '' : `, ${failures.length} FAILED`;
  console.log(
    `${failures.length === 0 ? 'ok    ' : 'FAILED'} ${seconds}  ${test}  ${passed} passed${fails}${skips}`,
  );
  for (const { title, line, error } of failures) {
    console.log(`    x ${title}${line === undefined ? '' : ` (line ${line})`}`);
    if (error) console.log(error.replace(/^/gm, '        '));
  }
  if (failures.length > 0 && output.trim() !== '') {
    console.log('    output of the file:');
    console.log(output.trimEnd().replace(/^/gm, '    | '));
  }
}

function tellSkips(results) {
  const lines = [...results].flatMap(([test, { skipped }]) =>
    skipped.map(({ title, reason }) => `    ${test}: ${title}: ${reason}`),
  );
  if (lines.length > 0) console.log(`skipped:\n${lines.join('\n')}`);
}

/** The real times, by the lanes of CONTRIBUTING.md; files of the rest run beside those of the serial lane. */
function tellTimes(results, lanes, checksMs, startMs) {
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  const sum = (wanted) =>
    [...results].reduce(
      (total, [test, { ms }]) => (isSerial(lanes, test) === wanted ? total + ms : total),
      0,
    );
  const slowest = [...results].sort((one, other) => other[1].ms - one[1].ms).slice(0, slowestShown);
  const list = slowest.map(([test, { ms }]) => `${test} ${seconds(ms)}`).join(', ');
  console.log(
    `${results.size} files in ${seconds(Date.now() - startMs)}: checks ${seconds(checksMs)}, ` +
      `serial lane ${seconds(sum(true))}, the rest ${seconds(sum(false))}; slowest: ${list}`,
  );
}

function writeRecord(path, recorded, results, complete) {
  const counts = complete ? {} : { ...recorded };
  for (const [test, { failures, testCount, skipped }] of results) {
    // A failed file's count, or one with a whole suite skipped, is no measure of the file.
    const usable =
      failures.every((one) => one.title.includes('recorded are')) && !skipped.some((one) => one.suite);
    const kept = recorded[test];
    if (usable) counts[test] = testCount;
    else if (kept !== undefined) counts[test] = kept;
  }
  const sorted = Object.fromEntries(Object.entries(counts).sort(([one], [other]) => (one < other ? -1 : 1)));
  writeFileSync(path, `${JSON.stringify(sorted, null, 2)}\n`);
  console.log(`recorded ${Object.keys(sorted).length} files in ${path}`);
}

async function runProject(options) {
  const lanes = {
    timeoutMs: 60_000,
    serial: [],
    besideSerial: [],
    timeoutsMs: {},
    otherEngine: [],
    serialOtherEngine: [],
    ...readJson(join(options.root, 'test', 'lanes.json'), {}),
  };
  const recordPath = join(options.root, 'test', 'recorded-counts.json');
  const recorded = readJson(recordPath, {});
  const all = withOtherEngine(lanes, findTests(options.root));
  const filtered = options.filters.length > 0;
  const tests = filtered ? all.filter((test) => options.filters.some((word) => test.includes(word))) : all;
  if (options.list) {
    console.log(tests.join('\n'));
    return undefined;
  }
  let passed = 0;
  let failed = 0;
  if (tests.length === 0) {
    console.log(`FAILED no test file ${filtered ? `matches ${options.filters.join(' ')}` : 'in dist/test'}`);
    failed += 1;
  }

  const startMs = Date.now();
  if (!filtered && options.root === project) {
    for (const { title, good, output } of await runChecks(options.root)) {
      console.log(`${good ? 'ok    ' : 'FAILED'}           check: ${title}`);
      if (!good || output.includes('remark:')) console.log(output.trimEnd().replace(/^/gm, '    '));
      if (good) passed += 1;
      else failed += 1;
    }
  }

  const checksMs = Date.now() - startMs;

  const judged = new Map();
  await runAll(options, lanes, tests, (test, result) => {
    const verdict = judgeFile(test, result, recorded);
    judged.set(test, verdict);
    passed += verdict.passed;
    failed += verdict.failures.length;
    tellFile(test, verdict);
  });

  if (!filtered && !options.record) {
    for (const test of Object.keys(recorded).filter((one) => !all.includes(one))) {
      console.log(`FAILED ${test} is recorded and gone; after removing it: npm test -- --record`);
      failed += 1;
    }
    const unknown = tests.filter((test) => recorded[test] === undefined);
    if (unknown.length > 0) console.log(`not recorded yet: ${unknown.join(', ')}; npm test -- --record`);
  }
  if (options.record) writeRecord(recordPath, recorded, judged, !filtered);
  tellSkips(judged);
  tellTimes(judged, lanes, checksMs, startMs);
  return { passed, failed };
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    killRunning();
    process.exit(1);
  });
}

let result = { passed: 0, failed: 1 };
try {
  result = await runProject(readOptions(process.argv.slice(2)));
} catch (error) {
  console.error(error instanceof Error && !(error instanceof TypeError) ? error.message : error);
}
if (result !== undefined) {
  console.log(`${result.passed} passed, ${result.failed} failed`);
  process.exitCode = result.failed === 0 && result.passed > 0 ? 0 : 1;
}
