import { type BlockDevice, sectorBytes } from '../../block/block-device.ts';
import type { Clock, Random } from '../../block/clock.ts';
import { asDeviceError, type DeviceError } from '../../block/device-error.ts';
import { FilterDevice } from '../../block/filter-device.ts';
import { createMappedDevice } from '../../mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../mapping/mapped-device.ts';
import { TargetRegistry } from '../../mapping/registry.ts';
import { standardTargets } from '../../targets/standard-targets.ts';
import type { OperationKind } from '../operation-counter.ts';
import type { MainSegment } from './world-plan.ts';

/** Never down until a message says so. */
const flakeyUp = '3600 0 0';

/** Makes a table of these segments over main: each sector is where it is on the disk. */
export function mapMain(
  main: BlockDevice,
  segments: readonly MainSegment[],
  clock: Clock,
  random: Random,
): Promise<MappedDevice> {
  const blockBytes = main.geometry.logicalBlockBytes;
  return createMappedDevice({
    name: main.name,
    table: segments.map((segment) => tableLine(segment, blockBytes)).join('\n'),
    registry: new TargetRegistry(standardTargets({ clock, random })),
    openDevice: () => Promise.resolve(main),
  });
}

function tableLine(segment: MainSegment, blockBytes: number): string {
  const { target, sector, sectorCount } = segment;
  const words = `${sector} ${sectorCount} ${target} main ${sector}`;
  switch (target) {
    case 'linear':
      return words;
    case 'dust':
      return `${words} ${blockBytes}`;
    case 'flakey':
      return `${words} ${flakeyUp}`;
    case 'delay':
      return `${words} 1 main ${sector} 3 main ${sector} 5`;
  }
}

/** Breaks a segment until its end is sent. Both are words of messages. */
export function targetMessages(
  segment: MainSegment,
  amount: number,
  blockBytes: number,
): { readonly begin: readonly string[][]; readonly end: readonly string[] } {
  switch (segment.target) {
    case 'dust': {
      const first = Math.ceil((segment.sector * sectorBytes) / blockBytes);
      const count = Math.floor((segment.sectorCount * sectorBytes) / blockBytes);
      // Every third block: some fail one write, some four, the others only reads.
      const begin = [['enable'], ['clearbadblocks']];
      for (let block = amount % 3; block < count; block += 3) {
        begin.push(['addbadblock', `${first + block}`, `${[0, 1, 4][block % 3]}`]);
      }
      return { begin, end: ['clearbadblocks'] };
    }
    case 'flakey': {
      const features = ['1 error_reads', '1 error_writes', '2 error_reads error_writes'][amount % 3]!;
      return { begin: [`set 0 3600 ${features}`.split(' ')], end: `set ${flakeyUp}`.split(' ') };
    }
    case 'delay':
      return { begin: [['set', `${amount % 40}`, '0', `${amount % 7}`]], end: ['set', '0'] };
    case 'linear':
      return { begin: [], end: [] };
  }
}

/** Tells of every failure before anyone above hears of it. */
export class WatchedDevice extends FilterDevice {
  readonly #onFailure: (kind: OperationKind, error: DeviceError) => void;

  constructor(below: BlockDevice, onFailure: (kind: OperationKind, error: DeviceError) => void) {
    super(below);
    this.#onFailure = onFailure;
  }

  override read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#watched('read', this.below.read(target, offset, flags));
  }

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#watched('write', this.below.write(source, offset, flags));
  }

  override writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.#watched('write-zeroes', this.below.writeZeroes(offset, length, flags));
  }

  #watched(kind: OperationKind, done: Promise<void>): Promise<void> {
    return done.catch((error: unknown) => {
      this.#onFailure(kind, asDeviceError(error));
      throw error;
    });
  }
}
