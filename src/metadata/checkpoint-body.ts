import { crc32c } from '@node-rs/crc32';
import { decodeRecordBlock, type RecordBlock } from './record-block.ts';
import type { CheckpointFacts } from './superblock.ts';

/**
 * Follows a checkpoint block by block and says whether it is the one that the facts describe: every block of this device,
 * generation, session and snapshot, in its place, chained to its predecessor; the whole of the right length and checksum.
 */
export class CheckpointChain {
  readonly #uuid: Uint8Array;
  readonly #facts: Pick<CheckpointFacts, 'generation' | 'sessionNonce' | 'lastSequence'>;
  blockCount = 0;
  recordCount = 0;
  checksum = 0;
  predecessorChecksum = 0;

  constructor(
    uuid: Uint8Array,
    facts: Pick<CheckpointFacts, 'generation' | 'sessionNonce' | 'lastSequence'>,
  ) {
    this.#uuid = uuid;
    this.#facts = facts;
  }

  /** The header when `block` is the next one; else undefined, and nothing has changed. */
  accept(block: Uint8Array): RecordBlock | undefined {
    const header = decodeRecordBlock(block, 'checkpoint', this.#uuid);
    const next =
      header !== undefined &&
      header.generation === this.#facts.generation &&
      header.sequence === this.blockCount &&
      header.firstSequence === this.#facts.lastSequence &&
      header.predecessorChecksum === this.predecessorChecksum &&
      sameNonce(header.sessionNonce, this.#facts.sessionNonce);
    if (!next) return undefined;
    this.append(header.checksum, header.recordCount);
    return header;
  }

  /** Counts a block that was just sealed, or accepted. */
  append(checksum: number, recordCount: number): void {
    this.blockCount += 1;
    this.recordCount += recordCount;
    this.predecessorChecksum = checksum;
    const bytes = Uint8Array.of(checksum, checksum >>> 8, checksum >>> 16, checksum >>> 24);
    this.checksum = crc32c(bytes, this.checksum);
  }

  isComplete(facts: CheckpointFacts): boolean {
    return (
      this.blockCount === facts.blockCount &&
      this.recordCount === facts.recordCount &&
      this.checksum === facts.checksum
    );
  }
}

export function sameNonce(a: Uint8Array, b: Uint8Array): boolean {
  for (let at = 0; at < 8; at += 1) if (a[at] !== b[at]) return false;
  return true;
}

/** True when two replicas hold the same checkpoint, byte for byte. */
export function sameCheckpoint(a: CheckpointFacts, b: CheckpointFacts): boolean {
  return (
    a.generation === b.generation &&
    a.lastSequence === b.lastSequence &&
    a.checksum === b.checksum &&
    a.blockCount === b.blockCount &&
    a.recordCount === b.recordCount &&
    sameNonce(a.sessionNonce, b.sessionNonce)
  );
}
