import { Command, CommandFlag, payloadBytesMax, TransmissionFlag, WireError } from './constants.ts';
import type { ExportDescription } from './export-description.ts';

/** What a request is checked against; fixed for the life of a connection. */
export interface RequestRules {
  readonly sizeBytes: number;
  /** Offsets and lengths are multiples of it; a power of two. */
  readonly minimumBlockBytes: number;
  /** Largest read or write that is served, at most 32 MiB. */
  readonly payloadBytesMax: number;
  readonly readOnly: boolean;
  /** The flags of a command that the client may set, by command; undefined for a command that was not advertised. */
  readonly knownFlags: readonly (number | undefined)[];
}

/** A request as it came from the wire; `RequestDecoder` is one. */
export interface RequestFields {
  readonly flags: number;
  readonly command: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * What the transmission flags and the choice of contexts allow. A command that was not advertised is unknown to us, and so is
 * a flag: "a client MUST NOT set a command flag bit that is not documented for the particular command; and whether a flag is
 * valid may depend on negotiation".
 */
export function requestRules(exported: ExportDescription, hasContexts: boolean): RequestRules {
  const { sizeBytes, minimumBlockBytes, maximumPayloadBytes, transmissionFlags } = exported;
  const offered = (flag: number): boolean => (transmissionFlags & flag) !== 0;
  // FUA is "valid for all commands provided NBD_FLAG_SEND_FUA has been negotiated"; where nothing is written it is ignored.
  const fua = offered(TransmissionFlag.sendFua) ? CommandFlag.fua : 0;
  const df = offered(TransmissionFlag.sendDf) ? CommandFlag.df : 0;
  const fastZero = offered(TransmissionFlag.sendFastZero) ? CommandFlag.fastZero : 0;
  const knownFlags: (number | undefined)[] = [];
  knownFlags[Command.read] = fua | df;
  knownFlags[Command.write] = fua;
  if (offered(TransmissionFlag.sendFlush)) knownFlags[Command.flush] = fua;
  if (offered(TransmissionFlag.sendTrim)) knownFlags[Command.trim] = fua;
  if (offered(TransmissionFlag.sendCache)) knownFlags[Command.cache] = fua;
  if (offered(TransmissionFlag.sendWriteZeroes)) {
    knownFlags[Command.writeZeroes] = fua | CommandFlag.noHole | fastZero;
  }
  if (hasContexts) knownFlags[Command.blockStatus] = fua | CommandFlag.reqOne;
  const readOnly = offered(TransmissionFlag.readOnly);
  return { sizeBytes, minimumBlockBytes, payloadBytesMax: maximumPayloadBytes, readOnly, knownFlags };
}

/**
 * The one place where requests are checked, before any device code: 0, or the error number that the specification asks
 * for. Quotes are from doc/proto.md. DISC is not checked, it has no reply.
 */
export function validateRequest(rules: RequestRules, request: RequestFields): WireError {
  const { command, flags } = request;
  const known = rules.knownFlags[command];
  // "The server SHOULD return NBD_EINVAL if it receives an unknown command."
  if (known === undefined) return isRefusedChange(rules, command) ? WireError.EPERM : WireError.EINVAL;
  // "The server SHOULD return NBD_EINVAL if it receives an unknown command flag."
  if ((flags & ~known) !== 0) return WireError.EINVAL;
  return command === Command.flush ? validateFlush(request) : validateRange(rules, request);
}

/** "It SHOULD return NBD_EPERM if it receives a write or trim request on a read-only export", advertised or not. */
function isRefusedChange(rules: RequestRules, command: number): boolean {
  return rules.readOnly && changesBytes(command);
}

/** Of two such requests on the same bytes it matters which comes last. */
export function changesBytes(command: number): boolean {
  return command === Command.write || command === Command.trim || command === Command.writeZeroes;
}

function validateFlush(request: RequestFields): WireError {
  // "For a flush request, length and offset are reserved, and MUST be set to all-zero."
  if (request.offset !== 0 || request.length !== 0) return WireError.EINVAL;
  return WireError.none;
}

function validateRange(rules: RequestRules, request: RequestFields): WireError {
  const { command, flags, offset, length } = request;
  if (isRefusedChange(rules, command)) return WireError.EPERM;
  // "the behavior of a server on such a request [length 0] is unspecified although the server SHOULD NOT disconnect."
  // We say that it is invalid, as nbdkit does: a client that asks for nothing has lost count.
  if (length === 0) return WireError.EINVAL;
  // "the client MUST NOT use a length larger than the maximum", of a payload: other lengths go up to 2^32 - 1.
  // NBD_EOVERFLOW is for DF alone: "SHOULD NOT return NBD_EOVERFLOW except as documented in response to NBD_CMD_READ when
  // NBD_CMD_FLAG_DF is supported."
  if (hasPayload(command) && (length > rules.payloadBytesMax || length > payloadBytesMax)) {
    return command === Command.read && (flags & CommandFlag.df) !== 0
      ? WireError.EOVERFLOW
      : WireError.EINVAL;
  }
  // "The server SHOULD return NBD_ENOSPC if it receives a write request including one or more sectors beyond the size
  // of the device. It SHOULD return NBD_EINVAL if it receives a read or trim request including one or more sectors
  // beyond the size of the device." And of WRITE_ZEROES: "the server SHOULD return NBD_ENOSPC".
  if (offset > rules.sizeBytes - length) {
    return command === Command.write || command === Command.writeZeroes ? WireError.ENOSPC : WireError.EINVAL;
  }
  // "the server MUST cleanly error commands that fall outside block size constraints without corrupting data". Block
  // sizes are powers of two; the offset may be above 2^32, so its remainder is not taken by bits.
  if (offset % rules.minimumBlockBytes !== 0 || length % rules.minimumBlockBytes !== 0) {
    return WireError.EINVAL;
  }
  return WireError.none;
}

/** The range's bytes go over the wire, in one direction or the other. */
export function hasPayload(command: number): boolean {
  return command === Command.read || command === Command.write;
}
