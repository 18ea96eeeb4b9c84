import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { programPath } from '../bench/program-path.ts';
import { listDevices } from '../src/device/process/runtime-directory.ts';
import type { Narrator } from './narrator.ts';

/** Something went otherwise than the story says; the lines are for people. */
export class StoryFailure extends Error {
  override readonly name = 'StoryFailure';
  readonly lines: readonly string[];

  constructor(...lines: readonly string[]) {
    super(lines.join(' '));
    this.lines = lines;
  }
}

/** Somebody pressed Ctrl-C. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** A folder of our own in which everything happens, and the commands that run in it. */
export class Stage {
  readonly folder: string;
  readonly narrator: Narrator;
  readonly #environment: NodeJS.ProcessEnv;
  #interrupted = false;
  #foreignClient: ChildProcess | undefined;

  constructor(narrator: Narrator) {
    this.narrator = narrator;
    this.folder = mkdtempSync(join(realpathSync(tmpdir()), 'dm-remap-demo-'));
    this.#environment = {
      ...process.env,
      DM_REMAP_RUNTIME_DIR: this.#runtimeDirectory,
      DM_REMAP_STATE_DIR: join(this.folder, 'state'),
      NO_COLOR: '1',
    };
  }

  get #runtimeDirectory(): string {
    return join(this.folder, 'run');
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Shows a `dm-remap` command, runs it, shows its answer and gives it. */
  async dmRemap(...words: readonly string[]): Promise<string> {
    this.narrator.command(`dm-remap ${words.map(quoted).join(' ')}`);
    const answer = await this.askDmRemap(...words);
    this.narrator.answer(answer);
    return answer;
  }

  /** The same without showing it. */
  askDmRemap(...words: readonly string[]): Promise<string> {
    return this.#run(process.execPath, [programPath(), ...words], `dm-remap ${words.join(' ')}`, false);
  }

  /** Shows a command of a program that is not ours, and runs it. */
  async foreign(program: string, ...words: readonly string[]): Promise<string> {
    this.narrator.command([program, ...words].map(quoted).join(' '));
    return await this.#run(program, words, program, true);
  }

  /** Ends what runs; the story ends at its next step. */
  interrupt(): void {
    this.#interrupted = true;
    this.#foreignClient?.kill('SIGTERM');
  }

  /** Removes all: devices that still run, and the folder. */
  close(): void {
    this.#foreignClient?.kill('SIGKILL');
    for (const device of listDevices(this.#runtimeDirectory)) {
      if (device.state.state !== 'live') continue;
      try {
        process.kill(device.state.process.pid, 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  /**
   * In a process group of its own: Ctrl-C in the terminal reaches only us. A `dm-remap` command is waited for, it takes
   * a second at most, and so nothing starts while we clean up.
   */
  async #run(program: string, words: readonly string[], name: string, foreign: boolean): Promise<string> {
    if (this.#interrupted) throw new Interrupted();
    const child = spawn(program, words, {
      cwd: this.folder,
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    if (foreign) this.#foreignClient = child;
    const { status, output, complaint } = await outcomeOf(child);
    this.#foreignClient = undefined;
    if (this.#interrupted) throw new Interrupted();
    if (status === 0) return output;
    throw new StoryFailure(`${name} failed (${status}):`, ...complaint.trim().split('\n'));
  }
}

function outcomeOf(
  child: ChildProcess,
): Promise<{ status: number | string; output: string; complaint: string }> {
  return new Promise((resolve) => {
    let output = '';
    let complaint = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint += text;
    });
    child.on('error', (error) => resolve({ status: error.message, output, complaint }));
    child.on('close', (code, signal) => resolve({ status: code ?? signal ?? 'unknown', output, complaint }));
  });
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`;
}

/** A program of somebody else, when it is installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders
    .filter((folder) => folder !== '')
    .find((folder) => {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
