import { join } from 'node:path';
import { readNames, readText, systemRoots } from '../../io/system-files.ts';

/** Block devices of this machine with a size; not what the kernel keeps in memory. */
export async function blockDevicePaths(): Promise<readonly string[]> {
  const folder = join(systemRoots.sysfs, 'class', 'block');
  const names = (await readNames(folder)).filter((name) => !/^(ram|zram)\d/.test(name));
  const sizes = await Promise.all(names.map((name) => readText(folder, name, 'size')));
  return names.filter((_, at) => Number(sizes[at]) > 0).map((name) => `/dev/${name.replaceAll('!', '/')}`);
}
