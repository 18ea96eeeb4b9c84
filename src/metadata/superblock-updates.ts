import { assert } from '../block/assert.ts';
import { delay } from '../block/clock.ts';
import { asDeviceError, type DeviceError } from '../block/device-error.ts';
import type { DeviceProperties } from './device-properties.ts';
import type { MemberTable } from './member-table.ts';
import { MetadataError } from './metadata-error.ts';
import { encodeProperties } from './property-codec.ts';
import type { ReplicaSet, SharedChanges } from './replica-set.ts';
import { retryDelay, settleTimeoutMs } from './settle-retry.ts';
import type { SpareIo } from './spare-io.ts';
import { propertyBytesMax, type SharedFacts } from './superblock.ts';

/** Bytes of the properties that one more spare leaves to what a session adds: the stamp of main at its end is the largest. */
const laterPropertyBytes = 1024;

/** Changes of what all superblocks say, while commits and checkpoints go on. */
export class SuperblockUpdates {
  readonly #io: SpareIo;
  readonly #set: ReplicaSet;
  readonly #running = new Set<Promise<void>>();
  #ended = false;

  constructor(io: SpareIo, set: ReplicaSet) {
    this.#io = io;
    this.#set = set;
  }

  /** Two changes at the same time both take effect. */
  properties(change: Partial<DeviceProperties>): Promise<void> {
    return this.#track((shared) => {
      const area = { ...shared.properties, properties: { ...shared.properties.properties, ...change } };
      encodeProperties(area, propertyBytesMax);
      return { properties: area };
    });
  }

  /**
   * The spares beside this one are others from now on. Records may name what lies on a new one once this has resolved. With
   * `lostRangesMax` granules without a slot have so much room; the rest is for slots.
   */
  members(change: (before: MemberTable | undefined) => MemberTable, lostRangesMax?: number): Promise<void> {
    return this.#track(({ layout, properties: before }) => {
      const members = change(before.members);
      const properties = { ...before, members };
      const isMore = members.members.length > (before.members?.members.length ?? 0);
      encodeProperties(properties, propertyBytesMax - (isMore ? laterPropertyBytes : 0));
      assert(members.rowBytes >= layout.rowBytes, 'no record comes to lie behind the end of the row');
      return { properties, layout: layout.withRow(members.rowBytes, lostRangesMax) };
    });
  }

  /** M21: main has grown; records may name what lies behind its old end once this has resolved. */
  mainSize(mainSizeBytes: number): Promise<void> {
    return this.#track(({ layout, logicalBlockBytes }) => {
      assert(mainSizeBytes % logicalBlockBytes === 0, 'main is whole logical blocks');
      if (mainSizeBytes < layout.mainSizeBytes) throw shrunk(layout.mainSizeBytes, mainSizeBytes);
      return { layout: layout.withMainSize(mainSizeBytes) };
    });
  }

  /** No attempt is made any more; resolves when none runs. */
  async ended(): Promise<void> {
    this.#ended = true;
    await Promise.allSettled(this.#running);
  }

  async #track(changesOf: (shared: SharedFacts) => SharedChanges): Promise<void> {
    const update = this.#update(changesOf);
    this.#running.add(update);
    try {
      await update;
    } finally {
      this.#running.delete(update);
    }
  }

  async #update(changesOf: (shared: SharedFacts) => SharedChanges): Promise<void> {
    const { clock } = this.#io;
    const sinceMs = clock.nowMs();
    // A superblock that may still arrive may land on the one that is written now; the next write would then take the last good one.
    if (this.#set.hasLateWrite) throw lateError();
    for (;;) {
      let failure: DeviceError;
      try {
        await this.#set.update(changesOf);
        return;
      } catch (error) {
        if (error instanceof MetadataError) throw error;
        failure = asDeviceError(error);
      }
      const passedMs = clock.nowMs() - sinceMs;
      if (this.#ended || this.#set.hasLateWrite || passedMs >= settleTimeoutMs) throw notStored(failure);
      await delay(clock, retryDelay(passedMs));
    }
  }
}

function notStored(failure: DeviceError): MetadataError {
  return new MetadataError(
    'METADATA_FAILED',
    `the superblocks of the spare cannot be written (${failure.message}): the change may be gone after a restart; try again when the spare answers`,
    failure,
  );
}

function lateError(): MetadataError {
  return new MetadataError(
    'METADATA_FAILED',
    'a superblock of the spare was never answered: nothing more is stored there in this session; assemble the device again',
  );
}

function shrunk(nowBytes: number, askedBytes: number): MetadataError {
  return new MetadataError(
    'METADATA_MAIN_SHRUNK',
    `main has ${askedBytes} bytes, expected at least ${nowBytes}: what lies behind its end may be remapped; give it back its size`,
  );
}
