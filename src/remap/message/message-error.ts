/** The operator's words cannot be answered; one line. Codes: `MESSAGE_UNKNOWN`, `MESSAGE_INVALID`, `MESSAGE_FAILED`. */
export class MessageError extends Error {
  override readonly name = 'MessageError';
  readonly code: 'MESSAGE_UNKNOWN' | 'MESSAGE_INVALID' | 'MESSAGE_FAILED';

  constructor(code: 'MESSAGE_UNKNOWN' | 'MESSAGE_INVALID' | 'MESSAGE_FAILED', message: string) {
    super(message);
    this.code = code;
  }
}
