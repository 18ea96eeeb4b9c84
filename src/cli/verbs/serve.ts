import { closeSync, writeSync } from 'node:fs';
import process from 'node:process';
import { workerUrl } from '../../control/worker-url.ts';
import { stateDirectory } from '../../device/host/state-directory.ts';
import { runtimeDirectory } from '../../device/process/runtime-directory.ts';
import { ServiceManager } from '../../device/process/service-manager.ts';
import type { ReadinessReport, ServeOptions } from '../../device/serve-options.ts';
import { SetupError } from '../../device/setup-error.ts';
import { refusePolicies } from '../../device/stack/chosen-policies.ts';
import { RealClock } from '../../io/real-clock.ts';
import { attachAgain } from '../attach-again.ts';
import { policiesGiven } from '../commands/policy-flags.ts';
import {
  cacheMode,
  type DiskFlags,
  engineChoice,
  mainChoice,
  portNumber,
  requestMemoryBytes,
} from '../device-arguments.ts';
import { ExitCode } from '../exit-code.ts';
import { failureOf } from '../failure.ts';
import { waitForBegin } from '../launch-word.ts';
import { packageVersion } from '../version.ts';

export interface ServeFlags extends DiskFlags {
  readonly force?: boolean;
  readonly withoutSpare?: boolean;
  readonly forceTakeover?: boolean;
  readonly wait?: string;
  readonly acceptMain?: boolean;
  readonly acceptChanges?: boolean;
  readonly reportDescriptor?: string;
}

/** `serve`: one device, in this process, until it is removed. Resolves to the exit code. */
export async function runServe(name: string | undefined, flags: ServeFlags): Promise<number> {
  const reporter =
    flags.reportDescriptor === undefined ? undefined : new Reporter(Number(flags.reportDescriptor));
  // One that was launched is its launcher's business.
  const manager = new ServiceManager(new RealClock(), reporter === undefined ? process.env : {});
  try {
    // Not above: `assemble` needs the options only, and what serves is two thirds of the program.
    const { runDaemon } = await import('../../device/process/daemon.ts');
    // Who launched us may still be at work on the spare. Nothing of ours has touched anything yet.
    if (reporter !== undefined && !waitForBegin()) return ExitCode.failed;
    const end = await runDaemon(await locatedOptions(name, flags), {
      runtimeDirectory: runtimeDirectory(),
      stateDirectory: stateDirectory(),
      workerUrl,
      version: packageVersion(),
      detached: reporter !== undefined,
      onReady: (ready) => {
        reporter?.tell({ ready: true, ...ready });
        attachAgain(ready.name);
        manager.ready(`${ready.name}: serving ${ready.exports.join(' ')}`);
      },
      onEnding: () => manager.stopping(),
    });
    return end.clean ? ExitCode.ok : ExitCode.failed;
  } catch (error) {
    if (reporter === undefined) throw error;
    const failure = failureOf(error);
    reporter.tell({ ready: false, ...failure });
    return failure.exitCode;
  } finally {
    manager.close();
  }
}

/** A day: nobody waits longer for a disk. */
const waitSecondsMax = 86_400;

/** As `serveOptions`; a device that is named without its spare is looked for on all disks. Throws `SetupError`. */
export async function locatedOptions(name: string | undefined, flags: ServeFlags): Promise<ServeOptions> {
  const waitSeconds = waitOf(flags.wait);
  if (name === undefined || flags.spare !== undefined || flags.withoutSpare === true) {
    if (flags.wait !== undefined)
      throw new SetupError('usage', '--wait is for a NAME without --spare, whose disks are looked for');
    return serveOptions(name, flags);
  }
  const { locateDevice } = await import('../locate-spare.ts');
  const { sparePath, mainPath } = await locateDevice(name, waitSeconds);
  const hasMain = flags.main !== undefined || flags.mainTable !== undefined || mainPath === '';
  return serveOptions(undefined, { ...flags, spare: sparePath, ...(hasMain ? {} : { main: mainPath }) });
}

function waitOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const seconds = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (seconds <= waitSecondsMax) return seconds;
  throw new SetupError('usage', `--wait ${text}: expected seconds from 0 to ${waitSecondsMax}`);
}

export function serveOptions(name: string | undefined, flags: ServeFlags): ServeOptions {
  const main = mainChoice(flags);
  const port = portNumber(flags.port);
  const io = engineChoice(flags.io);
  const memoryBytes = requestMemoryBytes(flags.memory);
  const policies = policiesGiven(flags);
  refusePolicies(policies);
  const withoutSpare = refuseSpareChoice(name, flags);
  return {
    cache: cacheMode(flags.cache),
    sparePath: flags.spare ?? '',
    policies,
    force: flags.force === true,
    acceptMain: flags.acceptMain === true,
    takeover: flags.forceTakeover === true,
    acceptChanges: flags.acceptChanges === true,
    ...(withoutSpare ? { withoutSpare } : {}),
    ...(name === undefined ? {} : { name }),
    ...(main === undefined ? {} : { main }),
    ...(flags.socket === undefined ? {} : { socketPath: flags.socket }),
    ...(port === undefined ? {} : { port }),
    ...(io === undefined ? {} : { io }),
    ...(memoryBytes === undefined ? {} : { requestMemoryBytes: memoryBytes }),
  };
}

/** True for `--without-spare`. Throws `SetupError` usage unless exactly one of the two is there. */
function refuseSpareChoice(name: string | undefined, flags: ServeFlags): boolean {
  const without = flags.withoutSpare === true;
  if (without && flags.spare !== undefined) {
    throw new SetupError('usage', '--without-spare and --spare exclude each other; give one');
  }
  if (without && name === undefined)
    throw new SetupError('usage', 'which device? --without-spare needs its name');
  if (!without && flags.spare === undefined) {
    throw new SetupError(
      'usage',
      'which device? give its NAME or --spare; NAME --without-spare only reads what main has',
    );
  }
  return without;
}

/** The pipe to the process that started this one: one line, then closed. */
class Reporter {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  tell(report: ReadinessReport): void {
    try {
      writeSync(this.#descriptor, `${JSON.stringify(report)}\n`);
      closeSync(this.#descriptor);
    } catch {
      // The starter has gone; a device that serves does not end for that.
    }
    // So that no file system is kept busy by being somebody's working directory.
    process.chdir('/');
  }
}
