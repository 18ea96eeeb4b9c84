import type { Clock } from '../../block/clock.ts';
import { MetadataError, type OpenedMetadata } from '../../metadata/metadata-store.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import { boundedReader } from '../stack/bounded-read.ts';
import type { OpenedMain } from '../stack/disks.ts';
import type { CutFiles } from './cut-main.ts';
import { identityRecord } from './main-identity.ts';
import { formatStamp, healthyIn, samplePlaces, stampKey, takeSamples } from './main-stamp.ts';

/** A disk that is dying must not hold up its own removal: without its samples there is no stamp. */
const samplesDeadlineMs = 5_000;

export interface StampParts {
  readonly main: OpenedMain;
  readonly metadata: OpenedMetadata;
  readonly remap: RemapDevice;
  readonly clock: Clock;
  readonly cutFiles: CutFiles;
}

/**
 * M15: after the last client has gone and everything is flushed, before the metadata is closed: notes what main holds. Nobody
 * writes to a healthy granule from here on. The next opening takes the stamp out again before its first I/O.
 */
export async function stampMain({ main, metadata, remap, clock, cutFiles }: StampParts): Promise<void> {
  // A write that a disk has not answered may still arrive and would make the stamp wrong.
  if (remap.inFlight > 0) return;
  // The stamp would say that what is left is what was there.
  if (await cutFiles.mainWasCut()) return;
  const { facts, store } = metadata;
  const { mainSizeBytes, granuleBytes } = facts;
  const places = samplePlaces(mainSizeBytes, granuleBytes, healthyIn(remap.mappingState));
  const readAt = boundedReader(main.device, clock, samplesDeadlineMs);
  const samples = await takeSamples(readAt, granuleBytes, places);
  if (samples.length === 0) return;
  try {
    const mainIdentity = { ...identityRecord(main), [stampKey]: formatStamp(samples) };
    await store.updateProperties({ mainIdentity });
  } catch (error) {
    // No room in the superblock, or a spare that takes no more writes: closing says so itself.
    if (!(error instanceof MetadataError)) throw error;
  }
}
