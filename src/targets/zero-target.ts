import { type BlockDevice, type Capabilities, type Extent, sectorBytes } from '../block/block-device.ts';
import type { Target, TargetType } from '../mapping/target.ts';
import { unknownMessage } from './target-arguments.ts';

/** Reads as zeros; writes and discards succeed and are forgotten. */
export class ZeroTarget implements Target {
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
    volatileCache: false,
  };
  readonly devices: readonly BlockDevice[] = [];
  readonly flushBypassesMap = true;

  read(target: Uint8Array): Promise<void> {
    target.fill(0);
    return Promise.resolve();
  }

  write(): Promise<void> {
    return Promise.resolve();
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  writeZeroes(): Promise<void> {
    return Promise.resolve();
  }

  extents(_offset: number, length: number): Promise<readonly Extent[]> {
    return Promise.resolve([{ length, state: 'zero' }]);
  }

  message(words: readonly string[]): Promise<string> {
    return Promise.reject(unknownMessage('zero', words));
  }

  status(): string {
    return '';
  }
}

/** `zero`: no arguments (drivers/md/dm-zero.c). */
export const zeroTargetType: TargetType = {
  name: 'zero',
  usage: '',
  argumentCountMin: 0,
  argumentCountMax: 0,
  ctr() {
    return Promise.resolve(new ZeroTarget());
  },
};
