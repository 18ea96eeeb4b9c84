import {
  FuseInitFlag,
  FuseOpcode,
  FuseOpenFlag,
  fileMode,
  fuseMajor,
  fuseMinor,
  fusePagesMax,
  fuseTransferBytesMax,
  inHeaderBytes,
  outHeaderBytes,
  rootNode,
  writeInBytes,
} from './constants.ts';

/**
 * The kernel's FUSE protocol, as far as one regular file needs it (linux/include/uapi/linux/fuse.h). A request is a header of 40
 * bytes, a structure by opcode, and for a write its payload; a reply is a header of 16 bytes and a structure or data. All in
 * the machine's byte order, which `linux/` has checked to be little-endian.
 */

const twoTo32 = 0x1_0000_0000;

/** Bytes that each opcode has behind the header at least; what is not listed is not looked into. */
const bodyBytesMin: Readonly<Record<number, number>> = {
  [FuseOpcode.open]: 8,
  [FuseOpcode.read]: 40,
  [FuseOpcode.write]: writeInBytes,
  [FuseOpcode.fsync]: 16,
  [FuseOpcode.init]: 16,
  [FuseOpcode.fallocate]: 32,
};

/** Fields of the last request that was decoded; those that its opcode has not are 0. */
export class FuseRequestDecoder {
  opcode = 0;
  /** The request's number, both halves of it: it comes back with the reply. */
  uniqueLow = 0;
  uniqueHigh = 0;
  /** Of OPEN: as open(2) takes them. Of FALLOCATE: its mode. */
  flags = 0;
  offset = 0;
  length = 0;
  /** Of INIT. */
  major = 0;
  minor = 0;

  /** False for bytes that are no request. */
  decode(bytes: Uint8Array): boolean {
    if (bytes.length < inHeaderBytes) return false;
    const fields = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.opcode = fields.getUint32(4, true);
    this.uniqueLow = fields.getUint32(8, true);
    this.uniqueHigh = fields.getUint32(12, true);
    this.flags = 0;
    this.offset = 0;
    this.length = 0;
    if (fields.getUint32(0, true) !== bytes.length) return false;
    if (bytes.length - inHeaderBytes < (bodyBytesMin[this.opcode] ?? 0)) return false;
    this.#decodeBody(fields);
    return this.opcode !== FuseOpcode.write || this.length === bytes.length - inHeaderBytes - writeInBytes;
  }

  #decodeBody(fields: DataView): void {
    switch (this.opcode) {
      case FuseOpcode.open:
        this.flags = fields.getUint32(inHeaderBytes, true);
        break;
      case FuseOpcode.read:
      case FuseOpcode.write:
        // fuse_read_in and fuse_write_in begin alike: fh u64, offset u64, size u32.
        this.offset = readU64(fields, inHeaderBytes + 8);
        this.length = fields.getUint32(inHeaderBytes + 16, true);
        break;
      case FuseOpcode.init:
        this.major = fields.getUint32(inHeaderBytes, true);
        this.minor = fields.getUint32(inHeaderBytes + 4, true);
        break;
      case FuseOpcode.fallocate:
        // fh u64, offset u64, length u64, mode u32.
        this.offset = readU64(fields, inHeaderBytes + 8);
        this.length = readU64(fields, inHeaderBytes + 16);
        this.flags = fields.getUint32(inHeaderBytes + 24, true);
        break;
    }
  }
}

/** Exact below 2^53; above, a number that no device reaches. */
function readU64(fields: DataView, at: number): number {
  return fields.getUint32(at + 4, true) * twoTo32 + fields.getUint32(at, true);
}

/** Whose answer a reply is. */
export interface FuseReplyTo {
  readonly uniqueLow: number;
  readonly uniqueHigh: number;
}

/** Bytes of the largest reply but for data: `fuse_attr_out`. */
const replyBytesMax: number = outHeaderBytes + 104;

/** Writes replies into one piece of memory: each is sent before the next is written. */
export class FuseReplyEncoder {
  readonly #bytes: Uint8Array = new Uint8Array(replyBytesMax);
  readonly #fields: DataView = new DataView(this.#bytes.buffer);

