import type { DeviceProperties } from './device-properties.ts';
import type { MemberEntry } from './member-table.ts';

export interface CommitOptions {
  /**
   * Flush the spare before the record is written, so that all writes to it that settled before the call are durable first.
   * Default true; false for records that name no new data (marks, retired slots) and for data written with FUA.
   */
  readonly dataFlush?: boolean;
  /** `MetadataStore.flushEpoch`, read before the first data write. Another epoch now: the data is in doubt, not committed. */
  readonly dataEpoch?: number;
  /**
   * Called once, synchronously, when the records are durable on all in-sync replicas, before the promise resolves: the
   * caller changes the live table here. It must be here, not behind `await commit()`: a checkpoint that begins in between
   * would miss the records. A caller that changed the table before the call (facts such as `unreadable`) leaves it out.
   */
  readonly activate?: () => void;
}

export interface SettleOptions {
  /** Replaces the properties of the superblock (a new path hint, for one). */
  readonly properties?: DeviceProperties;
  /**
   * The spares beside this one as this session has them; default: as they were. None: the source names nothing behind the end of
   * this one.
   */
  readonly members?: readonly MemberEntry[];
}
