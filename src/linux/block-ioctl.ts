import { bindLibc, checkedResult, lastErrno } from './system-call.ts';

/**
 * linux/include/uapi/linux/fs.h. `_IO` and `_IOR` numbers as asm-generic/ioctl.h makes them; powerpc, mips and sparc
 * use other direction bits, Node has no release for them but ppc64le, which `BLKGETSIZE64` here does not serve.
 */
const BLKROGET = 0x125e;
const BLKFLSBUF = 0x1261;
const BLKDISCARD = 0x1277;
const BLKSSZGET = 0x1268;
const BLKPBSZGET = 0x127b;
const BLKROTATIONAL = 0x127e;
const BLKGETSIZE64 = 0x80081272;

const ioctl = bindLibc<(fd: number, request: number, argument: Uint8Array | null) => number>('ioctl', 'int', [
  'int',
  'ulong',
  'void *',
]);

function callIoctl(name: string, fd: number, request: number, argument: Uint8Array | null): void {
  checkedResult(`ioctl(${name})`, ioctl(fd, request, argument));
}

export interface BlockDeviceFacts {
  /** Exact while below 2^53. */
  readonly sizeBytes: bigint;
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly rotational: boolean;
  readonly readOnly: boolean;
}

/** What the kernel knows of the block device behind `fd`. Answers from memory: never waits for the disk. */
export function blockDeviceFacts(fd: number): BlockDeviceFacts {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  const u32 = (name: string, request: number): number => {
    bytes.fill(0);
    callIoctl(name, fd, request, bytes);
    return view.getUint32(0, true);
  };
  callIoctl('BLKGETSIZE64', fd, BLKGETSIZE64, bytes);
  const sizeBytes = view.getBigUint64(0, true);
  return {
    sizeBytes,
    logicalBlockBytes: u32('BLKSSZGET', BLKSSZGET),
    physicalBlockBytes: u32('BLKPBSZGET', BLKPBSZGET),
    // An unsigned short.
    rotational: (u32('BLKROTATIONAL', BLKROTATIONAL) & 0xffff) !== 0,
    readOnly: u32('BLKROGET', BLKROGET) !== 0,
  };
}

/** Size of the block device behind `fd` at this moment, 0 when it has none any more. Never waits for the disk. */
export function blockDeviceBytes(fd: number): number {
  const bytes = new Uint8Array(8);
  if (ioctl(fd, BLKGETSIZE64, bytes) < 0) return 0;
  return Number(new DataView(bytes.buffer).getBigUint64(0, true));
}

/** Writes back and drops the device's page cache, off the calling thread; false when the kernel refused. */
export async function flushBlockBuffers(fd: number): Promise<boolean> {
  return (await callOffThread(fd, BLKFLSBUF, null)) === 0;
}

/**
 * Tells the disk that the contents of a range are not needed, off the calling thread; drops its page cache. Whole logical
 * blocks only. Resolves to the errno, 0 when done, EOPNOTSUPP where the disk does not know it.
 */
export function discardBlocks(fd: number, offset: number, length: number): Promise<number> {
  const range = new BigUint64Array([BigInt(offset), BigInt(length)]);
  return callOffThread(fd, BLKDISCARD, new Uint8Array(range.buffer));
}

/** The errno of an ioctl that may wait for the disk. koffi holds `argument` until the answer. */
function callOffThread(fd: number, request: number, argument: Uint8Array | null): Promise<number> {
  return new Promise((resolve, reject) => {
    ioctl.async(fd, request, argument, (error, result) => {
      // The errno of the helper thread's call is handed over for the time of this callback.
      if (error === null) resolve(result < 0 ? lastErrno() : 0);
      else reject(new Error('ioctl could not be called', { cause: error }));
    });
  });
}
