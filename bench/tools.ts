import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

/** The benchmark cannot run here; one line for people. */
export class BenchRefusal extends Error {
  override readonly name = 'BenchRefusal';
}

/** Where a program is, or undefined. Debian keeps some in sbin, which is not in a person's PATH. */
export function findTool(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Throws `BenchRefusal`, which names every missing program and what to install. */
export function requireTools(packageOfTool: Readonly<Record<string, string>>): void {
  const missing = Object.keys(packageOfTool).filter((name) => findTool(name) === undefined);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((name) => packageOfTool[name]))].join(' ');
  throw new BenchRefusal(`not installed: ${missing.join(', ')}; run as root: apt-get install ${packages}`);
}

/** The first version number that a program prints of itself. */
export function versionOf(name: string): string {
  const output = execFileSync(findTool(name) ?? name, ['--version'], { encoding: 'utf8' });
  return /\d+(?:\.\d+)+/.exec(output)?.[0] ?? 'unknown';
}
