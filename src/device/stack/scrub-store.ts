import { DeviceError, deviceError } from '../../block/device-error.ts';
import { MetadataError, type MetadataStore } from '../../metadata/metadata-store.ts';
import type { VerifyReplicas } from '../../scrub/scrub-pass.ts';
import type { StoreScrub } from '../../scrub/scrub-saver.ts';

/** Where a scrub is goes into the superblocks (M10). */
export function storeIn(store: Pick<MetadataStore, 'updateProperties'>): StoreScrub {
  return async (scrub) => {
    try {
      await store.updateProperties({ scrub });
      return 'stored';
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      return error.code === 'METADATA_PROPERTIES_TOO_LARGE' ? 'full' : 'failed';
    }
  };
}

/** A store that is closing says no more of its replicas than a spare that is away. */
export function verifierOf(store: Pick<MetadataStore, 'verifyReplicas'>, deviceName: string): VerifyReplicas {
  return async () => {
    try {
      return await store.verifyReplicas();
    } catch (error) {
      if (error instanceof DeviceError || !(error instanceof MetadataError)) throw error;
      throw deviceError(deviceName, 'closed', 0, 0);
    }
  };
}
