import { IoFlags } from '../../block/block-device.ts';
import { asDeviceError, DeviceError, deviceError, type FailedRange } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import type { RemapCore } from '../remap-core.ts';
import { WriteRequest } from './write-request.ts';

/** R21: bytes of one write-zeroes on main; a larger one would be one long unanswered request. */
export const zeroPartBytesMax: number = 1024 * 1024;

/**
 * R21: zeros, exactly. Main zeroes its healthy parts by itself; what is mapped, lost or fails is written under the rules of
 * writes: narrowed, remapped, marks cleared (R23). With `onlyIfFast` only the first is done, else `unsupported`.
 */
export class ZeroRequest {
  readonly #core: RemapCore;
  readonly #name: string;
  readonly #offset: number;
  readonly #end: number;
  readonly #flags: number;
  readonly #failed: FailedRange[] = [];
  #zeroedOnMain = false;

  constructor(core: RemapCore, name: string, offset: number, length: number, flags: number) {
    this.#core = core;
    this.#name = name;
    this.#offset = offset;
    this.#end = offset + length;
    this.#flags = flags | core.mainCache.writeFlags(core.policies.mainCache);
  }

  /** Throws a `DeviceError` that names every failed range. */
  async run(): Promise<void> {
    const failuresBefore = this.#core.mainFlush.failures;
    for (let at = this.#offset; at < this.#end && !this.#hopeless(); ) {
      const next = Math.min(this.#end, at - (at % zeroPartBytesMax) + zeroPartBytesMax);
      await this.#zeroPart(at, next - at);
      at = next;
      if (this.#hopeless() && at < this.#end) {
        this.#failed.push({ ...this.#failed.at(-1)!, offset: at, length: this.#end - at });
      }
    }
    if (this.#failed.length > 0) throw new DeviceError(this.#name, this.#failed);
    if (this.#zeroedOnMain && (this.#flags & IoFlags.fua) !== 0) await this.#flushMain(failuresBefore);
  }

  /** After these the rest is not asked: it would fail alike, or wait as long again. */
  #hopeless(): boolean {
    const kind = this.#failed.at(-1)?.kind;
    return kind === 'path' || kind === 'unsupported' || kind === 'no-space' || kind === 'refused';
  }

  async #zeroPart(offset: number, length: number): Promise<void> {
    if (await this.#zeroedByMain(offset, length)) return;
    if ((this.#flags & IoFlags.onlyIfFast) === 0) await this.#writeZeros(offset, length);
    else this.#failed.push({ offset, length, kind: 'unsupported', errno: Errno.EOPNOTSUPP });
  }

  /** False when something in the range is not simply main's, or main cannot: it may then be zeroed in part. */
  async #zeroedByMain(offset: number, length: number): Promise<boolean> {
    const { inFlight, locks, specials, parts, optional, mainFlush, metadataPath } = this.#core;
    const first = Math.floor(offset / parts.granuleBytes);
    const last = Math.floor((offset + length - 1) / parts.granuleBytes);
    while (locks.blocked(first, last)) await locks.whenUnblocked(first, last);
    const onlyIfFast = this.#flags & IoFlags.onlyIfFast;
    const can = onlyIfFast === 0 ? optional.knows('main', 'writeZeroes') : optional.fastZeroes;
    if (!can || !specials.none(first, last) || metadataPath.failed) return false;
    // From the look to the ticket nothing is awaited: a move that begins later waits for this ticket (R1).
    const ticket = inFlight.begin(first, last);
    try {
      await parts.main.writeZeroes(offset, length, this.#flags & ~IoFlags.fua);
      this.#zeroedOnMain = true;
      return true;
    } catch (error) {
      const failure = asDeviceError(error);
      // What is too slow this time may be known all the same.
      if (onlyIfFast === 0) optional.noteFailure('main', 'writeZeroes', failure);
      return false;
    } finally {
      // Also a failed one may have zeroed a part.
      mainFlush.wroteUnstable();
      inFlight.end(ticket);
    }
  }

  async #writeZeros(offset: number, length: number): Promise<void> {
    const { zeroMemory } = this.#core;
    const zeros = await zeroMemory.take();
    try {
      for (let at = 0; at < length && !this.#hopeless(); at += zeros.length) {
        const part = zeros.subarray(0, Math.min(zeros.length, length - at));
        await this.#writePart(part, offset + at);
        if (this.#hopeless() && at + part.length < length) {
          const rest = { offset: offset + at + part.length, length: length - at - part.length };
          this.#failed.push({ ...this.#failed.at(-1)!, ...rest });
        }
      }
    } finally {
      zeroMemory.release(zeros);
    }
  }

  async #writePart(zeros: Uint8Array, offset: number): Promise<void> {
    try {
      await new WriteRequest(this.#core, zeros, offset, this.#flags & IoFlags.fua).run(this.#name);
    } catch (error) {
      this.#failed.push(...asDeviceError(error).ranges);
    }
  }

  /** As for a write: a flush that fails is about no sector. One that failed for others may have lost earlier parts (R7). */
  async #flushMain(failuresBefore: number): Promise<void> {
    const { mainFlush } = this.#core;
    let errno: number = Errno.EIO;
    try {
      await mainFlush.flush();
      if (mainFlush.failures === failuresBefore) return;
    } catch (error) {
      errno = asDeviceError(error).errno;
    }
    const length = this.#end - this.#offset;
    const detail = 'the flush behind the zeroes failed';
    throw deviceError(this.#name, 'path', this.#offset, length, errno, detail);
  }
}
