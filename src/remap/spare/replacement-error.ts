/** A spare could not be replaced; one clause for people. The device serves on, over the spare that `SpareReplacement` says. */
export class ReplacementError extends Error {
  override readonly name = 'ReplacementError';
}
