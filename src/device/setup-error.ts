/**
 * Why a device could not be made, opened or found. The command line turns the reason into an exit code.
 *
 * - `usage`        the command itself is wrong
 * - `not-found`    no such device, file or disk
 * - `refused`      it would harm data, or could
 * - `busy`         somebody else uses it
 * - `not-a-spare`  no dm-remap metadata, or damaged beyond repair
 * - `failed`       anything else the world did to us
 */
export type SetupReason = 'usage' | 'not-found' | 'refused' | 'busy' | 'not-a-spare' | 'failed';

/** The world went wrong while a device was being set up; the message is one line and names the thing it is about. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
  readonly reason: SetupReason;

  constructor(reason: SetupReason, message: string, options?: { cause?: unknown }) {
    super(oneLine(message), options);
    this.reason = reason;
  }
}

/** Longest line shown to people; a message that quotes outside text cannot flood a terminal. */
const lineLengthMax = 1000;

/** Control characters out, one line, bounded. */
export function oneLine(text: string): string {
  const flat = text.replace(/\p{Cc}+/gu, ' ').trim();
  return flat.length <= lineLengthMax ? flat : `${flat.slice(0, lineLengthMax)}…`;
}
