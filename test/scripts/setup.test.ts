import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type FixtureTree, fixtureTree } from './fixture-tree.ts';

const scripts = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'scripts');

/** Notes how it was called, and installs the compiler below, as `npm ci` would: over what was there. */
const npm = `
const fs = require('node:fs');
fs.appendFileSync('npm-calls', process.argv.slice(2).join(' ') + '\\n');
if (fs.existsSync('npm-fails')) process.exit(1);
fs.rmSync('node_modules', { recursive: true, force: true });
fs.mkdirSync('node_modules/typescript/bin', { recursive: true });
fs.copyFileSync('compiler.js', 'node_modules/typescript/bin/tsc');
`;

/** Like tsc it writes every output, also when it says that a source has an error. */
const compiler = `
const fs = require('node:fs');
fs.appendFileSync('compiler-calls', 'x');
let bad = false;
for (const name of fs.readdirSync('src')) {
  const text = fs.readFileSync('src/' + name, 'utf8');
  if (text.includes('ERROR')) bad = true;
  fs.mkdirSync('dist/src', { recursive: true });
  for (const end of ['.js', '.js.map', '.d.ts']) fs.writeFileSync('dist/src/' + name.replace('.ts', end), text);
}
if (bad) { console.error('src/a.ts(1,1): error'); process.exit(2); }
`;

/** Called behind a compiler that was content. */
const bundler = `
import { appendFileSync, existsSync } from 'node:fs';
export const isBundled = () => existsSync('bundle-calls');
export const bundle = async () => appendFileSync('bundle-calls', 'x');
`;

function checkout(): FixtureTree {
  const ours = ['setup.mjs', 'install-test-tools.mjs'].map((name) => [
    `scripts/${name}`,
    readFileSync(join(scripts, name), 'utf8'),
  ]);
  return fixtureTree({
    ...Object.fromEntries(ours),
    'package.json': '{}',
    'package-lock.json': '{"lockfileVersion":3}',
    'tsconfig.json': '{}',
    'npm/npm-cli.js': npm,
    'compiler.js': compiler,
    'scripts/bundle.mjs': bundler,
    'src/a.ts': 'a',
    'src/b.ts': 'b',
    'scripts/test-tools.json': '[{"tool":"/nonexistent/tool","packages":[]}]',
  });
}

interface Setting {
  readonly words?: readonly string[];
  readonly ci?: string;
  readonly nodeOptions?: string;
}

function setUp({ root }: FixtureTree, { words = [], ci = '', nodeOptions = '' }: Setting = {}) {
  const result = spawnSync(process.execPath, [join(root, 'scripts', 'setup.mjs'), ...words], {
    cwd: root,
    encoding: 'utf8',
    env: {
      PATH: '',
      CI: ci,
      NODE_OPTIONS: nodeOptions,
      npm_execpath: join(root, 'npm', 'npm-cli.js'),
    },
  });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

function callsOf({ root }: FixtureTree, name: 'npm-calls' | 'compiler-calls' | 'bundle-calls'): string {
  return existsSync(join(root, name)) ? readFileSync(join(root, name), 'utf8') : '';
}

test('the first run installs and compiles, the second has nothing to do and says nothing', () => {
  using tree = checkout();
  assert.equal(setUp(tree).status, 0);
  assert.equal(
    callsOf(tree, 'npm-calls'),
    'ci --include=dev --ignore-scripts --no-audit --no-fund --loglevel=error\n',
  );
  assert.equal(callsOf(tree, 'compiler-calls'), 'x');
  assert.equal(callsOf(tree, 'bundle-calls'), 'x');
  assert.ok(existsSync(join(tree.root, 'dist/src/a.js')));
  assert.deepEqual(setUp(tree), { status: 0, stdout: '', stderr: '' });
  assert.equal(callsOf(tree, 'npm-calls').split('\n').length, 2);
  assert.equal(callsOf(tree, 'compiler-calls'), 'x');
});

test('another lockfile, or removed packages, install again', () => {
  using tree = checkout();
  setUp(tree);
  writeFileSync(join(tree.root, 'package-lock.json'), '{"lockfileVersion":4}');
  setUp(tree);
  assert.equal(callsOf(tree, 'npm-calls').split('\n').length, 3);
  rmSync(join(tree.root, 'node_modules'), { recursive: true });
  setUp(tree);
  assert.equal(callsOf(tree, 'npm-calls').split('\n').length, 4);
});

test('a failed install fails, and is tried again', () => {
  using tree = checkout();
  writeFileSync(join(tree.root, 'npm-fails'), '');
  const failed = setUp(tree);
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /^setup: npm ci failed/m);
  rmSync(join(tree.root, 'npm-fails'));
  assert.equal(setUp(tree).status, 0);
});

