import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { runProgram } from '../../src/cli/program.ts';

let directory: string;

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-program-'));
  process.env['DM_REMAP_RUNTIME_DIR'] = directory;
  process.env['DM_REMAP_STATE_DIR'] = join(directory, '.state');
});

after(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function run(
  ...words: readonly string[]
): Promise<{ exitCode: number; output: string[]; errors: string[] }> {
  const output: string[] = [];
  const errors: string[] = [];
  const terminal = { print: (text: string) => output.push(text), warn: (line: string) => errors.push(line) };
  const exitCode = await runProgram(words, terminal);
  return { exitCode, output, errors };
}

test('help is an answer, with examples and the exit codes', async () => {
  for (const words of [['--help'], ['help'], ['create', '--help'], ['help', 'create']]) {
    const { exitCode, output, errors } = await run(...words);
    assert.equal(exitCode, ExitCode.ok, words.join(' '));
    assert.deepEqual(errors, []);
    assert.match(output.join('\n'), /^Usage: dm-remap/);
  }
  const { output } = await run('--help');
  assert.match(output.join('\n'), /Examples:[\s\S]*Exit codes:/);
  for (const line of output.join('\n').split('\n')) assert.ok(line.length <= 80, `fits a terminal: ${line}`);
});

test('a wrong command line is one line on standard error, naming the command', async () => {
  const cases: [string[], string][] = [
    [['frob'], "dm-remap: unknown command 'frob'"],
    [['table'], "dm-remap: table: missing required argument 'NAME'"],
    [['status', 'a', 'b'], 'dm-remap: status: too many arguments'],
    [['ls', '--frob'], "dm-remap: ls: unknown option '--frob'"],
    [
      ['assemble'],
      'dm-remap: assemble: which device? give its NAME or --spare; NAME --without-spare only reads what main has',
    ],
  ];
  for (const [words, line] of cases) {
    const { exitCode, output, errors } = await run(...words);
    assert.equal(exitCode, ExitCode.usage, words.join(' '));
    assert.deepEqual(output, []);
    assert.equal(errors.length, 1, errors.join('\n'));
    assert.ok(errors[0]!.startsWith(line), errors[0]);
    assert.ok(!errors[0]!.includes('\n'));
  }
});

test('words that no device would take are refused before one is asked', async () => {
  const long = 'x'.repeat(257);
  for (const [words, line] of [
    [[''], 'a word of the message is empty'],
    [[long], 'a word of the message has 257 characters: expected at most 256'],
    [Array.from({ length: 65 }, () => 'x'), 'a message of 65 words: expected at most 64'],
  ] as const) {
    const { exitCode, errors } = await run('message', 'nobody', '0', ...words);
    assert.equal(exitCode, ExitCode.usage);
    assert.deepEqual(errors, [`dm-remap: message: ${line}`]);
  }
});

test('the version is the one of the package', async () => {
  const { output } = await run('version');
  assert.match(output[0]!, /^\d+\.\d+\.\d+/);
  const json = await run('version', '--json');
  assert.deepEqual(JSON.parse(json.output[0]!), { version: output[0] });
});

test('no devices are no lines, and an empty list as JSON', async () => {
  assert.deepEqual((await run('ls')).output, []);
  assert.deepEqual((await run('ls', '--json')).output, ['[]']);
});

test('R8 a policy that means nothing is refused by create before any disk is looked at', async () => {
  const cases: [string, string, RegExp][] = [
    ['--main-cache', 'sometimes', /main-cache is 'sometimes', expected off or fua or as-is/],
    ['--on-lost', 'guess', /on-lost is 'guess', expected error or zero/],
    ['--path-timeout', 'soon', /path-timeout is 'soon', expected seconds/],
  ];
  for (const [flag, value, message] of cases) {
    const words = [
      'create',
      'x',
      '--main',
      '/nonexistent/main',
      '--spare',
      '/nonexistent/spare',
      flag,
      value,
    ];
    const { exitCode, errors } = await run(...words);
    assert.equal(exitCode, ExitCode.usage, errors.join());
    assert.match(errors.join(), message);
  }
});
