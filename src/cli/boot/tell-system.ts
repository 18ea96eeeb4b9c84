import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';

const commandTimeoutMs = 30_000;

/** Lets a running systemd and udev read their files again. Resolves to what could not be told, for people. */
export async function tellSystem(): Promise<readonly string[]> {
  const notes: string[] = [];
  // sd_booted(3).
  if (existsSync('/run/systemd/system')) notes.push(...(await run('systemctl', 'daemon-reload')));
  if (existsSync('/run/udev/control')) notes.push(...(await run('udevadm', 'control', '--reload')));
  return notes;
}

function run(command: string, ...words: readonly string[]): Promise<string[]> {
  return new Promise((resolve) => {
    execFile(command, words, { timeout: commandTimeoutMs }, (error) => {
      resolve(error === null ? [] : [`${command} ${words.join(' ')} failed: it holds from the next boot on`]);
    });
  });
}
