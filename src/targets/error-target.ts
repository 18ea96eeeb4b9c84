import { type BlockDevice, type Capabilities, type Extent, sectorBytes } from '../block/block-device.ts';
import { deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import type { Target, TargetContext, TargetType } from '../mapping/target.ts';
import { unknownMessage } from './target-arguments.ts';

/** Fails every request with EIO, at once and without side effects. It has nothing to flush, so that succeeds. */
export class ErrorTarget implements Target {
  readonly logicalBlockBytes: number = sectorBytes;
  readonly physicalBlockBytes: number = sectorBytes;
  /** Takes nothing away from the segments beside it. */
  readonly capabilities: Capabilities = {
    write: true,
    flush: true,
    fua: true,
    discard: true,
    writeZeroes: true,
    fastZeroes: true,
    rotational: false,
  };
  readonly devices: readonly BlockDevice[] = [];
  readonly flushBypassesMap = true;
  readonly #deviceName: string;

  constructor(context: TargetContext) {
    this.#deviceName = context.deviceName;
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

/** `error`: no arguments (drivers/md/dm-target.c, which ignores any). */
export const errorTargetType: TargetType = {
  name: 'error',
  usage: '',
  argumentCountMin: 0,
  argumentCountMax: 0,
  ctr(context) {
    return Promise.resolve(new ErrorTarget(context));
  },
};
