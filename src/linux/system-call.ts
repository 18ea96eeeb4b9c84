import koffi, { type KoffiFunc } from 'koffi';
import { errnoName } from '../block/errno.ts';

/** The C library that this process already runs on: glibc or musl, whatever its file is called. */
const library = koffi.load(null);

/**
 * A C function by its koffi type names. Addresses are declared as `size_t` and travel as numbers: user addresses of
 * Linux are below 2^47 (2^56 with an explicit hint we never give), exact in a double.
 */
export function bindLibc<F extends (...values: never[]) => number>(
  name: string,
  result: string,
  parameters: readonly string[],
): KoffiFunc<F> {
  return library.func(name, result, [...parameters]) as KoffiFunc<F>;
}

/** The error number of the last C function called on this thread. Read it before anything else happens. */
export function lastErrno(): number {
  return koffi.errno();
}

/** The kernel said no. For callers in `linux/` and `io/`, who turn it into an error with a meaning. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly call: string;
  readonly errno: number;

  constructor(call: string, errno: number) {
    super(`${call}: ${errnoName(errno)}`);
    this.call = call;
    this.errno = errno;
  }
}

/** `result` of a C function that answers -1 for failure. */
export function checkedResult(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, lastErrno());
  return result;
}
