import { apart, type BlockDevice } from '../../block/block-device.ts';
import { delay } from '../../block/clock.ts';
import { noSlot, StateCause } from '../../metadata/mapping-state.ts';
import { relocationBufferBytes } from '../move/move-memory.ts';
import { leaveSlot, readSlot } from '../move/relocation.ts';
import type { RemapCore } from '../remap-core.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { sectorCountOf } from '../table/sector-mask.ts';
import { CopiedSlots } from './copied-slots.ts';
import { ReplacementError } from './replacement-error.ts';

/** Entries of the table looked at between two turns of the event loop: about 1 ms. */
const entriesPerSlice = 4096;

/**
 * Copies what granules have on the spare to a disk that is to take over, slot by slot, to the same places. A slot is read
 * under its granule's lock and written behind it, so that nobody ever waits for the new disk; a slot that changes is copied
 * again.
 */
export class SpareCopy {
  readonly #core: RemapCore;
  readonly #target: BlockDevice;
  readonly #copied: CopiedSlots;
  /** Sectors that the old spare could not give: they are gone. */
  goneSectors = 0;

  constructor(core: RemapCore, target: BlockDevice) {
    this.#core = core;
    this.#target = target;
    const { spare, granuleBytes } = core.parts;
    this.#copied = new CopiedSlots(Math.floor(spare.geometry.sizeBytes / granuleBytes), granuleBytes);
  }

  /** Bytes of the old spare are about to change. */
  forget(offset: number, length: number): void {
    this.#copied.forget(offset, length);
  }

  /** Used slots that are not copied, or have changed since. */
  async countLeft(): Promise<number> {
    let left = 0;
    await this.#each((state) => {
      if (this.#isHomes(state) && !this.#copied.has(state.slot)) left += 1;
      return Promise.resolve();
    });
    return left;
  }

  /** One pass over the table. Rejects with `ReplacementError`, or `DeviceError` of the new disk. */
  async pass(stopped: () => boolean, onCopied: () => void): Promise<void> {
    await this.#each(async (state) => {
      if (!this.#isHomes(state) || this.#copied.has(state.slot)) return;
      if (stopped()) throw new ReplacementError('the device was closed meanwhile');
      if (await this.#copy(state.granule)) onCopied();
    });
  }

  /** Other spares stay where they are. */
  #isHomes({ slot }: GranuleState): boolean {
    return slot !== noSlot && this.#core.spares.home.hasSlot(slot);
  }

  async #each(visit: (state: GranuleState) => Promise<void>): Promise<void> {
    const { table, parts } = this.#core;
    let visited = 0;
    let state = table.atOrAfter(0);
    while (state !== undefined) {
      await visit(state);
      visited += 1;
      if (visited % entriesPerSlice === 0) await delay(parts.clock, 0);
      state = table.atOrAfter(state.granule + 1);
    }
  }

  /** False when the granule has no slot there any more. */
  async #copy(granule: number): Promise<boolean> {
    const { arena, granuleBytes } = this.#core.parts;
    const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
    try {
      const slot = await this.#take(granule, memory);
      if (slot === undefined) return false;
      await this.#store(slot, memory);
      return true;
    } finally {
      arena.release(memory);
    }
  }

  /**
   * What the slot of this granule holds, into the first granule of `memory`. From here on a change of it is seen: whoever
   * changes it waits for the lock, and is told of by `forget`.
   */
  async #take(granule: number, memory: Uint8Array): Promise<number | undefined> {
    const { locks, parts } = this.#core;
    const { granuleBytes } = parts;
    const lock = await locks.acquire(granule, granule);
    try {
      const state = this.#core.stateOf(granule);
      if (!this.#isHomes(state)) return undefined;
      const content = memory.subarray(0, granuleBytes);
      const { saved, failure } = await this.#read(state, content, memory.subarray(2 * granuleBytes));
      if (failure)
        throw new ReplacementError(
          'the old spare does not answer: try again when it does, or give it up (--give-up)',
        );
      if (saved !== state.held && !(await this.#recordGone(state, saved))) return undefined;
      this.#copied.add(state.slot);
      return state.slot;
    } finally {
      locks.release(lock);
    }
  }

  async #read(
    state: GranuleState,
    content: Uint8Array,
    probeMemory: Uint8Array,
  ): Promise<{ saved: number; failure: boolean }> {
    if (state.held === 0) {
      content.fill(0);
      return { saved: 0, failure: false };
    }
    const { saved, failure } = await readSlot(this.#core, state.slot, state.held, content, probeMemory);
    return { saved, failure: failure !== undefined };
  }

  /** R4, R5: durable before anybody is told. False when the granule has given up its slot. */
  async #recordGone(state: GranuleState, saved: number): Promise<boolean> {
    const lost = (state.held & ~saved) >>> 0;
    const kept: GranuleState = {
      ...state,
      held: saved,
      gone: (state.gone | lost) >>> 0,
      cause: StateCause.spareError,
      unixSeconds: Math.floor(this.#core.parts.clock.unixMs() / 1000),
    };
    const leaves = saved === 0 && this.#core.roomWithoutSlot(kept);
    await this.#core.commitMarks([recordOf(leaves ? { ...kept, slot: noSlot } : kept)]);
    this.goneSectors += sectorCountOf(lost);
    if (leaves) leaveSlot(this.#core, state, true);
    return !leaves;
  }

  /** R24: what is written to a slot for the first time is read back. All of it is flushed before anything depends on it. */
  async #store(slot: number, memory: Uint8Array): Promise<void> {
    const { granuleBytes } = this.#core.parts;
    const content = memory.subarray(0, granuleBytes);
    const readBack = memory.subarray(granuleBytes, 2 * granuleBytes);
    const offset = slot * granuleBytes;
    await this.#target.write(content, offset, apart(slot));
    if (!this.#core.verifiesSlots) return;
    await this.#target.read(readBack, offset, apart(slot));
    if (Buffer.compare(content, readBack) === 0) return;
    throw new ReplacementError(
      `the new spare does not keep what it is given, at byte ${offset}: use another one`,
    );
  }
}
