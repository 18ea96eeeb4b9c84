import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { ExitCode } from '../../../src/cli/exit-code.ts';
import { runProgram } from '../../../src/cli/program.ts';

let directory: string;

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-watching-'));
  process.env['DM_REMAP_RUNTIME_DIR'] = directory;
  process.env['DM_REMAP_STATE_DIR'] = join(directory, '.state');
});

after(() => {
  rmSync(directory, { recursive: true, force: true });
});

test('what watches says in one line what is wrong with its command line, and does nothing', async () => {
  const cases: readonly (readonly [ExitCode, RegExp, ...string[]])[] = [
    [ExitCode.notFound, /--program none: is not there/, 'monitor', '--program', 'none'],
    [ExitCode.usage, /--interval 0: expected seconds/, 'monitor', '--interval', '0'],
    [ExitCode.usage, /--scan is for all devices/, 'monitor', 'disk', '--scan'],
    [ExitCode.usage, /--mail -oQ: expected an address/, 'monitor', '--mail=-oQ'],
    [ExitCode.usage, /--listen 9100: expected HOST:PORT/, 'metrics', '--listen', '9100'],
    [ExitCode.usage, /--listen ::1:9100: expected HOST:PORT/, 'metrics', '--listen', '::1:9100'],
    [ExitCode.usage, /--listen and --textfile exclude/, 'metrics', '--listen', 'a:1', '--textfile', 'b'],
    [ExitCode.failed, /none: no such device/, 'metrics', 'none', '--textfile', join(directory, 'x.prom')],
  ];
  for (const [exitCode, message, ...words] of cases) {
    const errors: string[] = [];
    const terminal = {
      print: (text: string) => assert.fail(text),
      warn: (line: string) => errors.push(line),
    };
    assert.equal(await runProgram(words, terminal), exitCode, words.join(' '));
    assert.equal(errors.length, 1, errors.join('\n'));
    assert.match(errors[0]!, message);
  }
});

test('a file of figures is not written through a link that somebody put in the place of the unfinished one', async () => {
  const [path, other] = [join(directory, 'figures.prom'), join(directory, 'other')];
  writeFileSync(other, 'precious');
  symlinkSync(other, `${path}.${process.pid}.new`);
  const terminal = { print: () => undefined, warn: (line: string) => assert.fail(line) };
  assert.equal(await runProgram(['metrics', '--textfile', path], terminal), ExitCode.ok);
  assert.equal(readFileSync(other, 'utf8'), 'precious');
  assert.ok(existsSync(path));
});
