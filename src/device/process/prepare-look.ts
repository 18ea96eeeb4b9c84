import process from 'node:process';
import { threadPoolVariable, threadPoolWanted } from '../../io/thread-pool.ts';
import { replaceProcess } from '../../linux/replace-process.ts';

/** Says to the program that takes our place that the threads are there for looking alone. */
const lookVariable = 'DM_REMAP_LOOKS';

/** Whether all disks of the machine are looked at: `scan`, and whatever serves a device whose spare nobody named. */
export function looksAtDisks(words: readonly string[]): boolean {
  if (words[0] === 'scan') return true;
  if (words[0] !== 'assemble' && words[0] !== 'serve') return false;
  return !words.some(
    (word) => word === '--without-spare' || word === '--spare' || word.startsWith('--spare='),
  );
}

/** Opening a disk that hangs keeps a thread of libuv, and four would hide all other disks. Not where somebody chose a number. */
export function environmentForLooking(
  environment: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string>> {
  return environment[threadPoolVariable] === undefined
    ? { [threadPoolVariable]: String(threadPoolWanted) }
    : {};
}

/** What a process that looks at disks and serves none has to be from its very start: begun again with it, once. */
export function prepareLook(): void {
  if (process.env[lookVariable] !== undefined) {
    // Read by now; processes that we start want what they want.
    delete process.env[lookVariable];
    delete process.env[threadPoolVariable];
    return;
  }
  const missing = environmentForLooking();
  if (Object.keys(missing).length === 0) return;
  const words = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  replaceProcess(process.execPath, words, { ...process.env, ...missing, [lookVariable]: '1' });
  // Refused: then it is as good as it can be.
}
