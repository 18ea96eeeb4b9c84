import { blockBytes } from './block-size.ts';
import { CheckpointChain } from './checkpoint-body.ts';
import type { RecordSink } from './opened-metadata.ts';
import { decodeRecords } from './record-block.ts';
import type { SpareIo } from './spare-io.ts';
import type { Superblock } from './superblock.ts';

export interface CheckpointReading {
  readonly recordCount: number;
  /** Blocks that the first replica could not give. */
  readonly blocksRepaired: number;
}

/**
 * Gives the records of a checkpoint that all `holders` have, each block from the first holder with a valid copy. Undefined
 * when some block is nowhere; the sink has got records then, and forgets them with the next `begin`.
 */
export async function readCheckpoint(
  io: SpareIo,
  holders: readonly Superblock[],
  sink: RecordSink,
): Promise<CheckpointReading | undefined> {
  const first = holders[0]!;
  const { layout, uuid } = first.shared;
  const facts = first.checkpoint;
  const chain = new CheckpointChain(uuid, facts);
  let blocksRepaired = 0;
  sink.begin();
  const take = (block: Uint8Array | undefined): boolean => {
    const header = block === undefined ? undefined : chain.accept(block);
    if (block === undefined || header === undefined) return false;
    sink.add(decodeRecords(block, header, layout));
    return true;
  };
  const areaOf = (holder: Superblock): number =>
    layout.replicas[holder.replica]!.areaOffsets[holder.checkpoint.area];

  let reader = first;
  while (chain.blockCount < facts.blockCount) {
    const start = chain.blockCount;
    const count = Math.min(io.pieceBlocks, facts.blockCount - start);
    let broken = false;
    await io.readEach(areaOf(reader) + start * blockBytes, count, (block) => {
      // Behind a bad block nothing can be chained: the rest is read again.
      broken ||= !take(block);
    });
    if (!broken) continue;
    const bad = chain.blockCount;
    for (const holder of holders) {
      if (holder === reader || chain.blockCount > bad) continue;
      await io.readEach(areaOf(holder) + bad * blockBytes, 1, (block) => {
        // Bad blocks come in runs: go on with the replica that had this one.
        if (take(block)) reader = holder;
      });
    }
    if (chain.blockCount === bad) return undefined;
    blocksRepaired += 1;
  }
  return chain.isComplete(facts) ? { recordCount: chain.recordCount, blocksRepaired } : undefined;
}
