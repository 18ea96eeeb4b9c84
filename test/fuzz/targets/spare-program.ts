import { crc32c } from '@node-rs/crc32';
import { sealBlock } from '../../../src/metadata/block-checksum.ts';
import { blockBytes, type PlacedBlock, type SpareImage } from './spare-image.ts';

/**
 * What an input does to a golden image, so that a few bytes are an image of megabytes, and any bytes are one:
 *
 *     0 image  1 how: +1 seal what was changed, +2 chain the checkpoint anew, +4 ask for a host, +8 force
 *     then steps, each: kind  block  place u16  length  that many bytes
 *
 * `block` counts those that the target is about; from 224 on all of them are changed alike. Kinds: 0 and 1 at a field of the
 * block, 2 at any byte, 3 copies another block there, 4 zeroes. Without sealing the input is damage; with it, a forgery.
 */
export interface SpareProgram {
  readonly image: SpareImage;
  readonly seals: boolean;
  readonly chains: boolean;
  readonly asksHost: boolean;
  readonly forces: boolean;
  readonly steps: readonly SpareStep[];
}

interface SpareStep {
  readonly kind: number;
  readonly block: number;
  readonly place: number;
  readonly bytes: Buffer;
}

const stepHeadBytes = 5;
const stepBytesMax = 48;
const stepsMax = 64;
const allBlocksFrom = 224;

export function readProgram(input: Buffer, images: readonly SpareImage[]): SpareProgram {
  const how = input[1] ?? 0;
  const steps: SpareStep[] = [];
  for (let at = 2; at + stepHeadBytes <= input.length && steps.length < stepsMax; ) {
    const length = input[at + 4]! % (stepBytesMax + 1);
    const end = at + stepHeadBytes + length;
    steps.push({
      kind: input[at]! % 5,
      block: input[at + 1]!,
      place: input.readUInt16LE(at + 2),
      bytes: input.subarray(at + stepHeadBytes, end),
    });
    at = end;
  }
  return {
    image: images[(input[0] ?? 0) % images.length]!,
    seals: (how & 1) !== 0,
    chains: (how & 2) !== 0,
    asksHost: (how & 4) !== 0,
    forces: (how & 8) !== 0,
    steps,
  };
}

export function encodeStep(kind: number, block: number, place: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(kind, block, place & 0xff, place >> 8, bytes.length), bytes]);
}

/** Does the steps on `spare`, a copy of the program's image. Gives the blocks that are others now. */
export function runProgram(
  program: SpareProgram,
  spare: Uint8Array,
  blocks: readonly PlacedBlock[],
  fields: readonly number[],
): ReadonlySet<PlacedBlock> {
  const changed = new Set<PlacedBlock>();
  if (blocks.length === 0) return changed;
  const at = (block: PlacedBlock): Uint8Array => spare.subarray(block.offset, block.offset + blockBytes);
  for (const { kind, block, place, bytes } of program.steps) {
    const chosen = block >= allBlocksFrom ? blocks : [blocks[block % blocks.length]!];
    for (const each of chosen) {
      const target = at(each);
      const offset = kind < 2 ? fields[place % fields.length]! : place % blockBytes;
      if (kind === 3) target.set(at(blocks[place % blocks.length]!));
      else if (kind === 4) target.fill(0);
      else target.set(bytes.subarray(0, blockBytes - offset), offset);
      changed.add(each);
    }
  }
  if (program.seals) for (const each of changed) sealBlock(at(each));
  if (!program.chains) return changed;
  chainCheckpoints(program.image, spare);
  return new Set([...changed, ...program.image.checkpoint]);
}

/** Makes the checkpoints whole again: each block names the one before, each superblock the checkpoint's checksum. */
function chainCheckpoints({ superblocks, layout }: SpareImage, spare: Uint8Array): void {
  for (const { offset, replica } of superblocks) {
    const superblock = spare.subarray(offset, offset + blockBytes);
    const view = new DataView(superblock.buffer, superblock.byteOffset, blockBytes);
    const area = layout.replicas[replica ?? 0]!.areaOffsets[view.getUint16(88, true) & 1]!;
    const count = Math.min(layout.areaBlocks, view.getUint32(92, true));
    let [previous, checksum, records] = [0, 0, 0];
    for (let index = 0; index < count; index += 1) {
      const block = spare.subarray(area + index * blockBytes, area + (index + 1) * blockBytes);
      const blockView = new DataView(block.buffer, block.byteOffset, blockBytes);
      blockView.setUint32(64, previous, true);
      previous = sealBlock(block);
      records += blockView.getUint16(68, true);
      checksum = crc32c(Uint8Array.of(previous, previous >>> 8, previous >>> 16, previous >>> 24), checksum);
    }
    view.setUint32(96, records, true);
    view.setUint32(100, checksum, true);
    sealBlock(superblock);
  }
}
