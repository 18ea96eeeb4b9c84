/**
 * Numbers of the NBD protocol, as https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md names them.
 * Magics of 64 bits are kept as two halves: nothing on a hot path needs a BigInt.
 */

/** `NBDMAGIC` */
export const helloMagic = { high: 0x4e42444d, low: 0x41474943 } as const;
/** `IHAVEOPT` */
export const optionMagic = { high: 0x49484156, low: 0x454f5054 } as const;
export const optionReplyMagic = { high: 0x0003e889, low: 0x045565a9 } as const;
export const requestMagic = 0x25609513;
export const simpleReplyMagic = 0x67446698;
export const structuredReplyMagic = 0x668e33ef;

/** Sizes of the fixed parts of messages, bytes. */
export const serverHelloBytes = 18;
export const clientFlagsBytes = 4;
export const optionHeaderBytes = 16;
export const optionReplyHeaderBytes = 20;
export const requestBytes = 28;
export const simpleReplyBytes = 16;
/** Of a chunk of a structured reply, before its payload. */
export const chunkHeaderBytes = 20;
/** Of a chunk of data: its header and the offset, before the data. */
export const dataChunkBytes = 28;
/** Sent after the answer to EXPORT_NAME unless both sides agreed on NO_ZEROES. */
export const exportNamePaddingBytes = 124;

/** "MUST be no longer than 4096 bytes", of every string. */
export const stringBytesMax = 4096;

/** "any payload length not exceeding 2^25 (33,554,432) bytes SHOULD NOT be considered a denial of service attack" */
export const payloadBytesMax: number = 32 * 1024 * 1024;

/** Bits of the server's hello and, with the same places, of the client's answer. */
export const HandshakeFlag = { fixedNewstyle: 0x0001, noZeroes: 0x0002 } as const;

export const TransmissionFlag = {
  hasFlags: 0x0001,
  readOnly: 0x0002,
  sendFlush: 0x0004,
  sendFua: 0x0008,
  rotational: 0x0010,
  sendTrim: 0x0020,
  sendWriteZeroes: 0x0040,
  sendDf: 0x0080,
  canMultiConn: 0x0100,
  sendResize: 0x0200,
  sendCache: 0x0400,
  sendFastZero: 0x0800,
} as const;

export const Option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const;

/** Bit 31 marks errors. */
export const OptionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errorUnsupported: 0x80000001,
  errorPolicy: 0x80000002,
  errorInvalid: 0x80000003,
  errorPlatform: 0x80000004,
  errorTlsRequired: 0x80000005,
  errorUnknown: 0x80000006,
  errorShutdown: 0x80000007,
  errorBlockSizeRequired: 0x80000008,
  errorTooBig: 0x80000009,
} as const;
export type OptionReply = (typeof OptionReply)[keyof typeof OptionReply];

export const InfoType = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const Command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const CommandFlag = {
  fua: 0x0001,
  noHole: 0x0002,
  df: 0x0004,
  reqOne: 0x0008,
  fastZero: 0x0010,
} as const;

/** Flags of a chunk. */
export const ChunkFlag = { done: 0x0001 } as const;

/** Bit 15 marks errors. */
export const ChunkType = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  error: 0x8001,
  errorOffset: 0x8002,
} as const;

/** Bits of a descriptor of `base:allocation`. */
export const AllocationFlag = { hole: 0x0001, zero: 0x0002 } as const;

/** Error numbers that may go on the wire; any other is EIO there. */
export const WireError = {
  none: 0,
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type WireError = (typeof WireError)[keyof typeof WireError];
