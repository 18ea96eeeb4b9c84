import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, afterEach, before, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { runProgram } from '../../src/cli/program.ts';
import { verbsOfProgram } from './command-reference.ts';

const { usage, failed, notFound, refused, notASpare } = ExitCode;

/** Words, the documented code, and what the line says. Names of files are below a folder that every test shares. */
type Case = readonly [words: string, exitCode: ExitCode, says: RegExp];

let folder: string;
let untouched: string;
let home: string;

before(() => {
  home = process.cwd();
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-input-'));
  process.chdir(folder);
  process.env['DM_REMAP_RUNTIME_DIR'] = join(folder, 'run');
  process.env['DM_REMAP_STATE_DIR'] = join(folder, 'state');
  mkdirSync('run');
  mkdirSync(join('run', 'dead'));
  writeFileSync(join('run', 'dead', 'pid'), '1 1 00000000-0000-0000-0000-000000000000\n');
  writeFileSync('main.img', Buffer.alloc(1_048_576, 'm'));
  writeFileSync('spare.img', Buffer.alloc(1_048_576, 's'));
  writeFileSync('empty.img', '');
  writeFileSync('garbage', 'this is nothing\n');
  mkdirSync('folder');
  execFileSync('mkfifo', ['pipe']);
  untouched = snapshot();
});

after(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true });
});

afterEach(() => {
  assert.equal(snapshot(), untouched, 'nothing is changed, lost or left over');
});

/** Names and contents of everything. */
function snapshot(): string {
  return readdirSync('.', { recursive: true, withFileTypes: true })
    .map(
      (entry) =>
        join(entry.parentPath, entry.name) +
        (entry.isFile() ? readFileSync(join(entry.parentPath, entry.name), 'latin1') : ''),
    )
    .toSorted()
    .join('\n');
}

async function check([text, exitCode, says]: Case): Promise<void> {
  const words = text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => (word === "''" ? '' : word));
  const output: string[] = [];
  const errors: string[] = [];
  const terminal = { print: (line: string) => output.push(line), warn: (line: string) => errors.push(line) };
  const code = await runProgram(words, terminal);
  const said = `dm-remap ${text}: ${code}: ${errors.join('\n')}`;
  assert.equal(code, exitCode, said);
  assert.equal(errors.length, 1, said);
  assert.match(errors[0]!, /^dm-remap: [^\n]{10,1100}$/, said);
  assert.match(errors[0]!, says, said);
  assert.doesNotMatch(errors[0]!, /internal error|undefined|\[object|NaN| {4}at /, said);
  assert.deepEqual(output, [], said);
}

async function checkAll(cases: readonly Case[]): Promise<void> {
  for (const one of cases) await check(one);
}

test('a command line that is wrong names the command, what is wrong and where help is', async () => {
  await checkAll([
    ['frob', usage, /^dm-remap: unknown command 'frob'; "dm-remap help" lists the commands$/],
    ["''", usage, /unknown command ''/],
    ['--frob', usage, /unknown option '--frob'/],
    ['help frob', usage, /^dm-remap: help: frob: no such command; "dm-remap help" lists them$/],
    ['help metadata frob', usage, /metadata frob: no such command/],
    ['status a b', usage, /^dm-remap: status: too many arguments.*; "dm-remap help status" shows how$/],
    ['create', usage, /missing required argument 'NAME'/],
    ['metadata frob', usage, /^dm-remap: metadata: unknown command 'frob'/],
    [
      'metadata check',
      usage,
      /^dm-remap: metadata check: missing.*"dm-remap help metadata check" shows how$/,
    ],
    ['export x --format', usage, /argument missing/],
  ]);
});

test('every verb refuses a flag that it does not know, and too many words', async () => {
  for (const [words, command] of verbsOfProgram()) {
    await check([`${words} --frob`, usage, /unknown option '--frob'/]);
    if (command.registeredArguments.some((argument) => argument.variadic)) continue;
    await check([`${words} a b c d e`, usage, /too many arguments/]);
  }
});

