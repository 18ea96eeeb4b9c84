import process from 'node:process';

const newSpaceFlags = ['--min-semi-space-size', '--max-semi-space-size'] as const;
const newSpaceMegabytes = 2;
const collectorFlag = 'parallel-scavenge';

/**
 * What V8 should be told before a process that serves a disk starts, and is not by `words` or NODE_OPTIONS; it cannot be told
 * later. Who has chosen himself is left alone.
 *
 * - A young generation of one size, a half of it `newSpaceMegabytes`: left to itself a half goes from 1 to 16 MiB, and back with
 *   each collection that V8 does to save memory. Resident memory then rises and falls by 14 MiB while nothing of ours does.
 * - One thread collects it. A few KiB of 2 MiB are alive when it is full, for requests come and go; waking three other threads
 *   for them costs more than it saves.
 */
export function heapFlags(
  words: readonly string[] = process.execArgv,
  environment: NodeJS.ProcessEnv = process.env,
): readonly string[] {
  const said = [...words, environment['NODE_OPTIONS'] ?? ''].join(' ').replaceAll('_', '-');
  const newSpace = newSpaceFlags.some((flag) => said.includes(flag))
    ? []
    : newSpaceFlags.map((flag) => `${flag}=${newSpaceMegabytes}`);
  return said.includes(collectorFlag) ? newSpace : [...newSpace, `--no-${collectorFlag}`];
}