  /** A failure by its positive errno, or a success without more to say (0). */
  plain(to: FuseReplyTo, errno: number): Uint8Array {
    return this.#begin(to, 0, errno);
  }

  /** The header of a read's reply; `length` bytes of data follow it. */
  data(to: FuseReplyTo, length: number): Uint8Array {
    const head = this.#begin(to, 0, 0);
    this.#fields.setUint32(0, outHeaderBytes + length, true);
    return head;
  }

  /** fuse_init_out. `requestsMax`: asynchronous requests that the kernel may have with us at once. */
  init(to: FuseReplyTo, requestsMax: number): Uint8Array {
    const reply = this.#begin(to, 64, 0);
    const { asyncRead, asyncDirectIo, maxPages } = FuseInitFlag;
    this.#u32(0, fuseMajor);
    this.#u32(4, fuseMinor);
    this.#u32(12, asyncRead | asyncDirectIo | maxPages);
    this.#u16(16, requestsMax);
    // Above this many the kernel would call the device congested: three quarters are its own default.
    this.#u16(18, Math.floor((requestsMax * 3) / 4));
    this.#u32(20, fuseTransferBytesMax);
    this.#u32(24, 1);
    this.#u16(28, fusePagesMax);
    return reply;
  }

  /** fuse_attr_out: a regular file of this size, for as long as it is mounted. */
  attributes(to: FuseReplyTo, sizeBytes: number, blockBytes: number): Uint8Array {
    const reply = this.#begin(to, 104, 0);
    this.#u64(0, attributesValidSeconds);
    const attr = 16;
    this.#u64(attr, rootNode);
    this.#u64(attr + 8, sizeBytes);
    // Of 512 bytes each, as stat(2) counts them.
    this.#u64(attr + 16, Math.ceil(sizeBytes / 512));
    this.#u32(attr + 60, fileMode);
    this.#u32(attr + 64, 1);
    this.#u32(attr + 80, blockBytes);
    return reply;
  }

  /** fuse_open_out: past the page cache, writes side by side. */
  opened(to: FuseReplyTo): Uint8Array {
    const reply = this.#begin(to, 16, 0);
    this.#u32(8, FuseOpenFlag.directIo | FuseOpenFlag.parallelDirectWrites);
    return reply;
  }

  /** fuse_write_out. */
  written(to: FuseReplyTo, length: number): Uint8Array {
    const reply = this.#begin(to, 8, 0);
    this.#u32(0, length);
    return reply;
  }

  /** fuse_statfs_out. The loop driver takes the block size for the granularity of discards. */
  statfs(to: FuseReplyTo, sizeBytes: number, blockBytes: number): Uint8Array {
    const reply = this.#begin(to, 80, 0);
    this.#u64(0, Math.floor(sizeBytes / blockBytes));
    this.#u64(24, 1);
    this.#u32(40, blockBytes);
    this.#u32(44, 255);
    this.#u32(48, blockBytes);
    return reply;
  }

  #begin(to: FuseReplyTo, bodyBytes: number, errno: number): Uint8Array {
    const reply = this.#bytes.subarray(0, outHeaderBytes + bodyBytes);
    reply.fill(0);
    this.#fields.setUint32(0, reply.length, true);
    this.#fields.setInt32(4, -errno, true);
    this.#fields.setUint32(8, to.uniqueLow, true);
    this.#fields.setUint32(12, to.uniqueHigh, true);
    return reply;
  }

  #u16(at: number, value: number): void {
    this.#fields.setUint16(outHeaderBytes + at, value, true);
  }

  #u32(at: number, value: number): void {
    this.#fields.setUint32(outHeaderBytes + at, value, true);
  }

  #u64(at: number, value: number): void {
    this.#u32(at, value % twoTo32);
    this.#u32(at + 4, Math.floor(value / twoTo32));
  }
}

/** A year: the size of a device that is attached does not change. */
const attributesValidSeconds = 31_536_000;