test('every verb about a device refuses a name that can be none, one that is nobody, and one that is dead', async () => {
  const verbs = [
    'info %',
    'status %',
    'status % --watch',
    'table %',
    'policy %',
    'message % 0 list',
    'suspend %',
    'resume %',
    'retire %',
    'export %',
    'import % garbage',
  ];
  for (const verb of verbs) {
    await checkAll([
      [verb.replace('%', 'a/b'), usage, /"a\/b": the name may only hold letters/],
      [verb.replace('%', '..'), usage, /may not start with/],
      [verb.replace('%', 'ü'), usage, /"ü": the name may only hold letters/],
      [verb.replace('%', "''"), usage, /the name is empty/],
      [verb.replace('%', 'x'.repeat(65)), usage, /65 characters, at most 64/],
      [verb.replace('%', 'nobody'), notFound, /nobody: no such device; "dm-remap ls" lists them/],
      [verb.replace('%', 'dead'), notFound, /dead: its process was killed; "dm-remap assemble dead/],
    ]);
  }
  await check(['remove nobody', notFound, /no such device/]);
  await check(['remove a/b', usage, /the name may only hold/]);
});

test('every verb about a spare refuses what is no disk, what is not there and what is no spare', async () => {
  const verbs = [
    'examine %',
    'wipe % --yes',
    'adopt %',
    'adopt-main % --main main.img',
    'resize %',
    'metadata check %',
    'metadata dump %',
    'metadata repair % --yes',
    'assemble --spare %',
    'export --spare %',
  ];
  for (const verb of verbs) {
    // `assemble` starts a process for each, which takes its time; test/end-to-end/bad-input.test.ts does it.
    if (verb.startsWith('assemble')) continue;
    await checkAll([
      [verb.replace('%', 'none.img'), notFound, /none\.img: no such file or device/],
      [verb.replace('%', 'folder'), refused, /folder: is a directory; an image file or a block device/],
      [verb.replace('%', 'pipe'), refused, /pipe: is a pipe/],
      [verb.replace('%', '/dev/null'), refused, /\/dev\/null: is a character device/],
      [verb.replace('%', 'empty.img'), refused, /empty/],
      [verb.replace('%', 'main.img'), notASpare, /not a dm-remap spare/],
    ]);
  }
});

test('what destroys something wants to be told so', async () => {
  await checkAll([
    ['metadata repair main.img', refused, /--yes does it/],
    ['metadata restore garbage main.img', refused, /--yes does it/],
  ]);
});

test('sizes, numbers and choices that are none are refused with what was expected', async () => {
  const create = 'create x --main main.img --spare new.img';
  for (const size of ['10X', '-5', '0', '1.5G', '9007199254740993', '4096P', '1000', '９']) {
    await check([
      `${create} --create-spare ${size}`,
      usage,
      /--create-spare .*: expected a multiple of 4 KiB/,
    ]);
  }
  for (const port of ['0', '-1', '65536', '1e3', 'x']) {
    await check([`${create} --port ${port}`, usage, /--port .*: expected a number from 1 to 65535/]);
  }
  await checkAll([
    [`${create} --cache fast`, usage, /expected none or writeback/],
    [`${create} --path-timeout -1`, usage, /expected seconds/],
    [`${create} --path-timeout 1e999`, usage, /expected seconds/],
    ['status --watch 0', usage, /--watch 0: expected seconds from 0.1 to 86400/],
    ['status x --watch 1e9', usage, /--watch 1e9: expected seconds/],
    ['status x --watch 99999999999999999999', usage, /expected seconds/],
    ['status --csv --line', usage, /exclude each other/],
    ['message x -1 list', usage, /-1: expected a sector number/],
    ['message x 99999999999999999999 list', usage, /expected a sector number/],
    ['export --spare main.img -b 0', usage, /--block-bytes 0: expected a power of two/],
    ['export --spare main.img -b 3000', usage, /expected a power of two/],
    ['import x garbage --format tar', usage, /--format tar: expected one of/],
  ]);
});

test('main and spare that cannot be are refused before anything is written', async () => {
  await checkAll([
    ['create x', usage, /which disk is failing\?/],
    ['create x --main main.img', usage, /where should bad sectors go\?/],
    ["create x --main '' --spare spare.img", usage, /its value is empty/],
    ['create x --main main.img --main-table garbage --spare spare.img', usage, /both name the main device/],
    ['create x --main main.img --spare main.img', refused, /same file/],
    ['create x --main pipe --spare spare.img', refused, /pipe: is a pipe/],
    ['create x --main main.img --spare pipe', refused, /pipe: is a pipe/],
    ['create x --main folder --spare spare.img', refused, /is a directory/],
    ['create x --main /dev/null --spare spare.img', refused, /is a character device/],
    ['create x --main empty.img --spare spare.img', refused, /empty/],
    ['create x --main none.img --spare spare.img', notFound, /none\.img: no such file/],
    ['create x --main main.img --spare none.img', notFound, /--create-spare SIZE makes an image file/],
    [
      'create x --main main.img --spare no/new.img --create-spare 64M',
      notFound,
      /there is no folder no; make it/,
    ],
    ['create x --main main.img --spare spare.img --socket no/x.sock', notFound, /there is no folder \S+no$/],
    [`create x --main main.img --spare spare.img --socket ${'s'.repeat(108)}`, usage, /107 bytes/],
    [
      'create x --main-table folder --spare spare.img',
      failed,
      /folder: is a directory; expected a device-mapper table/,
    ],
    [
      'create x --main-table none --spare spare.img',
      notFound,
      /none: no such file; expected a device-mapper table/,
    ],
    ['create x --main-table garbage --spare spare.img', usage, /line 1/],
    [
      'create x --main-table /dev/zero --spare spare.img',
      usage,
      /over 1048576 bytes: expected a device-mapper/,
    ],
    ['create x --main nbd://127.0.0.1:99999 --spare spare.img', usage, /is no URI, expected nbd:/],
    ['assemble', usage, /which device\?/],
    ['assemble --spare a --without-spare', usage, /exclude each other/],
    ['assemble --without-spare', usage, /needs its name/],
    ['metadata restore none spare.img --yes', notFound, /none: no such file; expected a dump/],
    ['metadata restore folder spare.img --yes', failed, /folder: is a directory; expected a dump/],
    ['metadata restore garbage spare.img --yes', usage, /garbage: is no dump/],
    ['metadata restore /dev/zero spare.img --yes', usage, /\/dev\/zero: over \d+ bytes: expected a dump/],
  ]);
});

test('a folder of devices that cannot be is named, with what names another', async () => {
  const usual = process.env['DM_REMAP_RUNTIME_DIR'];
  try {
    process.env['DM_REMAP_RUNTIME_DIR'] = join(folder, 'garbage');
    await check(['ls', failed, /garbage: is not the folder of devices.*DM_REMAP_RUNTIME_DIR names another/]);
    const create = 'create x --main main.img --spare spare.img';
    await check([create, failed, /cannot hold the sockets of devices.*DM_REMAP_RUNTIME_DIR/]);
    process.env['DM_REMAP_RUNTIME_DIR'] = join(folder, 'l'.repeat(120));
    await check([create, usage, /longer than the 107 bytes.*DM_REMAP_RUNTIME_DIR names a shorter folder/]);
    await check(['status x', usage, /longer than the 107 bytes/]);
  } finally {
    process.env['DM_REMAP_RUNTIME_DIR'] = usual;
  }
});
