/**
 * - `unsettled`  opened; nothing was written yet
 * - `open`       commits are taken
 * - `failed`     a commit is in doubt and could not be settled: no more writes
 * - `closed`     after `close`
 */
export type MetadataState = 'unsettled' | 'open' | 'failed' | 'closed';

export interface MetadataStatus {
  readonly state: MetadataState;
  readonly uuid: string;
  readonly replicasInSync: number;
  readonly replicasTotal: number;
  readonly generation: number;
  /** Sequence number of the last journal block that is durable. */
  readonly sequence: number;
  /** As `sequence`, never one that was given up: a spare that knows less is an older one (M12). */
  readonly acknowledgedSequence: number;
  /** Of this session once settled, else of the last one: 16 hexadecimal digits. */
  readonly sessionNonce: string;
  /** Of the newest superblock. */
  readonly revision: number;
  /** Closed, and the superblocks say so. */
  readonly closedCleanly: boolean;
  readonly journalBlocksUsed: number;
  readonly journalBlocks: number;
  /** Commit calls that resolved. */
  readonly commits: number;
  /** Batches they were written in. */
  readonly batches: number;
  /** Flushes sent to the spare, for whomever. */
  readonly flushes: number;
  readonly checkpoints: number;
  readonly checkpointsFailed: number;
  readonly checkpointRunning: boolean;
}
