import type { ScrubCounts } from './scrub-counts.ts';
import type { SlowBlocksFound } from './slow-blocks.ts';

/** Who made a scrub begin or go on: a person, the schedule, or the device that was opened again in the middle of one. */
export type ScrubStarter = 'operator' | 'schedule' | 'opening';

/** What whoever scrubs a device tells of it. */
export type ScrubEvent =
  | { readonly kind: 'scrub-started'; readonly by: ScrubStarter }
  | { readonly kind: 'scrub-resumed'; readonly by: ScrubStarter; readonly positionBytes: number }
  | ({
      readonly kind: 'scrub-paused';
      /** `operator`, or `storm`: too many failures in a row. */
      readonly reason: string;
      readonly positionBytes: number;
    } & Readonly<ScrubCounts>)
  | ({
      readonly kind: 'scrub-stopped' | 'scrub-finished';
      readonly positionBytes: number;
      readonly seconds: number;
    } & Readonly<ScrubCounts>)
  | ({ readonly kind: 'slow-blocks' } & SlowBlocksFound);
