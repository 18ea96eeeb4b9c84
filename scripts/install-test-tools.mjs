// The programs of others that tests drive: clients, servers, file systems. Installs the Debian packages of those that
// are missing, and nothing when none is. Plain JavaScript without dependencies.
//
// As root by apt-get, else by `sudo -n apt-get`; where neither works it prints the one line to run and goes on: tests
// that need a missing tool skip visibly. With CI set a missing tool is a failure, because nobody reads skips there.

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The name lets scripts/setup.mjs tell this from a bug without importing this file. */
class MissingTools extends Error {
  name = 'MissingTools';
}

/** Debian keeps many of them in sbin, which is not in a person's PATH. */
export const toolFolders = [
  ...new Set([
    ...(process.env.PATH ?? '').split(':').filter((folder) => folder !== ''),
    '/usr/sbin',
    '/sbin',
  ]),
];

function isThere(path, mode) {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** `tool` is a program's name, or the absolute path of a file. */
export function hasTool(tool) {
  if (isAbsolute(tool)) return isThere(tool, constants.R_OK);
  return toolFolders.some((folder) => isThere(join(folder, tool), constants.X_OK));
}

function runs(command, ...parameters) {
  return spawnSync(command, parameters, { stdio: 'ignore' }).status === 0;
}

/** How to call apt-get here, or undefined. */
function aptCommand() {
  if (!hasTool('apt-get')) return undefined;
  if (process.getuid?.() === 0) return ['apt-get'];
  return hasTool('sudo') && runs('sudo', '-n', 'true') ? ['sudo', '-n', 'apt-get'] : undefined;
}

function apt(command, parameters) {
  const environment = ['env', 'DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C.UTF-8'];
  const [program, ...first] =
    command[0] === 'sudo' ? ['sudo', '-n', ...environment, 'apt-get'] : [...environment, 'apt-get'];
  const options = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=120', ...parameters];
  const result = spawnSync(program, [...first, ...options], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { good: result.status === 0, output: `${result.stdout ?? ''}${result.stderr ?? ''}` };
}

/**
 * Installs what can be had of `packages`; resolves to what apt-get said when something could not. A fresh image has no
 * package lists and an old one has stale ones: the second attempt is made after an update, the third one by one,
 * because one unknown name makes apt-get install none.
 */
function installPackages(command, packages) {
  const parameters = ['install', '--no-install-recommends'];
  if (apt(command, [...parameters, ...packages]).good) return '';
  const update = apt(command, ['update']);
  if (apt(command, [...parameters, ...packages]).good) return '';
  const attempts = packages.map((name) => apt(command, [...parameters, name]));
  return [update, ...attempts].map(({ good, output }) => (good ? '' : output)).join('');
}

/** Debian starts what a package serves. Nobody has asked for that: only a program of it was wanted. */
function stopServices(installed) {
  // sd_booted(3): elsewhere nothing was started.
  if (!existsSync('/run/systemd/system')) return;
  for (const { service } of installed) {
    if (service === undefined) continue;
    console.log(`setup: stopping and disabling ${service}.service, which came with a test tool`);
    spawnSync('systemctl', ['disable', '--now', '--quiet', service], { stdio: 'ignore' });
  }
}

/** Throws `MissingTools` when CI is set and a tool stays missing. */
export function installTestTools() {
  const tools = JSON.parse(readFileSync(fileURLToPath(new URL('test-tools.json', import.meta.url)), 'utf8'));
  const missing = () => tools.filter(({ tool }) => !hasTool(tool));
  if (missing().length === 0) return;

  const command = aptCommand();
  let output = '';
  // A tool moves between packages from release to release: the second candidate is tried when the first lacks it.
  for (let candidate = 0; candidate < 2 && command !== undefined; candidate += 1) {
    const packages = new Set(missing().flatMap((entry) => entry.packages[candidate] ?? []));
    if (packages.size === 0) continue;
    console.log(`setup: installing ${[...packages].join(' ')} (apt-get)`);
    const asked = missing();
    output = installPackages(command, [...packages]);
    stopServices(asked.filter(({ tool }) => hasTool(tool)));
  }

  const still = missing();
  if (still.length === 0) return;
  if (output !== '') console.error(output.trimEnd());
  const line = `apt-get install ${[...new Set(still.map((entry) => entry.packages[0]))].join(' ')}`;
  const what = `test tools are missing: ${still.map(({ tool }) => tool).join(', ')}`;
  if (process.env.CI !== undefined && process.env.CI !== '' && process.env.CI !== 'false') {
    throw new MissingTools(`${what}; run as root: ${line}`);
  }
  console.error(`setup: ${what}; tests that need them are skipped. Run as root: ${line}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    installTestTools();
  } catch (error) {
    console.error(error instanceof MissingTools ? `setup: ${error.message}` : error);
    process.exitCode = 1;
  }
}
