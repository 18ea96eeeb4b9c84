import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import { SetupError } from '../../device/setup-error.ts';
import { monitorSettingsPath } from '../boot/monitor-unit.ts';
import type { ProgramPlace } from '../boot/service-unit.ts';
import {
  applyStep,
  enabledUnits,
  installSteps,
  type SetupStep,
  uninstallSteps,
} from '../boot/setup-files.ts';
import { tellSystem } from '../boot/tell-system.ts';
import { mainPath } from '../main-path.ts';
import { printJson, type Terminal } from '../terminal.ts';

export interface SetupFlags {
  readonly dryRun?: boolean;
  readonly uninstall?: boolean;
  readonly yes?: boolean;
  readonly root?: string;
  readonly program?: string;
  readonly node?: string;
  readonly json?: boolean;
}

/** `setup`: what starts devices at boot and hides their mains, written to this machine or to an image of one, or taken away. */
export async function runSetup(terminal: Terminal, flags: SetupFlags): Promise<void> {
  const root = resolve(flags.root ?? '/');
  if (!existsSync(root)) throw new SetupError('not-found', `--root ${root}: no such folder`);
  const steps = flags.uninstall === true ? uninstallSteps(root) : installSteps(root, programPlace(flags));
  const changes = steps.filter(({ action }) => action !== 'keep');
  if (flags.dryRun === true) {
    if (flags.json === true) printJson(terminal, { root, done: false, steps, notes: [] });
    else terminal.print(planText(changes));
    return;
  }
  if (changes.length > 0) await refuseUnasked(terminal, flags, changes);
  for (const step of changes) applyStep(step);
  const notes = [
    ...(flags.uninstall === true ? enabledUnits(root).map(stillEnabled) : []),
    ...(changes.length > 0 && root === '/' ? await tellSystem() : []),
  ];
  if (flags.json === true) printJson(terminal, { root, done: true, steps, notes });
  else terminal.print(doneText(changes, notes, flags.uninstall === true));
}

/** A person at a terminal has seen what would be done, and says so; a script says --yes. */
async function refuseUnasked(
  terminal: Terminal,
  flags: SetupFlags,
  changes: readonly SetupStep[],
): Promise<void> {
  if (flags.yes === true) return;
  if (terminal.confirm !== undefined) {
    terminal.print(planText(changes));
    if (await terminal.confirm('Do this?')) return;
    throw new SetupError('refused', 'nothing was changed');
  }
  const files = changes.map(({ action, path }) => `${verbs[action]} ${path}`).join(', ');
  throw new SetupError('refused', `would ${files}: --dry-run shows it whole, --yes does it`);
}

function programPlace({ node, program }: SetupFlags): ProgramPlace {
  return { node: node ?? process.execPath, main: program ?? mainPath() };
}

const verbs = { write: 'write', 'make-folder': 'make the folder', remove: 'remove', keep: 'keep' } as const;

function planText(changes: readonly SetupStep[]): string {
  if (changes.length === 0) return 'nothing to do';
  return changes
    .map(({ action, path, contents }) => {
      const head = `would ${verbs[action]} ${path}`;
      return contents === '' ? head : `${head}\n${contents.trimEnd().replace(/^/gm, '  | ')}`;
    })
    .join('\n');
}

const past = { write: 'wrote', 'make-folder': 'made the folder', remove: 'removed', keep: 'kept' } as const;

function doneText(changes: readonly SetupStep[], notes: readonly string[], uninstalled: boolean): string {
  const lines = changes.map(({ action, path }) => `${past[action]} ${path}`);
  if (lines.length === 0) lines.push('nothing to do');
  if (!uninstalled) {
    lines.push('start a device at each boot: systemctl enable dm-remap@NAME');
    lines.push(
      `be told what happens to devices: echo 'DM_REMAP_MONITOR="--mail root"' > ${monitorSettingsPath}; systemctl enable --now dm-remap-monitor`,
    );
  }
  return [...lines, ...notes.map((note) => `note: ${note}`)].join('\n');
}

function stillEnabled(unit: string): string {
  return `${unit} is still enabled: systemctl disable ${unit.replace('.service', '')}`;
}
