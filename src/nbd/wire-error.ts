import type { DeviceError } from '../block/device-error.ts';
import type { FailureKind } from '../block/errno.ts';
import { WireError } from './constants.ts';

/**
 * What a client is told of each kind of failure. The wire knows eight numbers; ENODATA and its like are EIO there. No kind
 * becomes ENOMEM ("avoid": clients retry it for ever) or ENOTSUP ("SHOULD NOT ... except" for fast zeroing).
 */
const wireErrorByKind: Readonly<Record<FailureKind, WireError>> = {
  medium: WireError.EIO,
  suspect: WireError.EIO,
  path: WireError.EIO,
  transient: WireError.EIO,
  'timed-out': WireError.EIO,
  lost: WireError.EIO,
  'no-space': WireError.ENOSPC,
  refused: WireError.EPERM,
  unsupported: WireError.EINVAL,
  closed: WireError.ESHUTDOWN,
  invalid: WireError.EINVAL,
};

/** The error number that answers a failed request. */
export function wireErrorOf(error: DeviceError): WireError {
  return wireErrorByKind[error.kind];
}
