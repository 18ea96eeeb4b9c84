import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { findUsers } from '../io/disk-usage.ts';

/** Processes that are named; more are counted. */
const namedMax = 4;

/**
 * Who uses an attached device or a partition of it, one clause each: mounts (of other mount namespaces too), swap, holders,
 * and processes that have it open. Empty: nobody.
 */
export async function usersOfDevice(devicePath: string): Promise<readonly string[]> {
  const users = (await findUsers(devicePath)).map(({ text }) => text);
  const openers = openersOf(devicePath);
  const named = openers.slice(0, namedMax);
  if (openers.length > namedMax) named.push(`${openers.length - namedMax} more processes`);
  return [...new Set([...users, ...mountsElsewhere(devicePath)]), ...named];
}

/** Processes other than this one with the device or a partition open. */
function openersOf(devicePath: string): string[] {
  const found: string[] = [];
  for (const pid of processes()) {
    if (Number(pid) === process.pid) continue;
    const path = descriptorsOf(pid).find((target) => isPartOf(target, devicePath));
    if (path !== undefined) found.push(`${path} open in process ${pid} (${commandOf(pid)})`);
  }
  return found;
}

/** Where processes of other mount namespaces see it mounted. */
function mountsElsewhere(devicePath: string): string[] {
  const seen = new Set([namespaceOf('self')]);
  const found: string[] = [];
  for (const pid of processes()) {
    const namespace = namespaceOf(pid);
    if (namespace === '' || seen.has(namespace)) continue;
    seen.add(namespace);
    for (const line of textOf(join('/proc', pid, 'mountinfo')).split('\n')) {
      const [, , , , mountPoint] = line.split(' ');
      const source = line.split(' - ')[1]?.split(' ')[1] ?? '';
      if (isPartOf(source, devicePath))
        found.push(`mounted on ${mountPoint} for process ${pid} (${commandOf(pid)})`);
    }
  }
  return found;
}

function isPartOf(path: string, devicePath: string): boolean {
  return path === devicePath || (path.startsWith(devicePath) && /^p\d+$/.test(path.slice(devicePath.length)));
}

function processes(): readonly string[] {
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
}

/** Processes end while they are looked at. */
function descriptorsOf(pid: string): readonly string[] {
  try {
    const folder = join('/proc', pid, 'fd');
    return readdirSync(folder).map((descriptor) => linkTarget(join(folder, descriptor)));
  } catch {
    return [];
  }
}

function namespaceOf(pid: string): string {
  return linkTarget(join('/proc', pid, 'ns', 'mnt'));
}

function commandOf(pid: string): string {
  return textOf(join('/proc', pid, 'comm')).trim();
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
