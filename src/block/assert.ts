/**
 * Two kinds of wrong: this file is for our own bugs. A failed assertion must reach the top of the data plane and
 * end the process (exit 70); no layer may turn it into an I/O error. See `asDeviceError` for the other kind.
 */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/** Ends the current operation, and by contract the process, when `condition` is false. Never stripped. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** Marks code that no input can reach. */
export function unreachable(value: never, what: string): never {
  throw new AssertionFailure(`${what}: unexpected ${String(value)}`);
}
