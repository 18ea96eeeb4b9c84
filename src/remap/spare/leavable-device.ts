import type { BlockDevice, Capabilities, Extent, Geometry } from '../../block/block-device.ts';
import type { BufferArena } from '../../block/buffer-arena.ts';
import type { Clock, ScheduledAction } from '../../block/clock.ts';
import { asDeviceError, type DeviceError, deviceError } from '../../block/device-error.ts';
import { Errno, type FailureKind } from '../../block/errno.ts';

export interface LeavableDeviceOptions {
  readonly arena: BufferArena;
  /** One request without an answer for so long, and the device is left. Default: none, a client waits for its disk (R3). */
  readonly deadline?: { readonly clock: Clock; readonly ms: number };
}

interface Outstanding {
  readonly fail: (kind: FailureKind) => void;
  readonly timer: ScheduledAction | undefined;
}

/**
 * A disk that can be left while it still has requests: they reject at once, and so does all that comes later. So whoever waits for
 * a disk that hangs unwinds by the error, with all its locks and states, as if the disk had been pulled out. Memory stays lent
 * until the disk has really answered (I27), and what it still has may reach it at any time (R3): a disk that was left is asked
 * again only where that does no harm.
 */
export class LeavableDevice implements BlockDevice {
  readonly geometry: Geometry;
  readonly reopen?: () => Promise<void>;
  readonly #below: BlockDevice;
  readonly #arena: BufferArena;
  #deadline: LeavableDeviceOptions['deadline'];
  readonly #outstanding = new Set<Outstanding>();
  #left = false;

  constructor(below: BlockDevice, { arena, deadline }: LeavableDeviceOptions) {
    this.#below = below;
    this.geometry = below.geometry;
    this.#arena = arena;
    this.#deadline = deadline;
    const reopen = below.reopen?.bind(below);
    if (reopen !== undefined) this.reopen = () => this.#follow(0, this.geometry.sizeBytes, undefined, reopen);
  }

  get name(): string {
    return this.#below.name;
  }

  get capabilities(): Capabilities {
    return this.#below.capabilities;
  }

  get flushEpoch(): number | undefined {
    return this.#below.flushEpoch;
  }

  get isLeft(): boolean {
    return this.#left;
  }

  /** What it has not answered is `timed-out`: it may still be done. Idempotent. */
  leave(): void {
    if (this.#left) return;
    this.#left = true;
    for (const request of this.#outstanding) request.fail('timed-out');
  }

  /** It is asked again. */
  rejoin(): void {
    this.#left = false;
  }

  /** From the next request on it may take as long as it likes. */
  waitForEver(): void {
    this.#deadline = undefined;
  }

  read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#follow(offset, target.length, target, () => this.#below.read(target, offset, flags));
  }

  write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#follow(offset, source.length, source, () => this.#below.write(source, offset, flags));
  }

  flush(): Promise<void> {
    return this.#follow(0, this.geometry.sizeBytes, undefined, () => this.#below.flush());
  }

  discard(offset: number, length: number, flags?: number): Promise<void> {
    return this.#follow(offset, length, undefined, () => this.#below.discard(offset, length, flags));
  }

  writeZeroes(offset: number, length: number, flags?: number): Promise<void> {
    return this.#follow(offset, length, undefined, () => this.#below.writeZeroes(offset, length, flags));
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#follow(offset, length, undefined, () => this.#below.extents(offset, length));
  }

  /** Of a disk that was left nobody waits for anything. */
  async drained(offset: number, length: number): Promise<void> {
    if (this.#left || this.#below.drained === undefined) return;
    try {
      await this.#follow(offset, length, undefined, () => this.#below.drained!(offset, length));
    } catch (error) {
      asDeviceError(error);
    }
  }

  close(): Promise<void> {
    return this.#below.close();
  }

  #follow<T>(
    offset: number,
    length: number,
    buffer: Uint8Array | undefined,
    ask: () => Promise<T>,
  ): Promise<T> {
    if (this.#left) return Promise.reject(this.#away('path', offset, length));
    const held = buffer !== undefined && this.#arena.contains(buffer) ? buffer : undefined;
    if (held !== undefined) this.#arena.hold(held);
    return new Promise((resolve, reject) => {
      const request: Outstanding = {
        fail: (kind) => reject(this.#away(kind, offset, length)),
        timer: this.#deadline?.clock.schedule(this.#deadline.ms, () => this.leave()),
      };
      this.#outstanding.add(request);
      const end = (): void => {
        request.timer?.cancel();
        this.#outstanding.delete(request);
        if (held !== undefined) this.#arena.release(held);
      };
      void ask().then(
        (answer) => {
          end();
          resolve(answer);
        },
        (error: unknown) => {
          end();
          // Of one that was left nobody hears the answer; a bug must be heard all the same.
          if (this.#left) asDeviceError(error);
          reject(error);
        },
      );
    });
  }

  #away(kind: FailureKind, offset: number, length: number): DeviceError {
    const errno = kind === 'timed-out' ? Errno.ETIMEDOUT : Errno.ENOLINK;
    return deviceError(this.name, kind, offset, length, errno, 'it does not answer and is asked no more');
  }
}
