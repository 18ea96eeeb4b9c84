import type { RemapCore } from '../remap-core.ts';
import type { RemapStatus } from '../remap-status.ts';

/** What a message may look at and work on. */
export interface MessageContext {
  readonly core: RemapCore;
  readonly status: () => RemapStatus;
  /** True when the device is closing or being suspended: long work ends before the next granule. */
  readonly stopped: () => boolean;
}