test('a changed source compiles again, a removed one takes its outputs along', () => {
  using tree = checkout();
  setUp(tree);
  writeFileSync(join(tree.root, 'src/a.ts'), 'changed');
  setUp(tree);
  assert.equal(callsOf(tree, 'compiler-calls'), 'xx');
  rmSync(join(tree.root, 'src/b.ts'));
  setUp(tree);
  for (const end of ['.js', '.js.map', '.d.ts']) {
    assert.equal(existsSync(join(tree.root, `dist/src/b${end}`)), false, end);
    assert.equal(existsSync(join(tree.root, `dist/src/a${end}`)), true, end);
  }
});

test('sources that do not compile fail, though outputs were written, until they do', () => {
  using tree = checkout();
  setUp(tree);
  writeFileSync(join(tree.root, 'src/a.ts'), 'ERROR');
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const failed = setUp(tree);
    assert.equal(failed.status, 1);
    assert.match(failed.stderr, /src\/a\.ts\(1,1\): error[\s\S]*^setup: the sources do not compile/m);
    assert.equal(callsOf(tree, 'bundle-calls'), 'x', 'no program of sources that do not compile');
  }
  writeFileSync(join(tree.root, 'src/a.ts'), 'a');
  assert.equal(setUp(tree).status, 0);
});

test('a program that is older than its modules is made again', () => {
  using tree = checkout();
  setUp(tree);
  rmSync(join(tree.root, 'bundle-calls'));
  assert.deepEqual(setUp(tree), { status: 0, stdout: '', stderr: '' });
  assert.equal(callsOf(tree, 'bundle-calls'), 'x');
});

test('--build-only compiles and never installs', () => {
  using tree = checkout();
  const failed = setUp(tree, { words: ['--build-only'] });
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /^setup: packages are not installed; run/);
  setUp(tree);
  writeFileSync(join(tree.root, 'package-lock.json'), '{"lockfileVersion":4}');
  writeFileSync(join(tree.root, 'src/a.ts'), 'changed');
  assert.equal(setUp(tree, { words: ['--build-only'] }).status, 0);
  assert.equal(callsOf(tree, 'compiler-calls'), 'xx');
  assert.equal(callsOf(tree, 'npm-calls').split('\n').length, 2);
});

test('--install-only does not compile: whoever lints wants to hear it from the linter', () => {
  using tree = checkout();
  writeFileSync(join(tree.root, 'src/a.ts'), 'ERROR');
  assert.equal(setUp(tree, { words: ['--install-only'] }).status, 0);
  assert.equal(callsOf(tree, 'npm-calls').split('\n').length, 2);
  assert.equal(callsOf(tree, 'compiler-calls'), '');
});

test('an old Node is refused in one line, before anything is done', () => {
  using tree = checkout();
  const pretend = `data:text/javascript,${encodeURIComponent(
    "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } });",
  )}`;
  const refused = setUp(tree, { nodeOptions: `--import=${pretend}` });
  assert.equal(refused.status, 1);
  assert.equal(
    refused.stderr,
    'setup: Node 18.20.4 is too old, needs 20.19.0 or newer; see https://nodejs.org/\n',
  );
  assert.equal(callsOf(tree, 'npm-calls'), '');
});

test('a missing test tool is told, and fails only in CI, with the line that ends every test run', () => {
  using tree = checkout();
  const words = ['--with-test-tools'];
  const told = setUp(tree, { words });
  assert.equal(told.status, 0);
  assert.match(
    told.stderr,
    /^setup: test tools are missing: \/nonexistent\/tool; tests that need them are skipped/m,
  );
  const failed = setUp(tree, { words, ci: 'true' });
  assert.equal(failed.status, 1);
  assert.equal(failed.stdout.trimEnd().split('\n').at(-1), '0 passed, 1 failed');
});
