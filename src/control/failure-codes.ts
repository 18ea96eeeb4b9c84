import type { ControlFailureCode } from '../device/messages.ts';

export type FailureStatus = 400 | 403 | 404 | 405 | 408 | 409 | 413 | 422 | 431 | 500 | 503 | 504;

/** HTTP status of what the data plane answers. */
export const statusOfFailure: Readonly<Record<ControlFailureCode, FailureStatus>> = {
  BAD_REQUEST: 400,
  BAD_MESSAGE: 422,
  FAILED: 500,
  UNSAFE: 409,
  WRONG_STATE: 409,
  IN_USE: 409,
  BUSY: 503,
  TIMED_OUT: 504,
  DENIED: 403,
};

/** What the server itself says, before the data plane is asked: 403 as `DENIED`, the others as `BAD_REQUEST`. */
export const serverFailures: Readonly<Record<403 | 404 | 405 | 408 | 413 | 431, string>> = {
  403: 'another user: only root and the user who serves the device may use its control API',
  404: 'no such resource',
  405: 'the resource has other methods; the header Allow names them',
  408: 'the request did not come within its deadline',
  413: 'the body is too long',
  431: 'the head is too long',
};

/** The body of every answer that is no success. */
export function failureText(code: string, message: string): string {
  return JSON.stringify({ error: { code, message } });
}
