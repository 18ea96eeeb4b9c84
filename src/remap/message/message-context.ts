import type { RemapCore } from '../remap-core.ts';
import type { RemapStatus } from '../remap-status.ts';

/** Whoever scrubs a device answers the words behind `scrub`; rejects with `MessageError`. */
export type ScrubAnswer = (words: readonly string[]) => Promise<string>;

/** What a message may look at and work on. */
export interface MessageContext {
  readonly core: RemapCore;
  readonly status: () => RemapStatus;
  /** True when the device is closing or being suspended: long work ends before the next granule. */
  readonly stopped: () => boolean;
  /** Undefined while nobody scrubs the device. */
  readonly scrub: ScrubAnswer | undefined;
}
