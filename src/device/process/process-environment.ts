import process from 'node:process';

const arenasVariable = 'MALLOC_ARENA_MAX';

/**
 * What the environment of a process that serves a disk should have before it starts, and has not; empty when nothing is
 * missing. glibc otherwise gives each thread an arena of its own, and threads that sleep keep what was freed in theirs: 84.4 MB
 * resident against 78.9 with one for all, at the same processor time a request. Who has chosen himself is left alone.
 */
export function environmentForMemory(
  environment: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string>> {
  return environment[arenasVariable] === undefined ? { [arenasVariable]: '1' } : {};
}
