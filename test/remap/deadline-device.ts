import type { BlockDevice } from '../../src/block/block-device.ts';
import type { Clock } from '../../src/block/clock.ts';
import { deviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';

interface Zombie {
  readonly offset: number;
  readonly length: number;
  readonly ended: Promise<void>;
}

/** Gives up on requests after a time, as an engine does; what it gave up on is alive until the device below answers. */
export class DeadlineDevice extends FilterDevice {
  timeouts = 0;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #zombies = new Set<Zombie>();

  constructor(below: BlockDevice, clock: Clock, timeoutMs: number) {
    super(below);
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  get zombies(): number {
    return this.#zombies.size;
  }

  override readonly drained = async (offset: number, length: number): Promise<void> => {
    const alive = [...this.#zombies].filter(
      (one) => one.offset < offset + length && offset < one.offset + one.length,
    );
    await Promise.all(alive.map(({ ended }) => ended));
  };

  /** The target is the caller's again at the deadline, so a read below goes into memory of its own. */
  override async read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    const memory = new Uint8Array(target.length);
    await this.#within(super.read(memory, offset, flags), offset, target.length);
    target.set(memory);
  }

  override write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    return this.#within(super.write(source.slice(), offset, flags), offset, source.length);
  }

  #within(answer: Promise<void>, offset: number, length: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const deadline = this.#clock.schedule(this.#timeoutMs, () => {
        this.timeouts += 1;
        const zombie: Zombie = { offset, length, ended: answer.catch(() => undefined) };
        this.#zombies.add(zombie);
        void zombie.ended.then(() => this.#zombies.delete(zombie));
        reject(deviceError(this.name, 'timed-out', offset, length, Errno.ETIMEDOUT));
      });
      answer.then(resolve, reject).finally(() => deadline.cancel());
    });
  }
}
