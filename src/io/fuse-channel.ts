/**
 * One connection to the kernel's FUSE file system: whole requests come out, whole replies go in. Nothing here waits: the kernel
 * keeps requests until they are taken, and takes a reply at once.
 */
export interface FuseChannel {
  /** For logs and events. */
  readonly peer: string;
  /** Where `receive` puts a request: room for the largest. Overwritten by the next `receive`. */
  readonly incoming: Uint8Array;
  /** Bytes of the next request, 0 when there is none now, -1 when the kernel has let go of the file for good. */
  receive(): number;
  /** Sends one reply: its header and what is small, then the data of a read. A request that is no more is nobody's loss. */
  reply(head: Uint8Array, data?: Uint8Array): void;
  /** Calls `onReadable` once when there is a request, or the kernel has let go. Not after `close`. */
  watchOnce(onReadable: () => void): void;
  /** Somebody has the file open: what kept it reachable until then may go. Idempotent. */
  opened(): void;
  /** The kernel answers what it still has with an error. Idempotent. */
  close(): void;
}
