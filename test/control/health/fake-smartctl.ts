import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Clock } from '../../../src/block/clock.ts';
import { Smartctl } from '../../../src/control/health/smartctl.ts';

/**
 * A program `smartctl` in a folder of its own. It does what a file named after the disk says (a shell script), and notes how it was
 * called.
 */
export class FakeSmartctl {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'dm-remap-smart-'));
  readonly #scripts: string = join(this.folder, 'scripts');
  readonly #calls: string = join(this.folder, 'calls');

  constructor() {
    mkdirSync(this.#scripts);
    writeFileSync(this.#calls, '');
    const program = join(this.folder, 'smartctl');
    writeFileSync(
      program,
      `#!/bin/sh
echo "$*" >> '${this.#calls}'
for disk; do :; done
. '${this.#scripts}'/"\${disk##*/}"
`,
    );
    chmodSync(program, 0o755);
  }

  /** For this program alone: neither it nor its shell is looked for anywhere else. */
  runner(clock: Clock): Smartctl {
    return new Smartctl(clock, { PATH: `${this.folder}:/usr/bin:/bin` }, []);
  }

  /** What it does when asked for the disk. */
  does(device: string, script: string): void {
    writeFileSync(join(this.#scripts, basename(device)), script);
  }

  /** It prints this and ends with the code. */
  says(device: string, output: string, exitCode = 0): void {
    const path = join(this.folder, `${basename(device)}.json`);
    writeFileSync(path, output);
    this.does(device, `cat '${path}'; exit ${exitCode}\n`);
  }

  /** The words of each call. */
  calls(): string[] {
    return readFileSync(this.#calls, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
