import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { programPath } from '../../bench/program-path.ts';

const distribution = fileURLToPath(new URL('../..', import.meta.url));
const project = dirname(distribution);
const program = join(distribution, 'program', 'cli', 'main.cjs');
const worker = join(distribution, 'program', 'cli', 'worker.cjs');

/** `npm test` has made it; whoever calls the compiler and a test by hand may have none, or an older one. */
const skip = programPath() === program ? false : 'made of older sources: node scripts/bundle.mjs';

test('the program that tests start is the one that people start', { skip: !process.env['CI'] }, () => {
  assert.equal(skip, false);
  const { bin } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8'));
  assert.equal(join(project, bin['dm-remap']), programPath());
});

test('a program is one file: nothing else is read for what it says of itself', { skip }, () => {
  const script = `process.argv = [process.argv[0], ${JSON.stringify(program)}, 'version'];
    require(${JSON.stringify(program)});
    process.on('exit', () => console.log(JSON.stringify(Object.keys(require.cache))));`;
  const { stdout, status } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  assert.equal(status, 0);
  const [version, loaded] = stdout.trim().split('\n');
  assert.equal(version, JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')).version);
  assert.deepEqual(JSON.parse(loaded!), [program]);
});

test('one byte a character: V8 would keep all of it in two', { skip }, () => {
  for (const path of [program, worker]) {
    const wide = readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => /[^\0-~]/.test(line));
    assert.deepEqual(wide, [], path);
  }
});

test('a map leads from each line to its source', { skip }, () => {
  for (const [path, source] of [
    [program, '../../../src/remap/remap-device.ts'],
    [worker, '../../../src/control/server.ts'],
  ] as const) {
    const { sources } = JSON.parse(readFileSync(`${path}.map`, 'utf8'));
    assert.ok(sources.includes(source), `${source} in ${sources.length} sources`);
    assert.match(readFileSync(path, 'utf8'), /^\/\/# sourceMappingURL=\w+\.cjs\.map$/m);
  }
});

test('what is part of it comes with its licence', { skip }, () => {
  const text = readFileSync(join(distribution, 'program', 'LICENSES.txt'), 'utf8');
  for (const name of ['commander', 'hono', 'pino', 'zod'])
    assert.match(
      text,
      new RegExp(`^${name} [\\d.]+: MIT\\n\\n.*(?:\\n.*)*Permission is hereby granted`, 'm'),
    );
});
