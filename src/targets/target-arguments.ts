import { type BlockDevice, sectorBytes } from '../block/block-device.ts';
import { parseSectorNumber } from '../mapping/table-syntax.ts';
import type { TargetContext } from '../mapping/target.ts';
import { TargetError } from '../mapping/target-error.ts';

/** Byte offset from an OFFSET argument in sectors. Throws `TargetError`. */
export function parseDeviceOffset(target: string, word: string): number {
  const sectors = parseSectorNumber(word);
  if (sectors === undefined) {
    throw new TargetError(
      'TARGET_ARGUMENT',
      `${target}: OFFSET is ${word}, expected a number of 512-byte sectors`,
    );
  }
  return sectors * sectorBytes;
}

/** An `unsigned int` of the kernel. */
export const unsignedMax = 4_294_967_295;

/** A whole number from a table or a message. Throws `TargetError` that names `what`. */
export function parseWholeNumber(
  what: string,
  word: string | undefined,
  least: number,
  most: number,
  code: 'TARGET_ARGUMENT' | 'MESSAGE_ARGUMENT' = 'TARGET_ARGUMENT',
): number {
  const value = word !== undefined && /^\d{1,20}$/.test(word) ? Number(word) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new TargetError(code, `${what} is ${word ?? 'missing'}, expected ${least} to ${most}`);
}

/** Opens the device of a one-to-one target, and checks that its part is there and begins on a block. */
export async function openDataDevice(
  target: string,
  context: TargetContext,
  path: string,
  offset: number,
): Promise<BlockDevice> {
  const device = await context.openDevice(path, 'data');
  const { sizeBytes, logicalBlockBytes } = device.geometry;
  const needed = offset + context.lengthBytes;
  if (needed > sizeBytes) {
    throw new TargetError(
      'TARGET_DEVICE',
      `${target}: ${path} has ${sizeBytes / sectorBytes} sectors, the segment needs ${needed / sectorBytes}`,
    );
  }
  if (offset % logicalBlockBytes !== 0) {
    const multiple = logicalBlockBytes / sectorBytes;
    throw new TargetError(
      'TARGET_ARGUMENT',
      `${target}: OFFSET is ${offset / sectorBytes}, expected a multiple of ${multiple}, ` +
        `for ${path} has logical blocks of ${logicalBlockBytes} bytes`,
    );
  }
  return device;
}

/** The answer of a target to a message that it does not know. */
export function unknownMessage(target: string, words: readonly string[], expected?: string): TargetError {
  const known = expected === undefined ? 'it takes no messages' : `expected one of ${expected}`;
  return new TargetError('MESSAGE_UNKNOWN', `${target}: unknown message ${words.join(' ')}, ${known}`);
}
