import { spawn } from 'node:child_process';
import process from 'node:process';
import type { Clock } from '../../block/clock.ts';

/** A disk that has not answered by then is in no state to be asked; the program is killed. */
export const smartctlDeadlineMs = 10_000;
/** What smartctl prints of a disk is some ten KiB. */
export const smartctlOutputBytesMax = 1_048_576;

/** How asking ended. `exitStatus` is smartctl's bit mask: it prints its JSON also when it fails. */
export type SmartctlEnd =
  | { readonly kind: 'ended'; readonly exitStatus: number; readonly output: string }
  | { readonly kind: 'not-installed' }
  /** `why`: one clause. */
  | { readonly kind: 'no-answer'; readonly why: string };

/** Of services and people: Debian keeps it in sbin. */
const moreFolders = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** Runs smartctl, at most one at a time for each disk: one that hangs in the kernel stays there, killed or not. */
export class Smartctl {
  readonly #clock: Clock;
  readonly #environment: NodeJS.ProcessEnv;
  /** What gives up each that runs. */
  readonly #running = new Map<string, (why: string) => void>();

  constructor(
    clock: Clock,
    environment: NodeJS.ProcessEnv = process.env,
    folders: readonly string[] = moreFolders,
  ) {
    this.#clock = clock;
    const path = [...(environment['PATH'] ?? '').split(':'), ...folders];
    this.#environment = { PATH: path.filter((folder) => folder !== '').join(':'), LC_ALL: 'C' };
  }

  /** `smartctl WORDS… DEVICE`. Never rejects. */
  run(device: string, words: readonly string[]): Promise<SmartctlEnd> {
    if (this.#running.has(device)) {
      return Promise.resolve({ kind: 'no-answer', why: 'smartctl has hung since it was asked before' });
    }
    return new Promise((resolve) => {
      const child = spawn('smartctl', [...words, device], {
        env: this.#environment,
        cwd: '/',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const pieces: Buffer[] = [];
      let bytes = 0;
      const giveUp = (why: string): void => {
        child.kill('SIGKILL');
        child.stdout.destroy();
        // Killed or not, it may hang in the kernel: nobody waits for it.
        child.unref();
        deadline.cancel();
        resolve({ kind: 'no-answer', why });
      };
      const deadline = this.#clock.schedule(smartctlDeadlineMs, () =>
        giveUp(`smartctl had no answer after ${smartctlDeadlineMs / 1000} s`),
      );
      this.#running.set(device, giveUp);
      const ended = (end: SmartctlEnd): void => {
        deadline.cancel();
        this.#running.delete(device);
        resolve(end);
      };
      child.stdout.on('data', (piece: Buffer) => {
        bytes += piece.length;
        if (bytes <= smartctlOutputBytesMax) pieces.push(piece);
        else giveUp(`smartctl printed more than ${smartctlOutputBytesMax} bytes`);
      });
      child.on('error', (error: NodeJS.ErrnoException) => {
        const isAbsent = error.code === 'ENOENT' || error.code === 'EACCES';
        ended(isAbsent ? { kind: 'not-installed' } : { kind: 'no-answer', why: error.message });
      });
      child.on('close', (code) => {
        const output = Buffer.concat(pieces).toString('utf8');
        if (code === null) ended({ kind: 'no-answer', why: 'smartctl was killed' });
        else ended({ kind: 'ended', exitStatus: code, output });
      });
    });
  }

  /** Nothing of ours goes on running. */
  close(): void {
    for (const giveUp of this.#running.values()) giveUp('the device ends');
  }
}
