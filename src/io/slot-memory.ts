import { MemoryMapping } from '../linux/memory-mapping.ts';
import type { IoRequest } from './request-lane.ts';

/**
 * Memory of one slot, for what the kernel reads beside the data:
 *
 *     0        64                 64 + 128 × 16        8192
 *     │ msghdr │ iovec × 128      │ staging: bytes that are not in the arena │
 */
const slotBytes = 8192;
const headerBytes = 64;
const vectorsMax = 128;
const vectorBytes = 16;
const stagingOffset = headerBytes + vectorsMax * vectorBytes;
/** Bytes outside the arena that one receive takes, or one round of a send carries. */
export const stagingBytes: number = slotBytes - stagingOffset;

const twoTo32 = 0x1_0000_0000;

/** A region for each slot; resident only where a slot was used for a socket. */
export class SlotMemory {
  readonly #mapping: MemoryMapping;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #arenaMemory: ArrayBuffer;
  readonly #arenaAddress: number;

  constructor(slots: number, arenaMemory: ArrayBuffer, arenaAddress: number) {
    this.#mapping = MemoryMapping.anonymous(slots * slotBytes);
    this.#words = new Uint32Array(this.#mapping.buffer);
    this.#bytes = new Uint8Array(this.#mapping.buffer);
    this.#arenaMemory = arenaMemory;
    this.#arenaAddress = arenaAddress;
  }

  lock(): number {
    return this.#mapping.lock();
  }

  stagingAddress(slot: number): number {
    return this.#mapping.address + slot * slotBytes + stagingOffset;
  }

  staging(slot: number, length: number): Uint8Array {
    const at = slot * slotBytes + stagingOffset;
    return this.#bytes.subarray(at, at + length);
  }

  /**
   * Writes the msghdr for as much of the rest of `request.parts` as one message carries, and returns the
   * header's address. Parts in the arena are named where they are, others are copied to the staging area.
   */
  writeMessage(request: IoRequest): number {
    const base = request.slot * slotBytes;
    const parts = request.parts ?? [];
    let vectors = 0;
    let staged = 0;
    let offset = request.partOffset;
    for (let index = request.partIndex; index < parts.length && vectors < vectorsMax; index += 1) {
      const part = parts[index]!;
      let length = part.length - offset;
      let address = this.#arenaAddress + part.byteOffset + offset;
      if (part.buffer !== this.#arenaMemory) {
        length = Math.min(length, stagingBytes - staged);
        address = this.stagingAddress(request.slot) + staged;
        const at = base + stagingOffset + staged;
        this.#bytes.set(
          offset === 0 && length === part.length ? part : part.subarray(offset, offset + length),
          at,
        );
        staged += length;
      }
      if (length > 0) {
        this.#writeVector(base + headerBytes + vectors * vectorBytes, address, length);
        vectors += 1;
      }
      if (length < part.length - offset) break;
      offset = 0;
    }
    this.#writeHeader(base, vectors);
    return this.#mapping.address + base;
  }

  close(): void {
    this.#mapping.unmap();
  }

  #writeVector(at: number, address: number, length: number): void {
    const word = at / 4;
    this.#words[word] = address % twoTo32;
    this.#words[word + 1] = Math.floor(address / twoTo32);
    this.#words[word + 2] = length;
    this.#words[word + 3] = 0;
  }

  /** struct msghdr: name, name length, iovec at 16, count at 24, control, control length, flags. No name, no control. */
  #writeHeader(at: number, vectors: number): void {
    const word = at / 4;
    const vectorAddress = this.#mapping.address + at + headerBytes;
    this.#words[word + 4] = vectorAddress % twoTo32;
    this.#words[word + 5] = Math.floor(vectorAddress / twoTo32);
    this.#words[word + 6] = vectors;
  }
}
