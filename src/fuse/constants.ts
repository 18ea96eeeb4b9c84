/** linux/include/uapi/linux/fuse.h: the numbers that a server of one regular file meets. */

/** The version that our replies are written in. Linux 5.8 (loop's LOOP_CONFIGURE) speaks 7.31. */
export const fuseMajor = 7;
export const fuseMinor = 31;

export const FuseOpcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  init: 26,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  fallocate: 43,
} as const;

/** struct fuse_in_header, fuse_out_header. */
export const inHeaderBytes = 40;
export const outHeaderBytes = 16;
/** struct fuse_write_in stands between the header and the payload. */
export const writeInBytes = 40;

/** Bytes of one read or write at most, and the pages that the kernel is told for it. */
export const fuseTransferBytesMax: number = 1024 * 1024;
export const fusePagesMax = 256;

/** What the kernel reads into: the largest request. It refuses to fill less than 8192 bytes. */
export const fuseRequestBytesMax: number = inHeaderBytes + writeInBytes + fuseTransferBytesMax;

/** Bits of `fuse_init_out.flags`. WRITEBACK_CACHE is not among them: a block device has its own cache above. */
export const FuseInitFlag = { asyncRead: 1, asyncDirectIo: 0x8000, maxPages: 0x40_0000 } as const;

/** Bits of `fuse_open_out.open_flags`; unknown ones are ignored by older kernels. */
export const FuseOpenFlag = { directIo: 1, parallelDirectWrites: 0x40 } as const;

/** linux/include/uapi/linux/falloc.h */
export const FallocateMode = { keepSize: 0x01, punchHole: 0x02, zeroRange: 0x10 } as const;

/** The only file: the root of its file system. */
export const rootNode = 1;
/** S_IFREG, and its owner may read and write. */
export const fileMode = 0o100600;
