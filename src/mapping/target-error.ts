/** Stable codes of what can be wrong with a table, a target's arguments or a message. */
export type TargetErrorCode =
  | 'TABLE_EMPTY'
  | 'TABLE_SYNTAX'
  | 'TABLE_NUMBER'
  | 'TABLE_START'
  | 'TABLE_GAP'
  | 'TABLE_OVERLAP'
  | 'TABLE_ZERO_LENGTH'
  | 'TABLE_TOO_LONG'
  | 'TABLE_UNKNOWN_TARGET'
  | 'TABLE_ARGUMENT_COUNT'
  | 'TABLE_ALIGNMENT'
  | 'TARGET_ARGUMENT'
  | 'TARGET_DEVICE'
  | 'MESSAGE_SECTOR'
  | 'MESSAGE_UNKNOWN'
  | 'MESSAGE_ARGUMENT'
  | 'MESSAGE_FAILED';

/** Somebody asked for something that cannot be: one clear line for him, no harm done. The kernel answers EINVAL. */
export class TargetError extends Error {
  override readonly name = 'TargetError';
  readonly code: TargetErrorCode;

  constructor(code: TargetErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
