/**
 * Why a kernel block device could not be made, or not be taken away.
 *
 * - `busy`    somebody uses it, or has its name
 * - `failed`  the kernel cannot or will not
 */
export class AttachError extends Error {
  override readonly name = 'AttachError';
  readonly reason: 'busy' | 'failed';

  constructor(reason: 'busy' | 'failed', message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.reason = reason;
  }
}
