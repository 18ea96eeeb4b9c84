import type { BlockDevice } from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import type { Clock, Random } from '../block/clock.ts';
import type { DeviceProperties } from './device-properties.ts';
import type { HostIdentity } from './in-use.ts';
import type { InUseMark } from './in-use-mark.ts';
import type { LayoutOptions } from './layout.ts';
import type { MappingRecord } from './mapping-state.ts';
import type { MemberEntry } from './member-table.ts';

/** What the metadata is given: it knows no file, no clock and no chance of its own. */
export interface MetadataParts {
  readonly spare: BlockDevice;
  readonly arena: BufferArena;
  readonly clock: Clock;
  readonly random: Random;
}

export interface CreateParameters {
  readonly mainSizeBytes: number;
  /** Main's logical block: what the virtual device shows (R10). */
  readonly logicalBlockBytes: number;
  /** The larger physical block of main and spare, 512 to 16384. */
  readonly granuleBytes: number;
  readonly properties: DeviceProperties;
  /** R13: main's old content is worthless; what was never written reads as zeros where main cannot read. Default false. */
  readonly fresh?: boolean;
  readonly layout?: LayoutOptions;
}

/** Receives the records of a spare in the order they must be applied. */
export interface RecordSink {
  /** Forget what came before: the records begin (again). */
  begin(): void;
  add(records: readonly MappingRecord[]): void;
}

export interface OpenOptions {
  /** Open from any readable set, not only from the in-sync one. Acknowledged records may be missing then. */
  readonly force?: boolean;
  /** Who wants the spare (M11). Without it nobody is refused, and no mark is written. */
  readonly host?: HostIdentity;
  /** Take the spare whoever marks it as in use. */
  readonly takeover?: boolean;
  /** Takes the records instead of `OpenedMetadata.records`, piece by piece. */
  readonly sink?: RecordSink;
}

/** What the superblock says about the device. */
export interface DeviceFacts {
  /** 32 lower-case hexadecimal digits with four dashes. */
  readonly uuid: string;
  readonly mainSizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly granuleBytes: number;
  readonly createdUnixSeconds: number;
  /** R13: created with `fresh`. */
  readonly fresh: boolean;
  /** Bytes of main that were fresh then, in regions of `freshRegionBytes(freshSizeBytes)`; 0 without `fresh`. */
  readonly freshSizeBytes: number;
  readonly properties: DeviceProperties;
  /** The spares beside this one. */
  readonly members: readonly MemberEntry[];
  /** The last session ended with `close`. */
  readonly cleanlyClosed: boolean;
  /** The last sequence number that counts (M12). */
  readonly lastSequence: number;
  readonly generation: number;
  /** Of the session that wrote the checkpoint, 16 hexadecimal digits (M12). */
  readonly sessionNonce: string;
  /** The highest of any superblock: higher in every one written later (M12). */
  readonly revision: number;
  readonly membershipEpoch: number;
}

/**
 * - `valid`        has the newest checkpoint's generation
 * - `behind`       in sync, its superblock is a generation older: a checkpoint was cut short
 * - `not-in-sync`  was taken out of the set
 * - `damaged`      no valid superblock
 * - `unreadable`   its superblocks cannot be read
 */
export type ReplicaCondition = 'valid' | 'behind' | 'not-in-sync' | 'damaged' | 'unreadable';

export interface ReplicaReport {
  readonly index: number;
  /** Byte offset of its superblocks. */
  readonly offset: number;
  readonly condition: ReplicaCondition;
  /** One clause for people: what was found. */
  readonly detail: string;
}

export interface OpenReport {
  readonly replicas: readonly ReplicaReport[];
  /** Replicas in condition `valid`. `settle` repairs the others. */
  readonly replicasValid: number;
  readonly replicasTotal: number;
  readonly checkpointRecords: number;
  readonly journalRecords: number;
  /** Checkpoint and journal blocks that only another replica could give. */
  readonly blocksRepaired: number;
  /** Who uses the spare, or used it last and did not close it (M11). */
  readonly inUse: InUseMark | undefined;
  /** From whom it was taken, and why that is safe: one clause for people. */
  readonly takenOver: string | undefined;
  /** `force` was needed. */
  readonly forced: boolean;
}
