import { type BlockDevice, type Capabilities, type Extent, sectorBytes } from '../block/block-device.ts';
import { shiftedError } from '../mapping/split-request.ts';
import { escapeWord } from '../mapping/table-syntax.ts';
import type { StatusKind, Target, TargetContext, TargetType } from '../mapping/target.ts';
import { openDataDevice, parseDeviceOffset, unknownMessage } from './target-arguments.ts';

/** A part of a device, as it is. */
export class LinearTarget implements Target {
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly capabilities: Capabilities;
  readonly devices: readonly BlockDevice[];
  readonly flushBypassesMap = true;
  readonly #deviceName: string;
  readonly #path: string;
  readonly #below: BlockDevice;
  /** Bytes of the device before the segment. */
  readonly #shiftBytes: number;

  constructor(context: TargetContext, path: string, below: BlockDevice, offset: number) {
    this.#deviceName = context.deviceName;
    this.#path = path;
    this.#below = below;
    this.#shiftBytes = offset;
    this.logicalBlockBytes = below.geometry.logicalBlockBytes;
    this.physicalBlockBytes = below.geometry.physicalBlockBytes;
    this.capabilities = below.capabilities;
    this.devices = [below];
  }

  read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#shifted(this.#below.read(target, offset + this.#shiftBytes, flags));
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#shifted(this.#below.write(source, offset + this.#shiftBytes, flags));
  }

  flush(): Promise<void> {
    return this.#below.flush();
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    return this.#shifted(this.#below.discard(offset + this.#shiftBytes, length, flags));
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.#shifted(this.#below.writeZeroes(offset + this.#shiftBytes, length, flags));
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#below.extents(offset + this.#shiftBytes, length);
  }

  message(words: readonly string[]): Promise<string> {
    return Promise.reject(unknownMessage('linear', words));
  }

  status(kind: StatusKind): string {
    return kind === 'info' ? '' : `${escapeWord(this.#path)} ${this.#shiftBytes / sectorBytes}`;
  }

  #shifted(done: Promise<void>): Promise<void> {
    // The whole of a device from its start: nothing to translate, so no promise of our own.
    if (this.#shiftBytes === 0) return done;
    return done.catch((error: unknown) => {
      throw shiftedError(this.#deviceName, error, -this.#shiftBytes);
    });
  }
}

/** `linear DEVICE OFFSET`: OFFSET in sectors (drivers/md/dm-linear.c). */
export const linearTargetType: TargetType = {
  name: 'linear',
  usage: 'DEVICE OFFSET',
  argumentCountMin: 2,
  argumentCountMax: 2,
  async ctr(context, words) {
    const [path = '', offsetWord = ''] = words;
    const offset = parseDeviceOffset('linear', offsetWord);
    const device = await openDataDevice('linear', context, path, offset);
    return new LinearTarget(context, path, device, offset);
  },
};
