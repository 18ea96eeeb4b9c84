import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fixtureTree } from './fixture-tree.ts';

const project = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

const layers = JSON.stringify({
  rooms: {
    block: { purpose: '', imports: [] },
    linux: { purpose: '', imports: ['block'] },
    io: { purpose: '', imports: ['linux', 'block'] },
    device: { purpose: '', imports: ['io', 'block'] },
    control: { purpose: '', imports: ['device/messages.ts', 'block'] },
    simulator: { purpose: '', imports: ['device', 'block'] },
  },
  pure: ['block', 'device/admission.ts', 'simulator'],
  pureExceptions: { 'simulator/virtual-clock.ts': ['setImmediate'] },
});
const packageJson = JSON.stringify({ type: 'module', dependencies: { koffi: '1.0.0', zod: '1.0.0' } });

function check(name: string, files: Readonly<Record<string, string>>): { good: boolean; output: string } {
  // biome reads every file there is, and these two are not written for it.
  const settings = name === 'format' ? {} : { 'layers.json': layers, 'package.json': packageJson };
  using tree = fixtureTree({ ...settings, ...files });
  for (const setting of ['biome.json', '.gitignore'])
    copyFileSync(join(project, setting), join(tree.root, setting));
  const result = spawnSync(
    process.execPath,
    [join(project, 'scripts', 'check.mjs'), '--root', tree.root, name],
    { encoding: 'utf8' },
  );
  return { good: result.status === 0, output: result.stdout + result.stderr };
}

/** One violation in an otherwise good tree must be found, at its place, and be the only one found. */
function finds(title: string, files: Readonly<Record<string, string>>, expected: RegExp): void {
  test(title, () => {
    const { good, output } = check('rooms', files);
    assert.equal(good, false, output);
    assert.match(output, expected);
    assert.equal(output.trimEnd().split('\n').length, 2, `more than one problem is told:\n${output}`);
  });
}

function accepts(title: string, files: Readonly<Record<string, string>>): void {
  test(title, () => {
    const { good, output } = check('rooms', files);
    assert.equal(good, true, output);
  });
}

const empty = 'export {};\n';

describe('who may import whom', () => {
  accepts('a room imports what layers.json lists, and src/index.ts anything', {
    'src/block/a.ts': "import { b } from './b.ts';\nexport { b };\n",
    'src/block/b.ts': 'export const b = 1;\n',
    'src/io/a.ts':
      "import { b } from '../block/b.ts';\nimport { read } from 'node:fs';\nexport { b, read };\n",
    'src/index.ts': "export { b } from './io/a.ts';\n",
  });
  finds(
    'an import upwards',
    { 'src/block/a.ts': "import { x } from '../io/x.ts';\nexport { x };\n", 'src/io/x.ts': empty },
    /src\/block\/a\.ts:1: imports src\/io\/x\.ts; room block may import nothing/,
  );
  finds(
    'an import over several lines',
    {
      'src/block/a.ts': "import {\n  x,\n  y,\n} from '../io/x.ts';\nexport { x, y };\n",
      'src/io/x.ts': empty,
    },
    /src\/block\/a\.ts:1: imports src\/io\/x\.ts/,
  );
  finds(
    'a type import upwards',
    {
      'src/block/a.ts': "\nimport type { X } from '../io/x.ts';\nexport type Y = X;\n",
      'src/io/x.ts': empty,
    },
    /src\/block\/a\.ts:2: imports/,
  );
  finds(
    'a re-export upwards',
    { 'src/block/a.ts': "export * as x from '../io/x.ts';\n", 'src/io/x.ts': empty },
    /src\/block\/a\.ts:1: imports/,
  );
  finds(
    'an import for its effects upwards',
    { 'src/block/a.ts': "import '../io/x.ts';\n", 'src/io/x.ts': empty },
    /src\/block\/a\.ts:1: imports/,
  );
  finds(
    'a dynamic import upwards',
    { 'src/linux/a.ts': "export const x = await import('../io/x.ts');\n", 'src/io/x.ts': empty },
    /src\/linux\/a\.ts:1: imports src\/io\/x\.ts/,
  );
  accepts('a listed file of a room that is not listed', {
    'src/control/a.ts': "export * from '../device/messages.ts';\n",
    'src/device/messages.ts': empty,
  });
  finds(
    'another file of a room of which one file is listed',
    { 'src/control/a.ts': "export * from '../device/other.ts';\n", 'src/device/other.ts': empty },
    /imports src\/device\/other\.ts; room control may import device\/messages\.ts, block/,
  );
  finds(
    'a room that imports src/index.ts',
    { 'src/io/a.ts': "export * from '../index.ts';\n", 'src/index.ts': empty },
    /imports src\/index\.ts/,
  );
  finds(
    'an import that leaves src/',
    { 'src/io/a.ts': "export * from '../../test/x.ts';\n" },
    /src\/io\/a\.ts:1: imports \.\.\/\.\.\/test\/x\.ts, which is outside of src\//,
  );
  finds('a room without rules', { 'src/attic/a.ts': empty }, /room attic is not in layers\.json/);
  finds(
    'anybody who imports the simulator, also the free index',
    { 'src/index.ts': "export * from './simulator/x.ts';\n", 'src/simulator/x.ts': empty },
    /src\/index\.ts:1: .*nobody imports the simulator/,
  );
  finds(
    'a benchmark that imports the simulator',
    { 'bench/a.ts': "export * from '../src/simulator/x.ts';\n", 'src/simulator/x.ts': empty },
    /bench\/a\.ts:1: .*nobody imports the simulator/,
  );
  accepts('imports that stand in comments, texts and regular expressions only', {
    'src/block/a.ts': [
      "// import { x } from '../io/x.ts';",
      "/* import '../io/x.ts'; */",
      'export const text = "import { x } from \'../io/x.ts\'";',
      `export const template = \`\${text} import { x } from '../io/x.ts'\`;`,
      "export const pattern = /import '..\\/io\\/x.ts'/;",
      'export const half = (text.length / 2) * (1 / 3);',
      '',
    ].join('\n'),
    'src/io/x.ts': empty,
  });
});

