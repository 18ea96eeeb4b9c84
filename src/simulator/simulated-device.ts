import {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type Geometry,
  IoFlags,
  rejectInvalid,
} from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import { deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import { RequestGate } from '../block/request-gate.ts';
import type { OperationKind } from './operation-counter.ts';

/** What an opening needs of its disk. */
export interface DiskBelow {
  readonly name: string;
  readonly geometry: Geometry;
  readonly capabilities: Capabilities;
  /** One checked request: settles under virtual time, or never. `done`: the buffer is touched no more. */
  submit(
    kind: OperationKind,
    offset: number,
    length: number,
    flags: number,
    buffer: Uint8Array | undefined,
    done: () => void,
  ): Promise<void>;
  /** The disk is there, and is the one that was opened. */
  readonly plugged: boolean;
  /** Another disk that is in its place. */
  readonly otherInItsPlace: DiskBelow | undefined;
  /** Resolves when no request on the range that was answered by its deadline is alive. */
  drained(offset: number, length: number): Promise<void>;
}

/** What a power cut and a kill leave of a request: no answer, ever. */
function pendingForEver<T>(): Promise<T> {
  return new Promise(() => {});
}

/** One opening of a simulated disk by one process. After a power cut or a kill it never answers again. */
export class SimulatedDevice implements BlockDevice {
  readonly #disk: DiskBelow;
  readonly #arena: BufferArena | undefined;
  readonly #gate = new RequestGate();
  #abandoned = false;
  #lost = false;

  /** Use `SimulatedDisk.open`. */
  constructor(disk: DiskBelow, arena?: BufferArena) {
    this.#disk = disk;
    this.#arena = arena;
  }

  get name(): string {
    return this.#disk.name;
  }

  get geometry(): Geometry {
    return this.#disk.geometry;
  }

  get capabilities(): Capabilities {
    return this.#disk.capabilities;
  }

  /** Requests of this opening that the disk is not done with. */
  get inFlight(): number {
    return this.#gate.inFlight;
  }

  read(target: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    return this.#submit('read', offset, target.length, flags, target);
  }

  write(source: Uint8Array, offset: number, flags: number = IoFlags.none): Promise<void> {
    const { write, fua } = this.capabilities;
    const supported = write && (fua || (flags & IoFlags.fua) === 0);
    return this.#submit('write', offset, source.length, flags, source, supported);
  }

  flush(): Promise<void> {
    const { flush } = this.capabilities;
    return this.#submit('flush', 0, this.geometry.sizeBytes, IoFlags.none, undefined, flush);
  }

  discard(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    return this.#submit('discard', offset, length, flags, undefined, this.capabilities.discard);
  }

  writeZeroes(offset: number, length: number, flags: number = IoFlags.none): Promise<void> {
    const { writeZeroes, fastZeroes } = this.capabilities;
    const supported = writeZeroes && (fastZeroes || (flags & IoFlags.onlyIfFast) === 0);
    return this.#submit('write-zeroes', offset, length, flags, undefined, supported);
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    if (this.#abandoned) return pendingForEver();
    if (this.#gate.closed) return this.#rejectClosed(offset, length);
    return rejectInvalid(this, offset, length) ?? Promise.resolve([{ length, state: 'data' }]);
  }

  drained(offset: number, length: number): Promise<void> {
    return this.#disk.drained(offset, length);
  }

  /** Opens the disk again after it was unplugged (R32): only when it is there, and the same. */
  reopen(): Promise<void> {
    if (this.#abandoned) return pendingForEver();
    if (this.#gate.closed) return this.#rejectClosed(0, this.geometry.sizeBytes);
    if (!this.#disk.plugged) return this.#asked();
    this.#lost = false;
    return Promise.resolve();
  }

  close(): Promise<void> {
    return this.#abandoned ? pendingForEver() : this.#gate.close();
  }

  /** For `SimulatedDisk`: the process that opened this device is gone. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** For `SimulatedDisk`: it was pulled out. */
  lose(): void {
    this.#lost = true;
  }

  /** What is in its place is opened and asked who it is, as it is done with real disks: it is another one, or nothing. */
  async #asked(): Promise<never> {
    const other = this.#disk.otherInItsPlace;
    if (other !== undefined) {
      const label = new Uint8Array(other.geometry.logicalBlockBytes);
      await other.submit('read', 0, label.length, IoFlags.none, label, () => undefined);
    }
    return await this.#rejectGone(0, this.geometry.sizeBytes);
  }

  #submit(
    kind: OperationKind,
    offset: number,
    length: number,
    flags: number,
    buffer: Uint8Array | undefined,
    supported = true,
  ): Promise<void> {
    if (this.#abandoned) return pendingForEver();
    if (this.#gate.closed) return this.#rejectClosed(offset, length);
    const refusal = rejectInvalid(this, offset, length);
    if (refusal !== undefined) return refusal;
    if (!supported) return this.#rejectUnsupported(offset, length);
    if (this.#lost) return this.#rejectGone(offset, length);
    this.#gate.enter();
    // Held until the disk is done with it, whatever a deadline said: a late answer must find nobody else there (I27).
    const held = buffer !== undefined && this.#arena?.contains(buffer) === true ? buffer : undefined;
    if (held !== undefined) this.#arena?.hold(held);
    return this.#disk.submit(kind, offset, length, flags, buffer, () => this.#done(held));
  }

  #done(held: Uint8Array | undefined): void {
    if (held !== undefined) this.#arena?.release(held);
    // After the caller's own reaction, so that `close` never resolves before the last answer.
    void Promise.resolve().then(() => this.#gate.leave());
  }

  #rejectClosed(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'closed', offset, length, Errno.ESHUTDOWN));
  }

  #rejectGone(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'path', offset, length, Errno.ENODEV));
  }

  #rejectUnsupported(offset: number, length: number): Promise<never> {
    return Promise.reject(deviceError(this.name, 'unsupported', offset, length, Errno.EOPNOTSUPP));
  }
}
