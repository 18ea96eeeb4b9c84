import type { BlockDevice } from '../../src/block/block-device.ts';
import { deviceError } from '../../src/block/device-error.ts';
import type { FailureKind } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';

/** Fails every read and write that touches a range of bytes, and counts how often it did. A read gives all other bytes. */
export class FailingDevice extends FilterDevice {
  readonly #offset: number;
  readonly #length: number;
  kind: FailureKind = 'medium';
  failures = 0;

  constructor(below: BlockDevice, offset: number, length: number) {
    super(below);
    this.#offset = offset;
    this.#length = length;
  }

  override async read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    await this.below.read(target, offset, flags);
    await this.#failure(offset, target.length);
  }

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#failure(offset, source.length) ?? this.below.write(source, offset, flags);
  }

  #failure(offset: number, length: number): Promise<never> | undefined {
    if (offset >= this.#offset + this.#length || offset + length <= this.#offset) return undefined;
    this.failures += 1;
    const from = Math.max(offset, this.#offset);
    const to = Math.min(offset + length, this.#offset + this.#length);
    return Promise.reject(deviceError(this.name, this.kind, from, to - from));
  }
}

/** Says, when it is told to, that a flush below has failed. */
export class DoubtfulDevice extends FilterDevice {
  failedFlushes = 0;

  override get flushEpoch(): number {
    return this.failedFlushes;
  }
}

/** Records every call, and lets none through until it is released. */
export class HeldDevice extends FilterDevice {
  /** In order of the calls: `read 0 512`, `write 512 512 fua`, `flush`, `discard 0 512`, `zero 0 512 fua keep fast`. */
  readonly calls: string[] = [];
  #held: (() => void)[] = [];
  #open = false;
  inFlight = 0;
  inFlightMax = 0;

  override read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#pass(`read ${offset} ${target.length}`, () => this.below.read(target, offset, flags));
  }

  override write(source: Uint8Array, offset: number, flags = 0): Promise<void> {
    const fua = (flags & 1) === 0 ? '' : ' fua';
    return this.#pass(`write ${offset} ${source.length}${fua}`, () =>
      this.below.write(source, offset, flags),
    );
  }

  override flush(): Promise<void> {
    return this.#pass('flush', () => this.below.flush());
  }

  override discard(offset: number, length: number, flags?: number): Promise<void> {
    return this.#pass(`discard ${offset} ${length}`, () => this.below.discard(offset, length, flags));
  }

  override writeZeroes(offset: number, length: number, flags = 0): Promise<void> {
    const names = ['fua', 'keep', 'fast'].filter((_, bit) => (flags & (1 << bit)) !== 0);
    return this.#pass(['zero', offset, length, ...names].join(' '), () =>
      this.below.writeZeroes(offset, length, flags),
    );
  }

  /** Lets the oldest held call through. */
  releaseOne(): void {
    this.#held.shift()?.();
  }

  /** Lets the newest held call through. */
  releaseNewest(): void {
    this.#held.pop()?.();
  }

  /** Lets everything through, from now on. */
  releaseAll(): void {
    this.#open = true;
    for (const release of this.#held) release();
    this.#held = [];
  }

  async #pass(call: string, action: () => Promise<void>): Promise<void> {
    this.calls.push(call);
    this.inFlight += 1;
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight);
    if (!this.#open) {
      await new Promise<void>((resolve) => {
        this.#held.push(resolve);
      });
    }
    try {
      await action();
    } finally {
      this.inFlight -= 1;
    }
  }
}

/** Reads from a place on hang until they are let go, in order; all before it is served at once. */
export class HangingDevice extends FilterDevice {
  readonly #from: number;
  readonly #hung: (() => void)[] = [];
  #open = false;
  /** Reads that hang or have hung. */
  calls = 0;

  constructor(below: BlockDevice, from: number) {
    super(below);
    this.#from = from;
  }

  override async read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    if (offset >= this.#from && !this.#open) {
      this.calls += 1;
      await new Promise<void>((resolve) => {
        this.#hung.push(resolve);
      });
    }
    await this.below.read(target, offset, flags);
  }

  /** Lets the oldest ones through. */
  release(count: number): void {
    for (const letGo of this.#hung.splice(0, count)) letGo();
  }

  /** Lets everything through, from now on. */
  releaseAll(): void {
    this.#open = true;
    this.release(this.#hung.length);
  }
}
