import { assert } from '../block/assert.ts';
import { sectorBytes } from '../block/block-device.ts';
import type { DeviceError, FailedRange } from '../block/device-error.ts';
import { failureKindOfErrno } from '../block/errno.ts';
import type { OperationKind } from './operation-counter.ts';
import type { WriteOwner } from './simulated-media.ts';

/** One request inside a simulated disk, from its submission until the disk is done with it. */
export interface DiskRequest extends WriteOwner {
  readonly kind: OperationKind;
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
  /** The caller's buffer, on loan: target of a read, source of a write. */
  readonly buffer: Uint8Array | undefined;
  /** What is written, or what a read has sampled. */
  readonly bytes: Uint8Array;
  /** For a flush: versions up to this one become durable. */
  readonly flushSequence: number;
  readonly resolve: () => void;
  readonly reject: (error: DeviceError) => void;
  /** The disk is done: it touches the buffer no more. */
  readonly done: () => void;
  effected: boolean;
  /** Its deadline has answered it: what the disk says later reaches nobody. */
  answered: boolean;
  settled: boolean;
  /** The power was cut or the process died: it is never answered. */
  dead: boolean;
  failedRanges: readonly FailedRange[];
}

const noBytes: Uint8Array = new Uint8Array(0);

/** What the disk keeps of a request: the bytes to write, or room for those that a read samples. */
export function requestBytes(
  kind: OperationKind,
  length: number,
  buffer: Uint8Array | undefined,
): Uint8Array {
  if (kind === 'flush') return noBytes;
  // A copy: a process that dies, or a caller that breaks the loan, does not change what the disk was told.
  return kind === 'write' && buffer !== undefined ? new Uint8Array(buffer) : new Uint8Array(length);
}

/** The loan rule: from submission to settlement a source belongs to the device. */
export function assertUntouched(request: DiskRequest): void {
  const { buffer, bytes } = request;
  const same = buffer === undefined || Buffer.compare(buffer, bytes) === 0;
  assert(same, `the source of a write at byte ${request.offset} was changed while it was lent`);
}

/** Visits the sectors of a request in ascending order, each with its part of the request's bytes. */
export function forEachSector(
  request: DiskRequest,
  visit: (sector: number, bytes: Uint8Array) => void,
): void {
  const first = request.offset / sectorBytes;
  for (let at = 0; at < request.length; at += sectorBytes) {
    visit(first + at / sectorBytes, request.bytes.subarray(at, at + sectorBytes));
  }
}

/** What the kernel would say about these bytes. */
export function failedRange(offset: number, length: number, errno: number): FailedRange {
  const kind = failureKindOfErrno(errno);
  assert(kind !== 'bug', `a simulated disk does not answer ${errno}, which means a bug of the caller`);
  return { offset, length, kind, errno };
}

/** Bad sectors as ranges of whole logical blocks, neighbours with one error number joined. */
export function exactRanges(failed: ReadonlyMap<number, number>, blockBytes: number): FailedRange[] {
  const ranges: FailedRange[] = [];
  for (const [sector, errno] of failed) {
    const offset = Math.floor((sector * sectorBytes) / blockBytes) * blockBytes;
    const last = ranges.at(-1);
    const lastEnd = last === undefined ? -1 : last.offset + last.length;
    if (last !== undefined && offset < lastEnd) continue;
    if (last !== undefined && last.errno === errno && offset === lastEnd) {
      ranges[ranges.length - 1] = failedRange(last.offset, last.length + blockBytes, errno);
    } else {
      ranges.push(failedRange(offset, blockBytes, errno));
    }
  }
  return ranges;
}
