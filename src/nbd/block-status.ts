import { assert } from '../block/assert.ts';
import type { BlockDevice, Extent } from '../block/block-device.ts';
import { descriptorBytes, encodeStatusChunk, statusChunkBytes } from './chunk-codec.ts';
import type { ClientRequest } from './client-request.ts';
import { writeU32 } from './codec.ts';
import { ChunkFlag, CommandFlag } from './constants.ts';
import type { MetaContext } from './meta-contexts.ts';

/** Memory of one reply: 509 descriptors of one context. The client asks again for what is not covered. */
export const blockStatusBytesMax = 4096;

/** Times that one request asks the device: 4 GiB of a device that answers for 64 MiB at once. */
export const extentCallsMax = 64;

/**
 * Of a client that wants one descriptor the device is first asked for so little, then for eight times as much each time. qemu
 * asks so for every extent: over a table with each second block moved, 512 questions to main were asked for one answer.
 */
const firstStretchBytes = 64 * 1024;
const stretchGrowth = 8;

/** Descriptors of one context, neighbours of equal flags joined. */
class Descriptors {
  readonly context: MetaContext;
  readonly #countMax: number;
  readonly lengths: number[] = [];
  readonly flags: number[] = [];

  constructor(context: MetaContext, countMax: number) {
    this.context = context;
    this.#countMax = countMax;
  }

  /** False when there is no room for it. */
  add(length: number, flags: number): boolean {
    const last = this.lengths.length - 1;
    if (this.flags[last] === flags) this.lengths[last]! += length;
    else if (this.lengths.length === this.#countMax) return false;
    else {
      this.lengths.push(length);
      this.flags.push(flags);
    }
    return true;
  }

  /** Writes the chunk at `at` of `bytes`; where the next one begins. */
  encode(bytes: Uint8Array, at: number, chunkFlags: number, request: ClientRequest): number {
    encodeStatusChunk(bytes, at, chunkFlags, request, this.context.id, this.lengths.length);
    let end = at + statusChunkBytes;
    for (const [index, length] of this.lengths.entries()) {
      writeU32(bytes, end, length);
      writeU32(bytes, end + 4, this.flags[index]!);
      end += descriptorBytes;
    }
    return end;
  }
}

/**
 * Asks the device what a range holds and writes the reply into `piece`: one chunk a context, at least one descriptor each,
 * and never more than was asked for. Resolves to the bytes of the reply. Rejects with `DeviceError`.
 */
export async function blockStatusReply(
  device: BlockDevice,
  request: ClientRequest,
  contexts: readonly MetaContext[],
  piece: Uint8Array,
): Promise<Uint8Array> {
  const room = Math.floor((piece.length / contexts.length - statusChunkBytes) / descriptorBytes);
  const wantsOne = (request.flags & CommandFlag.reqOne) !== 0;
  const countMax = wantsOne ? 1 : room;
  const lists = contexts.map((context) => new Descriptors(context, countMax));
  const end = request.offset + request.length;
  let at = request.offset;
  let stretch = wantsOne ? firstStretchBytes : request.length;
  for (let calls = 0; calls < extentCallsMax && at < end; calls += 1) {
    const next = addAll(lists, await device.extents(at, Math.min(stretch, end - at)), at, end);
    if (next === undefined) break;
    at = next;
    stretch *= stretchGrowth;
  }
  let length = 0;
  for (const [index, list] of lists.entries()) {
    length = list.encode(piece, length, index === lists.length - 1 ? ChunkFlag.done : 0, request);
  }
  return piece.subarray(0, length);
}

/** Where the extents end; undefined when some list is full. */
function addAll(
  lists: readonly Descriptors[],
  extents: readonly Extent[],
  from: number,
  end: number,
): number | undefined {
  let at = from;
  for (const { length, state } of extents) {
    const covered = Math.min(length, end - at);
    if (covered === 0) break;
    // Every list is asked: a full one must not keep what the others may still take.
    const full = lists.filter((list) => !list.add(covered, list.context.flagsByState[state]));
    if (full.length > 0) return undefined;
    at += covered;
  }
  assert(at > from, 'BlockDevice: extents without a byte');
  return at;
}
