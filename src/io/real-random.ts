import { randomBytes, randomFillSync } from 'node:crypto';
import type { Random } from '../block/clock.ts';

/** The machine's chance, from the kernel's generator. */
export class RealRandom implements Random {
  u32(): number {
    return randomBytes(4).readUInt32LE(0);
  }

  fill(target: Uint8Array): void {
    randomFillSync(target);
  }
}