describe('packages', () => {
  finds(
    'koffi outside of src/linux',
    { 'src/io/a.ts': "import koffi from 'koffi';\nexport { koffi };\n" },
    /src\/io\/a\.ts:1: imports koffi; only src\/linux may/,
  );
  accepts('koffi in src/linux', { 'src/linux/a.ts': "import koffi from 'koffi';\nexport { koffi };\n" });
  finds(
    'a package that would not be installed with ours',
    { 'src/io/a.ts': "import fc from 'fast-check';\nexport { fc };\n" },
    /imports fast-check, which is not in the dependencies/,
  );
});

describe('import cycles', () => {
  finds(
    'a cycle of three files, told once',
    {
      'src/block/a.ts': "export { c as a } from './b.ts';\n",
      'src/block/b.ts': "export { c } from './c.ts';\n",
      'src/block/c.ts': "import { a } from './a.ts';\nexport const c: unknown = a;\n",
    },
    /import cycle: src\/block\/a\.ts -> src\/block\/b\.ts -> src\/block\/c\.ts -> src\/block\/a\.ts/,
  );
  finds(
    'a file that imports itself',
    { 'src/block/a.ts': "export * from './a.ts';\n" },
    /import cycle: src\/block\/a\.ts -> src\/block\/a\.ts/,
  );
  accepts('two ways to one file are no cycle', {
    'src/block/a.ts': "export * from './b.ts';\nexport * from './c.ts';\n",
    'src/block/b.ts': "export { d as b } from './d.ts';\n",
    'src/block/c.ts': "export { d as c } from './d.ts';\n",
    'src/block/d.ts': 'export const d = 1;\n',
  });
});

describe('pure rooms', () => {
  const violations: readonly (readonly [code: string, problem: RegExp])[] = [
    ['export const now = Date.now();', /Date in a pure room/],
    ['export const now = performance.now();', /performance in a pure room/],
    ['setTimeout(() => undefined, 1);', /setTimeout in/],
    ['setInterval(() => undefined, 1);', /setInterval in/],
    ['setImmediate(() => undefined);', /setImmediate in/],
    ['export const later = setImmediate;', /setImmediate in/],
    ['export const home = process.env;', /process in/],
    ['queueMicrotask(() => undefined);', /queueMicrotask in/],
    ['export const chance = Math.random();', /Math\.random in/],
    ['export const chance = Math\n  .random();', /Math\.random in/],
    ['export const id = crypto.randomUUID();', /crypto in/],
    ['export const weak = new WeakRef({});', /WeakRef in/],
    ['export const last = new FinalizationRegistry(() => undefined);', /FinalizationRegistry in/],
    ['export const signal = AbortSignal.timeout(5);', /AbortSignal\.timeout in/],
    ["export const other = await import('./other.ts');", /dynamic import in/],
    ['export const other = await import(name);', /dynamic import in/],
    ["import { readFileSync } from 'node:fs';\nexport { readFileSync };", /imports node:fs in/],
    ["console.log('hello');", /console in/],
    ['export const g = globalThis;', /globalThis in/],
    ['let count = 0;\nexport const next = (): number => (count += 1);', /a variable of the module/],
    ['export var count = 0;', /a variable of the module/],
    ['export const parts = [...process.argv];', /process in/],
    [`export const text = \`now \${Date.now()}\`;`, /Date in/],
  ];
  for (const [code, problem] of violations) {
    finds(code, { 'src/block/a.ts': `${code}\n` }, problem);
  }
  finds('a single file declared pure', { 'src/device/admission.ts': 'export const d = Date;\n' }, /Date in/);
  accepts('a neighbour of that file is free', { 'src/device/other.ts': 'export const d = Date;\n' });
  accepts('the declared exception, and only there', {
    'src/simulator/virtual-clock.ts': 'export const turn = setImmediate;\n',
  });
  finds(
    'the exception used by another',
    { 'src/simulator/world.ts': 'export const t = setImmediate;\n' },
    /setImm/,
  );
  accepts('names that only look like it', {
    'src/block/a.ts': [
      '// Date, process and let count = 0 in a comment',
      "export const text = 'Date.now() process console';",
      'export const update = (): number => { let count = 1; count += 1; return count; };',
      'export class Worker { #process = 1; get work(): number { return this.#process; } }',
      'export interface Clock { readonly date: number; readonly processed: number; readonly Date: number }',
      'export const of = (clock: Clock): number => clock.Date + clock.processed;',
      'for (let at = 0; at < 1; at += 1) of({ date: at, processed: at, Date: at });',
      'export const letter = 1, variable = letter;',
      '',
    ].join('\n'),
  });
});

