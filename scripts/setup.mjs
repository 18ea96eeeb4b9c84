// Makes a checkout ready to run: Node checked, packages installed, sources compiled. Says nothing when nothing is to do.
// Plain JavaScript without dependencies, because it runs before there are any. `npm start` and `npm test` call it first.
//
//   node scripts/setup.mjs [--with-test-tools] [--build-only | --install-only]
//
//   --with-test-tools   also the Debian packages that tests drive (scripts/install-test-tools.mjs)
//   --build-only        never installs anything; compiles
//   --install-only      never compiles

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const oldestNode = [20, 19, 0];
const sourceFolders = ['src', 'test', 'bench', 'demo'];
const installStamp = join(root, 'node_modules', '.setup-stamp');
const buildStamp = join(root, 'dist', '.setup-stamp');

class SetupFailure extends Error {}

function checkNode() {
  const found = process.versions.node.split('.').map(Number);
  for (const [place, wanted] of oldestNode.entries()) {
    if (found[place] > wanted) return;
    if (found[place] < wanted) {
      throw new SetupFailure(
        `Node ${process.versions.node} is too old, needs ${oldestNode.join('.')} or newer; see https://nodejs.org/`,
      );
    }
  }
}

/** How to start npm: the one that runs us, else the one in PATH. An npm_execpath of another package manager is not npm. */
function npmCommand() {
  const running = process.env.npm_execpath;
  if (running !== undefined && /npm-cli\.c?js$/.test(running) && existsSync(running)) {
    return [process.execPath, running];
  }
  const beside = join(dirname(process.execPath), 'npm');
  const places = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'npm'));
  const found = [...places, beside].find((path) => existsSync(path));
  if (found === undefined) throw new SetupFailure('npm is not in PATH; it comes with Node 20');
  return [found];
}

function hashOf(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex');
}

function readStamp(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** The stamp lies in node_modules, so that whoever removes the folder removes the claim that it is complete. */
function installPackages(mayInstall) {
  const wanted = hashOf([
    readFileSync(join(root, 'package-lock.json')),
    Buffer.from(`${process.version} ${process.arch}`),
  ]);
  if (readStamp(installStamp) === wanted) return;
  if (!mayInstall) {
    if (existsSync(join(root, 'node_modules', 'typescript'))) return;
    throw new SetupFailure('packages are not installed; run `node scripts/setup.mjs`');
  }
  console.log('setup: installing packages (npm ci)');
  const [command, ...first] = npmCommand();
  const options = ['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync(command, [...first, ...options], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.error !== undefined) throw new SetupFailure(`cannot start npm: ${result.error.message}`);
  if (result.status !== 0) {
    throw new SetupFailure(
      'npm ci failed, see above; it needs the npm registry once, later runs need no network',
    );
  }
  writeFileSync(installStamp, wanted);
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function sourceHash() {
  const sources = sourceFolders.flatMap((folder) =>
    filesBelow(join(root, folder)).filter((path) => /\.(ts|json)$/.test(path)),
  );
  const settings = ['tsconfig.json', 'package.json', 'package-lock.json', 'scripts/bundle.mjs'].map((name) =>
    join(root, name),
  );
  const parts = [...settings, ...sources].flatMap((path) => [
    Buffer.from(relative(root, path)),
    readFileSync(path),
  ]);
  return hashOf(parts);
}

/** Outputs whose source is gone would still be found as tests, and still be imported. */
function removeOrphans() {
  for (const folder of sourceFolders) {
    for (const output of filesBelow(join(root, 'dist', folder))) {
      const stem = relative(join(root, 'dist'), output).replace(/(\.js|\.js\.map|\.d\.ts|\.d\.ts\.map)$/, '');
      if (existsSync(join(root, stem)) || existsSync(join(root, `${stem}.ts`))) continue;
      rmSync(output);
      let empty = dirname(output);
      while (empty !== join(root, 'dist') && readdirSync(empty).length === 0) {
        rmdirSync(empty);
        empty = dirname(empty);
      }
    }
  }
}

/**
 * tsc writes its output even when there are errors, so only the stamp says that the output is good. Who called the compiler
 * himself has a program that is older than its modules.
 */
async function compile() {
  const wanted = sourceHash();
  const { bundle, isBundled } = await import('./bundle.mjs');
  if (readStamp(buildStamp) === wanted && isBundled()) return;
  rmSync(buildStamp, { force: true });
  removeOrphans();
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const result = spawnSync(process.execPath, [tsc, '-p', root], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.error !== undefined) throw new SetupFailure(`cannot start tsc: ${result.error.message}`);
  if (result.status !== 0) throw new SetupFailure('the sources do not compile, see above');
  await bundle();
  mkdirSync(dirname(buildStamp), { recursive: true });
  writeFileSync(buildStamp, wanted);
}

const withTestTools = process.argv.includes('--with-test-tools');
try {
  checkNode();
  installPackages(!process.argv.includes('--build-only'));
  if (!process.argv.includes('--install-only')) await compile();
  if (withTestTools) {
    const { installTestTools } = await import('./install-test-tools.mjs');
    installTestTools();
  }
} catch (error) {
  if (error instanceof Error && (error instanceof SetupFailure || error.name === 'MissingTools')) {
    console.error(`setup: ${error.message}`);
  } else {
    console.error(error);
  }
  // Whoever reads the last line of `npm test` must find the result there, also when it never came to testing.
  if (withTestTools) console.log('0 passed, 1 failed');
  process.exitCode = 1;
}
