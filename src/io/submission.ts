import type { SubmissionEntry } from '../linux/ring.ts';
import { messageFlag } from '../linux/socket-calls.ts';
import { Operation } from '../linux/uring-numbers.ts';
import type { IoRequest } from './request-lane.ts';
import type { SlotMemory } from './slot-memory.ts';

/**
 * By `Apart`: two priorities of the best-effort class that nobody has by default (that is 4, or none): linux/ioprio.h. Blocks
 * of different priority are never joined into one request (blk_rq_merge_ok in block/blk-merge.c).
 */
const ioPriorities = [0, (2 << 13) | 3, (2 << 13) | 5] as const;

export function emptyEntry(): SubmissionEntry {
  return {
    operation: Operation.nop,
    ioPriority: 0,
    fd: -1,
    offset: 0,
    address: 0,
    length: 0,
    operationFlags: 0,
    userLow: 0,
    userHigh: 0,
  };
}

/** Writes what the kernel has to know of a request; which field means what, differs by operation: man io_uring_enter. */
export function describeRequest(request: IoRequest, entry: SubmissionEntry, slotMemory: SlotMemory): void {
  entry.operation = request.operation;
  entry.ioPriority = ioPriorities[request.apart];
  entry.fd = request.lane!.fd;
  entry.operationFlags = request.operationFlags;
  entry.offset = 0;
  entry.address = 0;
  entry.length = 0;
  switch (request.operation) {
    case Operation.read:
    case Operation.write:
      entry.offset = request.fileOffset + request.done;
      entry.address = request.address + request.done;
      entry.length = request.length - request.done;
      return;
    case Operation.receive:
      entry.address =
        request.staged === undefined ? request.address : slotMemory.stagingAddress(request.slot);
      entry.length = request.length;
      entry.operationFlags = messageFlag.noSignal;
      return;
    case Operation.sendMessage:
      entry.address = slotMemory.writeMessage(request);
      entry.length = 1;
      entry.operationFlags = messageFlag.noSignal | messageFlag.waitAll;
      return;
    case Operation.fallocate:
      entry.offset = request.fileOffset;
      entry.address = request.length;
      entry.length = request.operationFlags;
      entry.operationFlags = 0;
      return;
    case Operation.connect:
      slotMemory.staging(request.slot, request.length).set(request.staged!);
      entry.offset = request.length;
      entry.address = slotMemory.stagingAddress(request.slot);
      return;
    default:
  }
}

/** Asks the kernel to give up the request with this `user_data`. */
export function describeCancel(entry: SubmissionEntry, userData: number, answerTo: number): void {
  entry.operation = Operation.asyncCancel;
  entry.ioPriority = 0;
  entry.fd = -1;
  entry.offset = 0;
  entry.address = userData;
  entry.length = 0;
  entry.operationFlags = 0;
  entry.userLow = answerTo;
  entry.userHigh = 0;
}

/** Operations that may wait for a peer for ever, and that the kernel gives up when asked. */
export function isSocketOperation(operation: Operation): boolean {
  return (
    operation === Operation.receive ||
    operation === Operation.sendMessage ||
    operation === Operation.accept ||
    operation === Operation.connect
  );
}
