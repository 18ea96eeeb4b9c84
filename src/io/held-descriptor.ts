import { assert } from '../block/assert.ts';
import { deviceError } from '../block/device-error.ts';
import { Errno } from '../block/errno.ts';
import type { DiskReopener } from './disk-reopener.ts';
import { closeAsync, type OpenedDescriptor } from './open-descriptor.ts';
import { OpenError } from './open-error.ts';
import { type RequestFailure, RequestLane } from './request-lane.ts';

/** How long a dead descriptor's requests may take to be answered before it is closed: the kernel fails them at once. */
export const reopenDrainMs = 5_000;

export interface HeldDescriptorOptions {
  readonly name: string;
  readonly descriptor: OpenedDescriptor;
  readonly queueDepthMax: number;
  readonly errorOf: (failure: RequestFailure) => Error;
  /** Undefined where there is nothing to open again. */
  readonly reopener: DiskReopener | undefined;
}

/**
 * The descriptor of one disk with its requests: open, absent while a dead one is being replaced (R32), closed. A descriptor
 * is closed only when the kernel has answered everything on it (I27).
 */
export class HeldDescriptor {
  /** Why no request is admitted, or undefined. */
  shut: 'absent' | 'cut' | 'closed' | undefined;
  lane: RequestLane;
  readonly #options: HeldDescriptorOptions;
  #isOpen = true;
  /** Requests of several steps under way, nested ones counted too. */
  #stepping = 0;
  #whenStepped: (() => void)[] = [];
  #reopening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  /** What is wrong with a file that was cut. */
  #cutText = '';

  constructor(options: HeldDescriptorOptions) {
    this.#options = options;
    this.lane = this.#newLane(options.descriptor.fd);
  }

  /** Runs a request of several steps so that closing waits for it, and still admits its next step, nested or not. */
  async inSteps<T>(steps: () => Promise<T>): Promise<T> {
    assert(
      this.shut === undefined || this.#stepping > 0,
      'HeldDescriptor: a request was admitted while shut',
    );
    this.#stepping += 1;
    try {
      return await steps();
    } finally {
      this.#stepping -= 1;
      if (this.#stepping === 0) for (const resolve of this.#whenStepped.splice(0)) resolve();
    }
  }

  /** Rejects what is asked for while `shut`. A flush has no range: it is about everything. */
  rejectShut(offset = 0, length: number = this.#options.descriptor.sizeBytes): Promise<never> {
    const { name } = this.#options;
    if (this.shut === 'closed') {
      return Promise.reject(deviceError(name, 'closed', offset, length, Errno.ESHUTDOWN));
    }
    const what = this.shut === 'cut' ? 'the file was cut' : 'the disk has gone';
    return Promise.reject(deviceError(name, 'path', offset, length, Errno.ENODEV, what));
  }

  /** Runs a look at the descriptor, which stays open meanwhile; not where it is closed or about to be. */
  async whileOpen(look: (fd: number) => Promise<void>): Promise<void> {
    if (this.shut === undefined || this.#stepping > 0) await this.inSteps(() => look(this.lane.fd));
  }

  /**
   * The file has lost its end while it was served. It is never admitted again: made as large again it would give zeros that
   * nobody wrote, and nothing here can tell them from what was there.
   */
  noteCut(hasBytes: number): void {
    const { sizeBytes } = this.#options.descriptor;
    this.#cutText =
      `was cut to ${hasBytes} bytes while it was served, had ${sizeBytes}: what lay behind is lost; ` +
      'remove the device and give the file its bytes back';
    if (this.shut !== 'closed') this.shut = 'cut';
  }

  /**
   * Replaces the descriptor by a new one on the same disk. Rejects with `OpenError`, and may be called again; a descriptor
   * whose disk is nowhere to be found stays as it is.
   */
  reopen(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  /** Why the descriptor does not stand on the disk that was opened, or undefined when it does. */
  async trouble(): Promise<string | undefined> {
    if (!this.#isOpen) return 'the disk has gone';
    if (this.shut === 'cut') return this.#cutText;
    return await this.#options.reopener?.trouble(this.lane.fd);
  }

  /** Resolves when nothing is in flight and the descriptor is closed; `released` is called in between. Idempotent. */
  close(released: () => void): Promise<void> {
    this.shut = 'closed';
    this.#closing ??= this.#close(released);
    return this.#closing;
  }

  async #reopen(): Promise<void> {
    const { name, reopener, descriptor } = this.#options;
    this.#refuseToReopen();
    if (reopener === undefined) throw new OpenError('OPEN_FAILED', name, 'cannot be opened again');
    const path = await reopener.find();
    this.#refuseToReopen();
    // From here on the old descriptor is given up: who comes meanwhile is refused (R32).
    this.shut = 'absent';
    await this.#letGo();
    const opened = await reopener.open(path, descriptor);
    this.lane = this.#newLane(opened.fd);
    this.#isOpen = true;
    if (this.#isAbsent()) this.shut = undefined;
  }

  /** Closes the old descriptor when the kernel has let go of its requests. Rejects with `OpenError` when it does not. */
  async #letGo(): Promise<void> {
    if (!this.#isOpen) return;
    const drained = this.#stepped().then(() => this.lane.close());
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), reopenDrainMs);
    });
    const first = await Promise.race([drained, late]);
    clearTimeout(timer);
    if (first === 'late') {
      const { inFlight } = this.lane;
      throw new OpenError(
        'OPEN_FAILED',
        this.#options.name,
        `the kernel has not answered ${inFlight} requests on the old descriptor yet`,
      );
    }
    await this.#closeDescriptor();
  }

  async #close(released: () => void): Promise<void> {
    // A reopening that is under way ends by itself, and leaves a descriptor to close, or none.
    await this.#reopening?.catch((error: unknown) => {
      if (!(error instanceof OpenError)) throw error;
    });
    await this.#stepped();
    await this.lane.close();
    released();
    await this.#closeDescriptor();
  }

  async #closeDescriptor(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    try {
      await closeAsync(this.lane.fd);
    } catch {
      // Nothing is left to lose: what was to be durable was flushed, and the descriptor is gone in any case.
    }
  }

  #stepped(): Promise<void> {
    if (this.#stepping === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenStepped.push(resolve);
    });
  }

  #refuseToReopen(): void {
    const { name } = this.#options;
    if (this.shut === 'closed') throw new OpenError('OPEN_FAILED', name, 'is closed');
    if (this.shut === 'cut') throw new OpenError('OPEN_FILE_CUT', name, this.#cutText);
  }

  /** A question of its own, for the answer changes while others are awaited. */
  #isAbsent(): boolean {
    return this.shut === 'absent';
  }

  #newLane(fd: number): RequestLane {
    const { descriptor, queueDepthMax, errorOf } = this.#options;
    return new RequestLane({
      fd,
      inFlightMax: queueDepthMax,
      alignmentBytes: descriptor.direct ? descriptor.logicalBlockBytes : 1,
      errorOf,
    });
  }
}
