import { sectorBytes } from '../../block/block-device.ts';
import { SetupError } from '../../device/setup-error.ts';
import { parseBytes } from '../text/byte-size.ts';

const blockBytesMax = 1_048_576;
/** As badblocks(8) without its own -b. */
export const blockBytesDefault = '1024';

/** Of `--block-bytes`. Throws `SetupError` usage. */
export function blockSize(text: string): number {
  const bytes = parseBytes(text) ?? 0;
  const isPowerOfTwo = Number.isInteger(Math.log2(bytes));
  if (bytes >= sectorBytes && bytes <= blockBytesMax && isPowerOfTwo) return bytes;
  throw new SetupError('usage', `--block-bytes ${text}: expected a power of two from 512 to 1M`);
}
