export type MessageErrorCode = 'MESSAGE_UNKNOWN' | 'MESSAGE_INVALID' | 'MESSAGE_FAILED' | 'MESSAGE_SUSPENDED';

/** The operator's words cannot be answered; one line. Codes: `MESSAGE_UNKNOWN`, `MESSAGE_INVALID`, `MESSAGE_FAILED`, `MESSAGE_SUSPENDED`. */
export class MessageError extends Error {
  override readonly name = 'MessageError';
  readonly code: MessageErrorCode;

  constructor(code: MessageErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
