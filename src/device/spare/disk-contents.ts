import type { BlockDevice } from '../../block/block-device.ts';
import type { Clock } from '../../block/clock.ts';
import { DeviceError } from '../../block/device-error.ts';
import { describeSignature, findSignatures, type ReadAt } from '../../io/signatures.ts';
import { superblockPlaces } from '../../metadata/layout.ts';
import { decodeSuperblock } from '../../metadata/superblock.ts';
import { boundedReader } from '../stack/bounded-read.ts';

/** Bytes of one superblock, and slots at each place (docs/on-disk-format.md). */
const superblockBytes = 4096;
const superblockSlots = 2;

/** What a disk carries, as far as it could be read. */
export interface Contents {
  readonly isSpare: boolean;
  /** Of the device that the spare is of; empty when its superblock is damaged, or there is none. */
  readonly spareName: string;
  /** For people: `ext4 file system, label data`. Without our own. */
  readonly signatures: readonly string[];
  /** Some block in which a signature could lie could not be read, or not in time. */
  readonly unreadable: boolean;
}

/**
 * Looks at the few places where signatures lie. `deadlineMs` bounds the whole look, whatever the disk does: creating
 * over bad sectors takes no longer than over good ones (I1).
 */
export async function readContents(device: BlockDevice, clock: Clock, deadlineMs: number): Promise<Contents> {
  const readAt = boundedReader(device, clock, deadlineMs);
  const spare = await findSuperblock(readAt, device.geometry.sizeBytes);
  const report = await findSignatures(readAt, device.geometry.sizeBytes);
  return {
    isSpare: spare !== undefined,
    spareName: spare ?? '',
    signatures: report.signatures.map(describeSignature),
    unreadable: report.unreadable.length > 0,
  };
}

/** The name in the first superblock found, empty for one that only has our magic; undefined when there is none. */
async function findSuperblock(readAt: ReadAt, sizeBytes: number): Promise<string | undefined> {
  let name: string | undefined;
  for (const place of superblockPlaces(sizeBytes)) {
    for (let slot = 0; slot < superblockSlots; slot += 1) {
      try {
        const block = await readAt(place + slot * superblockBytes, superblockBytes);
        const finding = decodeSuperblock(block);
        if (finding.found === 'superblock') return finding.superblock.shared.properties.properties.name;
        if (finding.found === 'member') return finding.member.deviceName;
        if (finding.found !== 'nothing') name = '';
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error;
      }
    }
  }
  return name;
}
