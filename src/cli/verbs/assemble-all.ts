import type { ServeOptions } from '../../device/serve-options.ts';
import type { Assembly } from '../../device/spare/plan-assembly.ts';
import { ExitCode } from '../exit-code.ts';
import { failureOf } from '../failure.ts';
import { launchDevice } from '../launch.ts';
import { planMachine } from '../locate-spare.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** Processes that start at one time: each opens disks and reads a table. */
const startsAtOnce = 4;

export interface AssembledDevice extends Omit<Assembly, 'verdict'> {
  readonly result: 'started' | 'would-start' | 'served' | 'waiting' | 'refused' | 'failed';
  readonly exports: readonly string[];
  readonly notes: readonly string[];
  readonly exitCode: number;
}

export interface AssembleAllFlags {
  readonly json?: boolean;
  readonly dryRun?: boolean;
}

/** `assemble --all`: starts what belongs together by identity. Resolves to 0, or to the code of the first device that is not served. */
export async function runAssembleAll(
  terminal: Terminal,
  flags: AssembleAllFlags,
  given: ServeOptions,
): Promise<number> {
  const plan = await planMachine();
  const devices: AssembledDevice[] = [];
  for (let at = 0; at < plan.length; at += startsAtOnce) {
    const batch = plan.slice(at, at + startsAtOnce);
    devices.push(...(await Promise.all(batch.map((one) => assembleOne(one, flags.dryRun === true, given)))));
  }
  if (flags.json === true) printJson(terminal, devices);
  else if (devices.length > 0) terminal.print(devices.map(assembledText).join('\n'));
  else terminal.print('no disk of this machine carries a spare');
  return devices.find(({ exitCode }) => exitCode !== ExitCode.ok)?.exitCode ?? ExitCode.ok;
}

async function assembleOne(one: Assembly, dryRun: boolean, given: ServeOptions): Promise<AssembledDevice> {
  const { verdict, ...facts } = one;
  const told = { ...facts, exports: [], notes: [], exitCode: ExitCode.ok };
  if (verdict === 'served') return { ...told, result: 'served' };
  if (verdict === 'wait') return { ...told, result: 'waiting', exitCode: ExitCode.notFound };
  if (verdict === 'refused') return { ...told, result: 'refused', exitCode: ExitCode.refused };
  if (dryRun) return { ...told, result: 'would-start' };
  try {
    const { exports, notes } = await launchDevice(assemblyOptions(one, given));
    return { ...told, result: 'started', exports, notes };
  } catch (error) {
    const { exitCode, message } = failureOf(error);
    if (exitCode === ExitCode.bug) throw error;
    return { ...told, result: 'failed', why: message, exitCode };
  }
}

/** Without a path main is where the spare saw it, and proves there once more that it is the one. */
export function assemblyOptions({ sparePath, mainPath }: Assembly, given: ServeOptions): ServeOptions {
  return {
    ...given,
    sparePath,
    ...(mainPath === '' ? {} : { main: { kind: 'path', path: mainPath } }),
  };
}

function assembledText({ name, sparePath, result, why, exports, notes }: AssembledDevice): string {
  const lines = [
    ...notes.map((note) => `  note      ${note}`),
    ...exports.map((uri) => `  export    ${uri}`),
  ];
  return [`${name === '' ? sparePath : name}: ${result}: ${why}`, ...lines].join('\n');
}
