import { assert } from '../block/assert.ts';

/**
 * Messages of the kernel's nbd driver over generic netlink, in the machine's byte order: a netlink header of 16 bytes, a generic
 * one of 4, then attributes of length, type and value, each padded to 4 bytes (linux/include/uapi/linux/netlink.h, genetlink.h,
 * nbd-netlink.h).
 */

const netlinkHeaderBytes = 16;
const genericHeaderBytes = 4;
const attributeHeaderBytes = 4;

const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLMSG_ERROR = 2;
const NLA_F_NESTED = 0x8000;
const attributeTypeMask = 0x3fff;

/** nlctrl: the family that knows the others. */
const controlFamily = 0x10;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;

const nbdFamilyVersion = 1;
const NbdCommand = { connect: 1, disconnect: 2, reconfigure: 3 } as const;
const NbdAttribute = {
  index: 1,
  sizeBytes: 2,
  blockSizeBytes: 3,
  serverFlags: 5,
  sockets: 7,
  deadConnectionTimeout: 8,
  backendIdentifier: 10,
} as const;
const NBD_SOCK_ITEM = 1;
const NBD_SOCK_FD = 1;

type Attribute = readonly [type: number, value: Uint8Array];

/** Asks for the number of the family `nbd`. */
export function encodeFamilyRequest(sequence: number): Uint8Array {
  const name: Attribute = [CTRL_ATTR_FAMILY_NAME, text('nbd')];
  return message(controlFamily, sequence, CTRL_CMD_GETFAMILY, [name]);
}

export interface NbdConnectOptions {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  /** `TransmissionFlag`s of the export. */
  readonly serverFlags: number;
  /** Of a socket in the transmission phase. */
  readonly socketFd: number;
  /** How long requests wait for another socket when this one is dead; 0: they fail. */
  readonly queueSeconds: number;
  /** What it is known by later. */
  readonly backend: string;
}

/** Makes a free nbd device a client on the socket. */
export function encodeConnect(family: number, sequence: number, options: NbdConnectOptions): Uint8Array {
  const { sizeBytes, blockBytes, serverFlags, socketFd, queueSeconds, backend } = options;
  return message(family, sequence, NbdCommand.connect, [
    [NbdAttribute.sizeBytes, u64(sizeBytes)],
    [NbdAttribute.blockSizeBytes, u64(blockBytes)],
    [NbdAttribute.serverFlags, u64(serverFlags)],
    [NbdAttribute.deadConnectionTimeout, u64(queueSeconds)],
    [NbdAttribute.backendIdentifier, text(backend)],
    sockets(socketFd),
  ]);
}

/** Gives an nbd device whose socket is dead another one. The backend must be the one that it was connected with. */
export function encodeReconnect(
  family: number,
  sequence: number,
  index: number,
  socketFd: number,
  backend: string,
): Uint8Array {
  return message(family, sequence, NbdCommand.reconfigure, [
    [NbdAttribute.index, u32(index)],
    [NbdAttribute.backendIdentifier, text(backend)],
    sockets(socketFd),
  ]);
}

/** Says goodbye to the server and takes the device down. */
export function encodeDisconnect(family: number, sequence: number, index: number): Uint8Array {
  return message(family, sequence, NbdCommand.disconnect, [[NbdAttribute.index, u32(index)]]);
}

/** What came for a request: its acknowledgement (0 or a positive errno), or an answer before it. */
export type NetlinkReply =
  | { readonly kind: 'acknowledged'; readonly errno: number }
  | { readonly kind: 'answer'; readonly attributes: ReadonlyMap<number, Uint8Array> };

