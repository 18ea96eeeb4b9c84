// What can be known about the sources without running them. `npm run lint` runs it, and every `npm test` begins with it.
//
//   node scripts/check.mjs [--root DIRECTORY] [NAME…]
//
// Names: format (biome), lint (oxlint with types), types (tsc), rooms (layers.json). Without a name all of them.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkRooms } from './check-rooms.mjs';

const project = dirname(dirname(fileURLToPath(import.meta.url)));

/** Tools colour their output for CI systems, whatever NO_COLOR says; ours is read in logs. */
const colours = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');

/** Runs a tool of node_modules; resolves to whether it was content, and what it said. */
function runTool(root, tool, parameters) {
  const path = join(project, 'node_modules', tool);
  return new Promise((done) => {
    const child = spawn(process.execPath, [path, ...parameters], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (piece) => {
      output += piece;
    });
    child.stderr.on('data', (piece) => {
      output += piece;
    });
    child.on('error', (error) => done({ good: false, output: error.message }));
    child.on('close', (status, signal) => {
      const plain = output.replace(colours, '');
      done({ good: status === 0, output: signal === null ? plain : `${plain}\nkilled by ${signal}` });
    });
  });
}

function describeProblem({ path, line, problem }) {
  return `${path}:${line}: ${problem}`;
}

function runRooms(root) {
  const { problems, remarks, fileCount } = checkRooms(root);
  const lines = [
    ...problems.map(describeProblem),
    ...remarks.map((one) => `remark: ${describeProblem(one)}`),
  ];
  if (fileCount === 0) lines.push('no sources found');
  return { good: problems.length === 0 && fileCount > 0, output: lines.join('\n'), remarks: remarks.length };
}

/** oxlint looks for its helper beside the sources, not beside itself; sources may be elsewhere (tests of this file). */
process.env.OXLINT_TSGOLINT_PATH ??= join(project, 'node_modules', '.bin', 'tsgolint');

const folders = (root) => ['src', 'test', 'bench', 'demo'].filter((folder) => existsSync(join(root, folder)));

const checks = {
  format: {
    title: 'format and lint (biome)',
    run: (root) =>
      runTool(root, '@biomejs/biome/bin/biome', ['check', '--error-on-warnings', '--colors=off', '.']),
  },
  lint: {
    title: 'lint with types (oxlint)',
    run: (root) =>
      runTool(root, 'oxlint/bin/oxlint', [
        '--config',
        join(project, '.oxlintrc.json'),
        '--type-aware',
        '--deny-warnings',
        ...folders(root),
      ]),
  },
  types: {
    title: 'types (tsc)',
    run: (root) => runTool(root, 'typescript/bin/tsc', ['--noEmit', '--pretty', 'false', '-p', root]),
  },
  rooms: { title: 'rooms, cycles, purity (layers.json)', run: (root) => Promise.resolve(runRooms(root)) },
};

/** Runs the named checks; resolves to `{ title, good, output }` of each. */
export async function runChecks(root = project, names = Object.keys(checks)) {
  return Promise.all(
    names.map(async (name) => ({ title: checks[name].title, ...(await checks[name].run(root)) })),
  );
}

async function main(parameters) {
  const rootAt = parameters.indexOf('--root');
  const root = rootAt < 0 ? project : resolve(parameters[rootAt + 1] ?? '.');
  const names = parameters.filter((_, at) => rootAt < 0 || (at !== rootAt && at !== rootAt + 1));
  const unknown = names.find((name) => !(name in checks));
  if (unknown !== undefined) {
    console.error(`check: no check is named ${unknown}; there are ${Object.keys(checks).join(', ')}`);
    process.exitCode = 2;
    return;
  }
  for (const { title, good, output } of await runChecks(root, names.length === 0 ? undefined : names)) {
    console.log(`${good ? 'ok    ' : 'FAILED'} ${title}`);
    if (!good || output.includes('remark:')) console.log(output.trimEnd().replace(/^/gm, '    '));
    if (!good) process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
