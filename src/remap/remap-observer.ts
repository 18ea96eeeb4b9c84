import type { DevicePlace, PathChange } from './path/device-paths.ts';
import type { GranuleState } from './table/granule-table.ts';

/** Told at once, in the middle of what happens: must be quick, must not throw and must not call back. */
export interface RemapObserver {
  granuleChanged(before: GranuleState, after: GranuleState): void;
  slotRetired(slot: number): void;
  /** A way to a disk has closed (`failed`) or is open again. */
  pathChanged(failed: boolean, change: PathChange): void;
  /** A disk refused a write for want of room (R15). Once for each part of a request. */
  roomRefused(disk: DevicePlace): void;
  stateMayHaveChanged(): void;
}
