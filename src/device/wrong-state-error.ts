/** Not in the state that the device is in (`Lifecycle`), or that it was opened in; one line. */
export class WrongStateError extends Error {
  override readonly name = 'WrongStateError';
}
