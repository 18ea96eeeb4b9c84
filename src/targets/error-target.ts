import { type BlockDevice, type Capabilities, type Extent, sectorBytes } from '../block/block-device.ts';
import { deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import type { Target, TargetContext, TargetType } from '../mapping/target.ts';
import { openDataDevice, parseDeviceOffset, unknownMessage } from './target-arguments.ts';

/**
 * Fails every request with EIO, at once and without side effects. It has nothing to flush, so that succeeds. Over a device
 * it takes that device's block sizes, and leaves it alone otherwise.
 */
export class ErrorTarget implements Target {
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  /** Takes nothing away from the segments beside it. */
  readonly capabilities: Capabilities = {
    write: true,
    flush: true,
    fua: true,
    discard: true,
    writeZeroes: true,
    fastZeroes: true,
    rotational: false,
    volatileCache: false,
  };
  readonly devices: readonly BlockDevice[] = [];
  readonly flushBypassesMap = true;
  readonly #deviceName: string;

  constructor(context: TargetContext, below?: BlockDevice) {
    this.#deviceName = context.deviceName;
    this.logicalBlockBytes = below?.geometry.logicalBlockBytes ?? sectorBytes;
    this.physicalBlockBytes = below?.geometry.physicalBlockBytes ?? sectorBytes;
  }

  read(target: Uint8Array, offset: number): Promise<void> {
    return this.#fail(offset, target.length);
  }

  write(source: Uint8Array, offset: number): Promise<void> {
    return this.#fail(offset, source.length);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#fail(offset, length);
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#fail(offset, length);
  }

  extents(_offset: number, length: number): Promise<readonly Extent[]> {
    return Promise.resolve([{ length, state: 'data' }]);
  }

  message(words: readonly string[]): Promise<string> {
    return Promise.reject(unknownMessage('error', words));
  }

  status(): string {
    return '';
  }

  #fail(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.#deviceName, 'suspect', offset, length, Errno.EIO));
  }
}

/**
 * `error [DEVICE OFFSET]`, and like drivers/md/dm-target.c it ignores any other number of arguments. It never asks the
 * device for anything, so the mapped device closes it with the others and flushes it for nobody.
 */
export const errorTargetType: TargetType = {
  name: 'error',
  usage: '[DEVICE OFFSET]',
  argumentCountMin: 0,
  argumentCountMax: Number.POSITIVE_INFINITY,
  async ctr(context, words) {
    const [path, offsetWord] = words;
    if (words.length !== 2 || path === undefined || offsetWord === undefined) return new ErrorTarget(context);
    const offset = parseDeviceOffset('error', offsetWord);
    return new ErrorTarget(context, await openDataDevice('error', context, path, offset));
  },
};
