import { Command, CommandFlag, payloadBytesMax, WireError } from './constants.ts';

/** What a request is checked against; fixed for the life of an export. */
export interface RequestRules {
  readonly sizeBytes: number;
  /** Offsets and lengths are multiples of it; a power of two. */
  readonly minimumBlockBytes: number;
  /** Largest read or write that is served, at most 32 MiB. */
  readonly payloadBytesMax: number;
  readonly readOnly: boolean;
  readonly flush: boolean;
  readonly fua: boolean;
}

/** A request as it came from the wire; `RequestDecoder` is one. */
export interface RequestFields {
  readonly flags: number;
  readonly command: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * The one place where requests are checked, before any device code: 0, or the error number that the specification asks
 * for. Quotes are from doc/proto.md. DISC is not checked, it has no reply.
 */
export function validateRequest(rules: RequestRules, request: RequestFields): WireError {
  const { command, flags } = request;
  // "The server SHOULD return NBD_EINVAL if it receives an unknown command."
  // A command that we did not advertise is unknown to us.
  if (command !== Command.read && command !== Command.write && command !== Command.flush) {
    return WireError.EINVAL;
  }
  // "The server SHOULD return NBD_EINVAL if it receives an unknown command flag." And of FUA: "valid for all commands
  // provided NBD_FLAG_SEND_FUA has been negotiated"; it says nothing new for reads and flushes and is ignored there.
  const knownFlags = rules.fua ? CommandFlag.fua : 0;
  if ((flags & ~knownFlags) !== 0) return WireError.EINVAL;
  return command === Command.flush ? validateFlush(rules, request) : validateTransfer(rules, request);
}

function validateFlush(rules: RequestRules, request: RequestFields): WireError {
  // "A client MUST NOT send a flush request unless NBD_FLAG_SEND_FLUSH was set in the transmission flags field."
  if (!rules.flush) return WireError.EINVAL;
  // "For a flush request, length and offset are reserved, and MUST be set to all-zero."
  if (request.offset !== 0 || request.length !== 0) return WireError.EINVAL;
  return WireError.none;
}

function validateTransfer(rules: RequestRules, request: RequestFields): WireError {
  const { offset, length } = request;
  const isWrite = request.command === Command.write;
  // "It SHOULD return NBD_EPERM if it receives a write or trim request on a read-only export."
  if (isWrite && rules.readOnly) return WireError.EPERM;
  // "the behavior of a server on such a request [length 0] is unspecified although the server SHOULD NOT disconnect."
  // We say that it is invalid, as nbdkit does: a client that asks for nothing has lost count.
  if (length === 0) return WireError.EINVAL;
  // "the client MUST NOT use a length larger than the maximum". NBD_EOVERFLOW is not for this: "The server SHOULD NOT
  // return NBD_EOVERFLOW except as documented in response to NBD_CMD_READ when NBD_CMD_FLAG_DF is supported."
  if (length > rules.payloadBytesMax || length > payloadBytesMax) return WireError.EINVAL;
  // "The server SHOULD return NBD_ENOSPC if it receives a write request including one or more sectors beyond the size
  // of the device. It SHOULD return NBD_EINVAL if it receives a read or trim request including one or more sectors
  // beyond the size of the device."
  if (offset > rules.sizeBytes - length) return isWrite ? WireError.ENOSPC : WireError.EINVAL;
  // "the server MUST cleanly error commands that fall outside block size constraints without corrupting data". Block
  // sizes are powers of two; the offset may be above 2^32, so its remainder is not taken by bits.
  if (offset % rules.minimumBlockBytes !== 0 || length % rules.minimumBlockBytes !== 0) {
    return WireError.EINVAL;
  }
  return WireError.none;
}
