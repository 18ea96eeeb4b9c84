import { bindLibc, checkedResult } from './system-call.ts';

/** linux/include/uapi/linux/loop.h */
const LOOP_CLR_FD = 0x4c01;
const LOOP_GET_STATUS64 = 0x4c05;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;

/** Bits of `lo_flags`. */
export const LoopFlag = { readOnly: 1, autoClear: 4, partitionScan: 8, directIo: 16 } as const;

/** struct loop_config: fd u32, block_size u32, struct loop_info64, 64 bytes reserved. */
const configBytes = 304;
const configInfoAt = 8;
/** struct loop_info64 */
const infoBytes = 232;
const infoFlagsAt = 52;
const infoNameAt = 56;
/** LO_NAME_SIZE, with its closing zero. */
const nameBytesMax = 64;

const ioctl = bindLibc<(fd: number, request: number, argument: Uint8Array | null) => number>('ioctl', 'int', [
  'int',
  'ulong',
  'void *',
]);

export interface LoopConfiguration {
  /** The file's, open as the device is to be. */
  readonly fileFd: number;
  /** The logical block. */
  readonly blockBytes: number;
  /** `LoopFlag`s. */
  readonly flags: number;
  /** What the device is known by later: at most 63 bytes. */
  readonly name: string;
}

/** The bytes of LOOP_CONFIGURE's argument. */
export function encodeLoopConfiguration({ fileFd, blockBytes, flags, name }: LoopConfiguration): Uint8Array {
  const bytes = new Uint8Array(configBytes);
  const fields = new DataView(bytes.buffer);
  fields.setUint32(0, fileFd, true);
  fields.setUint32(4, blockBytes, true);
  fields.setUint32(configInfoAt + infoFlagsAt, flags, true);
  const { written } = new TextEncoder().encodeInto(
    name,
    bytes.subarray(configInfoAt + infoNameAt, configInfoAt + infoNameAt + nameBytesMax - 1),
  );
  if (written !== new TextEncoder().encode(name).length)
    throw new RangeError('the name of a loop device is too long');
  return bytes;
}

/** The number of a loop device that nobody uses now; by a descriptor of /dev/loop-control. Makes one where there is none. */
export function freeLoopNumber(controlFd: number): number {
  return checkedResult('ioctl(LOOP_CTL_GET_FREE)', ioctl(controlFd, LOOP_CTL_GET_FREE, null));
}

/** Throws `SystemCallError`; EBUSY when somebody else was faster. Reads the disk's partition table when asked to. Linux 5.8. */
export function configureLoop(loopFd: number, configuration: LoopConfiguration): void {
  const argument = encodeLoopConfiguration(configuration);
  checkedResult('ioctl(LOOP_CONFIGURE)', ioctl(loopFd, LOOP_CONFIGURE, argument));
}

/** Its name; undefined when it has no file. */
export function loopName(loopFd: number): string | undefined {
  const info = new Uint8Array(infoBytes);
  if (ioctl(loopFd, LOOP_GET_STATUS64, info) < 0) return undefined;
  const name = info.subarray(infoNameAt, infoNameAt + nameBytesMax);
  const end = name.indexOf(0);
  return new TextDecoder().decode(end < 0 ? name : name.subarray(0, end));
}

/** Takes the file away: at once when nobody else has the device open, else when the last one closes it. */
export function clearLoop(loopFd: number): void {
  checkedResult('ioctl(LOOP_CLR_FD)', ioctl(loopFd, LOOP_CLR_FD, null));
}