/** The messages of one datagram that are about `sequence`. */
export function decodeReplies(bytes: Uint8Array, sequence: number): readonly NetlinkReply[] {
  const replies: NetlinkReply[] = [];
  for (let at = 0; at + netlinkHeaderBytes <= bytes.length; ) {
    const fields = new DataView(bytes.buffer, bytes.byteOffset + at);
    const length = fields.getUint32(0, true);
    if (length < netlinkHeaderBytes || at + length > bytes.length) break;
    if (fields.getUint32(8, true) === sequence) {
      replies.push(decodeReply(bytes.subarray(at, at + length), fields.getUint16(4, true)));
    }
    at += padded(length);
  }
  return replies;
}

function decodeReply(bytes: Uint8Array, type: number): NetlinkReply {
  if (type === NLMSG_ERROR) {
    const fields = new DataView(bytes.buffer, bytes.byteOffset);
    const errno =
      bytes.length < netlinkHeaderBytes + 4 ? 0 : Math.abs(fields.getInt32(netlinkHeaderBytes, true));
    return { kind: 'acknowledged', errno };
  }
  return {
    kind: 'answer',
    attributes: decodeAttributes(bytes.subarray(netlinkHeaderBytes + genericHeaderBytes)),
  };
}

function decodeAttributes(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>();
  for (let at = 0; at + attributeHeaderBytes <= bytes.length; ) {
    const fields = new DataView(bytes.buffer, bytes.byteOffset + at);
    const length = fields.getUint16(0, true);
    if (length < attributeHeaderBytes || at + length > bytes.length) break;
    const value = bytes.subarray(at + attributeHeaderBytes, at + length);
    attributes.set(fields.getUint16(2, true) & attributeTypeMask, value);
    at += padded(length);
  }
  return attributes;
}

/** The number of a family, from the answer to `encodeFamilyRequest`. */
export function familyOf(attributes: ReadonlyMap<number, Uint8Array>): number | undefined {
  const value = attributes.get(CTRL_ATTR_FAMILY_ID);
  return value === undefined || value.length < 2 ? undefined : value[0]! + 256 * value[1]!;
}

/** The number of the device, from the answer to `encodeConnect`. */
export function indexOf(attributes: ReadonlyMap<number, Uint8Array>): number | undefined {
  const value = attributes.get(NbdAttribute.index);
  if (value === undefined || value.length < 4) return undefined;
  return new DataView(value.buffer, value.byteOffset).getUint32(0, true);
}

function message(
  family: number,
  sequence: number,
  command: number,
  attributes: readonly Attribute[],
): Uint8Array {
  const body = encodeAttributes(attributes);
  const bytes = new Uint8Array(netlinkHeaderBytes + genericHeaderBytes + body.length);
  const fields = new DataView(bytes.buffer);
  fields.setUint32(0, bytes.length, true);
  fields.setUint16(4, family, true);
  fields.setUint16(6, NLM_F_REQUEST | NLM_F_ACK, true);
  fields.setUint32(8, sequence, true);
  bytes[netlinkHeaderBytes] = command;
  bytes[netlinkHeaderBytes + 1] = nbdFamilyVersion;
  bytes.set(body, netlinkHeaderBytes + genericHeaderBytes);
  return bytes;
}

function encodeAttributes(attributes: readonly Attribute[]): Uint8Array {
  const lengths = attributes.map(([, value]) => attributeHeaderBytes + value.length);
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + padded(length), 0));
  const fields = new DataView(bytes.buffer);
  let at = 0;
  for (const [index, [type, value]] of attributes.entries()) {
    assert(value.length < 0x8000, 'netlink: an attribute is too long');
    fields.setUint16(at, lengths[index]!, true);
    fields.setUint16(at + 2, type, true);
    bytes.set(value, at + attributeHeaderBytes);
    at += padded(lengths[index]!);
  }
  return bytes;
}

function sockets(fd: number): Attribute {
  const item = encodeAttributes([[NBD_SOCK_FD, u32(fd)]]);
  const list = encodeAttributes([[NBD_SOCK_ITEM | NLA_F_NESTED, item]]);
  return [NbdAttribute.sockets | NLA_F_NESTED, list];
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

/** With its closing zero. */
function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
