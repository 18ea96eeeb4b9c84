import { assert } from '../../block/assert.ts';
import type { BlockDevice } from '../../block/block-device.ts';

/**
 * R3: a write that its device has given up on is alive until the kernel has answered. Whoever sent it keeps its ticket or
 * its lock until then, so that nothing newer can be overtaken by it: no later write, move or discard goes to the range.
 */
export function untilDrained(device: BlockDevice, offset: number, length: number): Promise<void> {
  assert(device.drained !== undefined, `${device.name}: gives up on writes and does not say when they end`);
  return device.drained(offset, length);
}
