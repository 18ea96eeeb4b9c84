import { sameNonce } from './checkpoint-body.ts';
import type { ReplicaPlace, SpareLayout } from './layout.ts';
import { MetadataError } from './metadata-error.ts';
import { decodeRecordBlock, type RecordBlock } from './record-block.ts';
import type { SpareIo } from './spare-io.ts';
import type { CheckpointFacts } from './superblock.ts';

/** A journal block that at least one replica has. */
export interface JournalBlock {
  readonly header: RecordBlock;
  /** A copy of the block. */
  readonly bytes: Uint8Array;
  /** Replicas that have it. */
  copies: number;
}

/** All valid journal blocks of this device on these replicas, of whatever generation, each once. */
export async function scanJournals(
  io: SpareIo,
  layout: SpareLayout,
  uuid: Uint8Array,
  places: readonly ReplicaPlace[],
): Promise<readonly JournalBlock[]> {
  const blocks = new Map<string, JournalBlock>();
  for (const place of places) {
    for (const offset of place.journalOffsets) {
      await io.readEach(offset, layout.journalBlocks, (block) => {
        const header = block === undefined ? undefined : decodeRecordBlock(block, 'journal', uuid);
        if (block === undefined || header === undefined) return;
        const key = `${header.sequence} ${header.checksum} ${header.generation}`;
        const known = blocks.get(key);
        if (known === undefined) blocks.set(key, { header, bytes: block.slice(), copies: 1 });
        else known.copies += 1;
      });
    }
  }
  return [...blocks.values()];
}

/**
 * M4: the blocks that follow this checkpoint, in order of their sequence: of its generation and the next, of its session,
 * behind its last sequence, each chained to the one before. The end is the first number that nobody has. Throws
 * `METADATA_GAP` when something that counts lies behind the end; with `force` it is given as well.
 *
 * What lies behind the end and does not count: blocks of the batch that the end belongs to, torn by a power cut. A batch is
 * begun only when all before it are durable everywhere, so a block whose batch began behind the end proves a loss.
 * `reachedSequence`: what superblocks prove to have existed.
 */
export function replay(
  blocks: readonly JournalBlock[],
  checkpoint: CheckpointFacts,
  reachedSequence: number,
  force: boolean,
): readonly JournalBlock[] {
  const { generation, lastSequence } = checkpoint;
  const usable = blocks
    .filter(
      ({ header }) =>
        (header.generation === generation || header.generation === generation + 1) &&
        header.sequence > lastSequence &&
        sameNonce(header.sessionNonce, checkpoint.sessionNonce),
    )
    .sort((a, b) => a.header.sequence - b.header.sequence);
  const chained: JournalBlock[] = [];
  let end = lastSequence + 1;
  for (const block of usable) {
    if (block.header.sequence !== end) continue;
    const previous = chained[chained.length - 1];
    if (previous !== undefined && block.header.predecessorChecksum !== previous.header.checksum) continue;
    chained.push(block);
    end += 1;
  }
  if (force) return usable;
  refuseGap(blocks, usable, generation, end, reachedSequence);
  return chained;
}

function refuseGap(
  blocks: readonly JournalBlock[],
  usable: readonly JournalBlock[],
  generation: number,
  end: number,
  reachedSequence: number,
): void {
  const newer = blocks.find(({ header }) => header.generation > generation + 1);
  const beyond = usable.find(({ header }) => header.firstSequence > end);
  const proof = newer ?? beyond;
  if (proof === undefined && reachedSequence < end) return;
  const what =
    proof === undefined
      ? `a superblock proves records up to block ${reachedSequence}`
      : `block ${proof.header.sequence} of generation ${proof.header.generation} is there`;
  throw new MetadataError(
    'METADATA_GAP',
    `the journal has no block ${end} of generation ${generation} although ${what}: acknowledged records are lost; ` +
      'keep a copy of the spare, then open with --force to use what is left',
  );
}
