import type { DeviceError } from '../block/device-error.ts';
import type { FailureKind } from '../block/errno.ts';
import { WireError } from './constants.ts';

/**
 * What a client is told of each kind of failure. The wire knows eight numbers; ENODATA and its like are EIO there. No kind
 * becomes ENOMEM ("avoid": clients retry it for ever).
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

/** The error number of one failed range. */
export function wireErrorOfKind(kind: FailureKind): WireError {
  return wireErrorByKind[kind];
}

/** The error number that answers a failed request. ENOTSUP is for FAST_ZERO alone: "SHOULD NOT ... except". */
export function wireErrorOf(error: DeviceError, isFastZero: boolean): WireError {
  return isFastZero && error.kind === 'unsupported' ? WireError.ENOTSUP : wireErrorByKind[error.kind];
}