describe('the page about the architecture', () => {
  const page = (rows: string): Record<string, string> => ({
    'src/block/a.ts': 'export {};\n',
    'docs/architecture.md': `# Rooms\n<!-- layers -->\n${rows}\n<!-- /layers -->\n`,
  });

  test('must show the rooms that are enforced, and is told what to show', () => {
    const { good, output } = check('rooms', page('| room |'));
    assert.equal(good, false);
    assert.match(output, /docs\/architecture\.md:1: its table of rooms is not layers\.json's/);
    const rows = output.split('\n').map((line) => line.trim());
    const expected = rows.filter((line) => line.startsWith('|')).join('\n');
    assert.equal(check('rooms', page(expected)).good, true);
  });
});

describe('the other checks', () => {
  test('a long file is mentioned, and is no failure', () => {
    const { good, output } = check('rooms', { 'src/io/a.ts': `${'\n'.repeat(400)}export {};\n` });
    assert.equal(good, true, output);
    assert.match(output, /remark: src\/io\/a\.ts:401: 401 lines, more than 400/);
  });

  test('a tree without sources fails: nothing was checked', () => {
    assert.equal(check('rooms', {}).good, false);
  });

  test('an unknown check is refused by name', () => {
    const { good, output } = check('spelling', {});
    assert.equal(good, false);
    assert.match(output, /no check is named spelling/);
  });

  const tsconfig = JSON.stringify({
    compilerOptions: { ...compilerOptions(), types: [], rootDir: '.', outDir: 'dist' },
    include: ['src/**/*.ts'],
  });

  const lintViolations: readonly (readonly [rule: string, code: string])[] = [
    [
      'no-floating-promises',
      'export async function a(): Promise<void> {}\nexport function b(): void {\n  a();\n}\n',
    ],
    [
      'no-misused-promises',
      'export async function a(): Promise<boolean> {\n  return true;\n}\nexport function b(): number {\n  if (a()) return 1;\n  return 2;\n}\n',
    ],
    ['await-thenable', 'export async function a(): Promise<number> {\n  return await 5;\n}\n'],
    ['no-unused-vars', 'export function a(): number {\n  const unused = 1;\n  return 2;\n}\n'],
    ['no-explicit-any', 'export function a(value: any): unknown {\n  return value;\n}\n'],
  ];
  for (const [rule, code] of lintViolations) {
    test(`lint finds ${rule}`, () => {
      const { good, output } = check('lint', { 'src/block/a.ts': code, 'tsconfig.json': tsconfig });
      assert.equal(good, false, output);
      assert.ok(output.includes(rule), output);
    });
  }

  test('lint accepts a tree without a flaw', () => {
    const code =
      'export async function a(): Promise<void> {}\nexport function b(): Promise<void> {\n  return a();\n}\n';
    const { good, output } = check('lint', { 'src/block/a.ts': code, 'tsconfig.json': tsconfig });
    assert.equal(good, true, output);
  });

  test('types finds what does not compile', () => {
    const { good, output } = check('types', {
      'src/block/a.ts': "export const a: number = 'one';\n",
      'tsconfig.json': tsconfig,
    });
    assert.equal(good, false, output);
    assert.match(output, /TS2322/);
  });

  test('format finds what biome would write otherwise, also outside of a git repository', () => {
    const good = check('format', { 'src/block/a.ts': "export const a = 'one';\n" });
    assert.equal(good.good, true, good.output);
    const bad = check('format', { 'src/block/a.ts': 'export const a = "one"\n' });
    assert.equal(bad.good, false, bad.output);
    assert.match(bad.output, /src\/block\/a\.ts format/);
  });
});

function compilerOptions(): object {
  const settings: unknown = JSON.parse(readFileSync(join(project, 'tsconfig.json'), 'utf8'));
  assert.ok(typeof settings === 'object' && settings !== null && 'compilerOptions' in settings);
  assert.ok(typeof settings.compilerOptions === 'object' && settings.compilerOptions !== null);
  return settings.compilerOptions;
}
