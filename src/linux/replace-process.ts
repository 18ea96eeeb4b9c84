import koffi from 'koffi';
import { bindLibc, lastErrno } from './system-call.ts';

/** linux/include/uapi/asm-generic/fcntl.h */
const F_SETFD = 2;

const fcntl = bindLibc<(fd: number, command: number, flags: number) => number>('fcntl', 'int', [
  'int',
  'int',
  'int',
]);

/** Pointers to strings, ended by a null, as `koffi` makes them of an array. */
const execve: (path: string, words: (string | null)[], environment: (string | null)[]) => number = koffi
  .load(null)
  .func('execve', 'int', ['str', 'str *', 'str *']);

/**
 * Becomes another program: same process id, standard input, output and error; all else is closed. Nothing of this program
 * runs after it. Returns only when the kernel refuses: the errno.
 */
export function replaceProcess(
  path: string,
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): number {
  const variables = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
  // Node marks them at its start to be closed on exec, as everything that it opens.
  for (const standard of [0, 1, 2]) fcntl(standard, F_SETFD, 0);
  execve(path, [...words, null], [...variables, null]);
  return lastErrno();
}
