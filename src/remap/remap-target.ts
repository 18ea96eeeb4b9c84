import { type BlockDevice, type Capabilities, type Extent, sectorBytes } from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import type { Clock, Random } from '../block/clock.ts';
import { escapeWord } from '../mapping/table-syntax.ts';
import type { StatusKind, Target, TargetContext, TargetType } from '../mapping/target.ts';
import { TargetError, type TargetErrorCode } from '../mapping/target-error.ts';
import { MetadataError } from '../metadata/metadata-error.ts';
import { MetadataStore } from '../metadata/metadata-store.ts';
import { MessageError, type MessageErrorCode } from './message/message-error.ts';
import { openRemapDevice, RemapOpenError } from './open-remap.ts';
import type { RemapDevice } from './remap-device.ts';
import { statusWords } from './remap-status.ts';

const targetCodes: Readonly<Record<MessageErrorCode, TargetErrorCode>> = {
  MESSAGE_UNKNOWN: 'MESSAGE_UNKNOWN',
  MESSAGE_INVALID: 'MESSAGE_ARGUMENT',
  MESSAGE_FAILED: 'MESSAGE_FAILED',
  MESSAGE_SUSPENDED: 'MESSAGE_FAILED',
};

/** What remap needs of its surroundings, as every room that knows no clock and no memory of its own. */
export interface RemapTargetParts {
  readonly arena: BufferArena;
  readonly clock: Clock;
  readonly random: Random;
}

/** Main and a formatted spare as a segment of a table, beside others. */
export class RemapTarget implements Target {
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly capabilities: Capabilities;
  readonly devices: readonly BlockDevice[];
  /** Its own flush knows what is unstable on which of the two devices (R6). */
  readonly flushBypassesMap = false;
  readonly #device: RemapDevice;
  readonly #arguments: string;

  constructor(device: RemapDevice, devices: readonly BlockDevice[], words: readonly string[]) {
    this.logicalBlockBytes = device.geometry.logicalBlockBytes;
    this.physicalBlockBytes = device.geometry.physicalBlockBytes;
    this.capabilities = device.capabilities;
    this.devices = devices;
    this.#device = device;
    this.#arguments = words.map(escapeWord).join(' ');
  }

  read(target: Uint8Array, offset: number): Promise<void> {
    return this.#device.read(target, offset);
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#device.write(source, offset, flags);
  }

  flush(): Promise<void> {
    return this.#device.flush();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#device.discard(offset, length);
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.#device.writeZeroes(offset, length, flags);
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#device.extents(offset, length);
  }

  async message(words: readonly string[]): Promise<string> {
    try {
      return await this.#device.message(words);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      throw new TargetError(targetCodes[error.code], error.message, { cause: error });
    }
  }

  status(kind: StatusKind): string {
    return kind === 'table' ? this.#arguments : statusWords(this.#device.status());
  }

  dtr(): Promise<void> {
    return this.#device.close();
  }
}

/** `remap MAIN SPARE`: the spare has been formatted for this main by `create`. */
export function remapTargetType(parts: RemapTargetParts): TargetType {
  return {
    name: 'remap',
    usage: 'MAIN SPARE',
    argumentCountMin: 2,
    argumentCountMax: 2,
    ctr: (context, words) => openTarget(parts, context, words),
  };
}

async function openTarget(
  parts: RemapTargetParts,
  context: TargetContext,
  words: readonly string[],
): Promise<RemapTarget> {
  const [mainPath = '', sparePath = ''] = words;
  if (mainPath === sparePath) {
    throw new TargetError(
      'TARGET_ARGUMENT',
      `remap: main and spare are both ${mainPath}: expected two devices`,
    );
  }
  const main = await context.openDevice(mainPath, 'main');
  const spare = await context.openDevice(sparePath, 'spare');
  const device = await openOver(parts, main, spare);
  if (device.geometry.sizeBytes === context.lengthBytes) return new RemapTarget(device, [main, spare], words);
  await device.close();
  throw new TargetError(
    'TARGET_ARGUMENT',
    `remap: ${sparePath} is for a main of ${device.geometry.sizeBytes / sectorBytes} sectors, the line has ` +
      `${context.lengthBytes / sectorBytes}: give the line that length`,
  );
}

async function openOver(
  parts: RemapTargetParts,
  main: BlockDevice,
  spare: BlockDevice,
): Promise<RemapDevice> {
  try {
    const metadata = await MetadataStore.open({ spare, ...parts });
    return await openRemapDevice({ main, spare, metadata, arena: parts.arena, clock: parts.clock });
  } catch (error) {
    if (!(error instanceof MetadataError) && !(error instanceof RemapOpenError)) throw error;
    throw new TargetError('TARGET_DEVICE', `remap: ${error.message}`, { cause: error });
  }
}
