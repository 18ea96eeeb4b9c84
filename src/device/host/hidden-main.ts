import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { UdevNames } from '../../io/udev-names.ts';
import { isWorldError } from '../setup-failure.ts';

/** On the root file system, for udev looks there before any other is mounted. Made by `dm-remap setup`. */
export const hiddenFolderDefault = '/etc/dm-remap/hidden';

/** `DM_REMAP_HIDDEN_DIR`, else the one of `dm-remap setup`; undefined where that was not run. */
export function hiddenFolder(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  const folder = environment['DM_REMAP_HIDDEN_DIR'] || hiddenFolderDefault;
  return existsSync(folder) ? folder : undefined;
}

/**
 * M16: the marks by which udev's rule hides a main from automounters, from before its first write until its table is empty and the
 * device closed. A mark is an empty file named for what udev calls the disk: it holds over boots, kills and new names under /dev.
 */
export class HiddenMain {
  readonly #marks: readonly string[];
  readonly #ueventPath: string;

  /** Hides it; nothing happens for a main that udev does not know. Throws the system's error. */
  constructor(folder: string, { names, ueventPath }: UdevNames) {
    this.#marks = names.map((name) => join(folder, name));
    this.#ueventPath = ueventPath;
    for (const mark of this.#marks) writeFileSync(mark, '', { mode: 0o644 });
  }

  /** All data is on main again: it may be used alone. */
  show(): void {
    for (const mark of this.#marks) rmSync(mark, { force: true });
    if (this.#marks.length === 0) return;
    try {
      // udev has seen the disk closed already, with its mark still there.
      writeFileSync(this.#ueventPath, 'change');
    } catch (error) {
      if (!isWorldError(error)) throw error;
    }
  }
}
