import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { missingTool } from '../end-to-end/foreign-tool.ts';
import { assertNothingLeftOver } from '../end-to-end/nothing-left-over.ts';
import { ConsoleReports } from './console-reports.ts';
import { guestInit } from './guest-init.ts';
import type { GuestReport, StoryCall } from './story-plan.ts';

const guestMain = fileURLToPath(new URL('./guest/main.js', import.meta.url));
/** Alone it takes three seconds; a busy machine is many times slower. */
const bootSecondsMax = 90;

/**
 * Each process of the guest is one of this machine, in the group of the first. All of them are killed when that one has ended,
 * or when standard input ends: with us, however we end.
 */
const supervisor = `
exec 3<&0
setsid linux.uml "$@" </dev/null 3<&- &
machine=$!
{ while read -r -u 3; do :; done; kill -KILL -- -$machine; } >/dev/null 2>&1 &
watcher=$!
wait $machine 2>/dev/null
kill -KILL $watcher
wait $watcher 2>/dev/null
while kill -KILL -- -$machine 2>/dev/null; do sleep 0.02; done
exit 0
`;

export interface BootOptions {
  readonly stories: readonly StoryCall[];
  /** Images of this machine that are /dev/ubda, /dev/ubdb, … there. */
  readonly disks?: readonly string[];
  readonly memoryMebibytes?: number;
  /** The power button: when it says so, the machine is gone. */
  readonly isCutAfter?: (report: GuestReport) => boolean;
}

export interface BootResult {
  readonly reports: readonly GuestReport[];
  /** All that came over the console. */
  readonly console: string;
  /** Why it ended. */
  readonly end: 'powered off' | 'cut' | 'deadline';
}

/** For the `skip` of a test: what a guest needs and this machine does not have. */
export function missingForGuest(): string | false {
  return missingTool(
    'linux.uml',
    'insmod',
    'dmsetup',
    'blockdev',
    'nbd-client',
    'losetup',
    'mount',
    'umount',
    'fio',
    'setsid',
    'sysctl',
  );
}

/** A folder on this machine for the images and the boots of one test. */
export class MachineLab {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'dm-remap-kernel-'));
  #boots = 0;

  /** An image of zeros. */
  image(name: string, sizeBytes: number): string {
    const path = join(this.folder, name);
    writeFileSync(path, '');
    truncateSync(path, sizeBytes);
    return path;
  }

  /**
   * Boots a user-mode Linux whose root is this machine's, read-only, and lets it play the stories. It is ended at its deadline,
   * and nothing of it is left.
   */
  async boot(options: BootOptions): Promise<BootResult> {
    this.#boots += 1;
    const folder = join(this.folder, `boot-${this.#boots}`);
    mkdirSync(folder);
    const planPath = join(folder, 'plan.json');
    writeFileSync(planPath, JSON.stringify(options.stories));
    const initPath = join(folder, 'init.sh');
    writeFileSync(initPath, guestInit({ node: process.execPath, guestMain, planPath }), { mode: 0o755 });
    const machine = spawn('bash', ['-c', supervisor, 'bash', ...machineWords(options, folder, initPath)], {
      // Not one of our group: whoever ends that must not end the supervisor alone.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const seconds = options.stories.reduce((sum, { limitSeconds }) => sum + limitSeconds, bootSecondsMax);
    return await watch(machine, options, seconds * 1000);
  }

  close(): void {
    try {
      assertNothingLeftOver(this.folder);
    } finally {
      rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

function machineWords(
  { disks = [], memoryMebibytes = 1024 }: BootOptions,
  folder: string,
  initPath: string,
): string[] {
  return [
    `mem=${memoryMebibytes}M`,
    `uml_dir=${folder}/`,
    'umid=machine',
    'root=/dev/root',
    'rootfstype=hostfs',
    'hostfs=/',
    'ro',
    `init=${initPath}`,
    'con0=fd:0,fd:1',
    'con=null',
    // Else its own lines about bad sectors come between ours.
    'loglevel=1',
    ...disks.map((path, index) => `ubd${index}=${path}`),
  ];
}

/** Until it has ended, or was ended. */
async function watch(machine: ChildProcess, options: BootOptions, deadlineMs: number): Promise<BootResult> {
  const console = new ConsoleReports();
  let end: BootResult['end'] = 'powered off';
  const stop = (why: 'cut' | 'deadline'): void => {
    if (end === 'powered off') end = why;
    machine.stdin?.destroy();
  };
  const timer = setTimeout(stop, deadlineMs, 'deadline');
  const closed = new Promise<void>((resolve, reject) => {
    machine.on('error', reject);
    machine.on('close', () => resolve());
  });
  machine.stdout?.setEncoding('utf8').on('data', (text: string) => {
    for (const report of console.take(text)) {
      if (options.isCutAfter?.(report) === true) stop('cut');
    }
  });
  machine.stderr?.setEncoding('utf8').on('data', (text: string) => console.note(text));
  try {
    await closed;
  } finally {
    clearTimeout(timer);
    machine.stdin?.destroy();
  }
  return { reports: console.reports, console: console.text, end };
}
