import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { hiddenFolderDefault } from '../../device/host/hidden-main.ts';
import { SetupError } from '../../device/setup-error.ts';
import { monitorUnit } from './monitor-unit.ts';
import { ownMark, type ProgramPlace, serviceUnit } from './service-unit.ts';
import { udevRules } from './udev-rules.ts';

const unitFolder = '/etc/systemd/system';
const unitPath = join(unitFolder, 'dm-remap@.service');
const monitorPath = join(unitFolder, 'dm-remap-monitor.service');
const rulesPath = '/etc/udev/rules.d/61-dm-remap.rules';

/** `keep`: it is as it should be, or is not there as it should not be. */
export type SetupAction = 'write' | 'make-folder' | 'remove' | 'keep';

export interface SetupStep {
  readonly action: SetupAction;
  /** Below `root`. */
  readonly path: string;
  /** Of files. */
  readonly contents: string;
}

/** What has to be done so that all is in place. Throws `SetupError` refused for a file of somebody else. */
export function installSteps(root: string, program: ProgramPlace): readonly SetupStep[] {
  const files: readonly (readonly [string, string])[] = [
    [unitPath, serviceUnit(program)],
    [monitorPath, monitorUnit(program)],
    [rulesPath, udevRules(hiddenFolderDefault)],
  ];
  const hidden = below(root, hiddenFolderDefault);
  return [
    { action: existsSync(hidden) ? 'keep' : 'make-folder', path: hidden, contents: '' },
    ...files.map(([path, contents]): SetupStep => {
      const there = ownContents(below(root, path));
      return { action: there === contents ? 'keep' : 'write', path: below(root, path), contents };
    }),
  ];
}

/** The same to take it away again. Marks of hidden disks mean nothing without the rule, and go too. */
export function uninstallSteps(root: string): readonly SetupStep[] {
  const files = [unitPath, monitorPath, rulesPath].map((path) => below(root, path));
  const hidden = below(root, hiddenFolderDefault);
  return [
    ...files.map((path): SetupStep => {
      const there = ownContents(path);
      return { action: there === undefined ? 'keep' : 'remove', path, contents: '' };
    }),
    { action: existsSync(hidden) ? 'remove' : 'keep', path: hidden, contents: '' },
  ];
}

/** Files appear whole. Throws the system's error. */
export function applyStep({ action, path, contents }: SetupStep): void {
  if (action === 'keep') return;
  if (action === 'remove') {
    rmSync(path, { recursive: true, force: true });
    return;
  }
  mkdirSync(action === 'write' ? dirname(path) : path, { recursive: true });
  if (action === 'make-folder') return;
  const unfinished = `${path}.dm-remap-new`;
  writeFileSync(unfinished, contents, { mode: 0o644 });
  renameSync(unfinished, path);
}

/** Units of ours that are started at boot: links that `systemctl enable` made. */
export function enabledUnits(root: string): readonly string[] {
  return ['local-fs.target.wants', 'multi-user.target.wants'].flatMap((folder) => {
    const wants = below(root, join(unitFolder, folder));
    if (!existsSync(wants)) return [];
    return readdirSync(wants).filter((name) => /^dm-remap(@.+|-monitor)\.service$/.test(name));
  });
}

function below(root: string, path: string): string {
  return join(root, path);
}

/** Undefined where there is nothing. */
function ownContents(path: string): string | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  const contents = found.isFile() ? readFileSync(path, 'utf8') : '';
  if (contents.startsWith(ownMark)) return contents;
  throw new SetupError(
    'refused',
    `${path}: is there and was not written by "dm-remap setup": move it away, then set up again`,
  );
}
