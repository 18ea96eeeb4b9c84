import assert from 'node:assert/strict';
import { Errno } from '../../src/block/errno.ts';
import type { SpareLayout } from '../../src/metadata/layout.ts';
import { MetadataError } from '../../src/metadata/metadata-error.ts';
import type { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { CrashModel } from './crash-model.ts';
import { LateWrites } from './late-writes.ts';
import { type OpenDevice, TestSpare, tableOf } from './metadata-fixture.ts';

const sessionsMax = 4;
const callsPerSession = 60;
/** Device operations of a session before its power cut, and of an opening before its own. */
const operationsMax = 600;
const openingOperationsMax = 90;

/** As many as one request is sent again (R15). */
const transientMax = 3;

/** What is wrong with the spare in one session. */
const troubles = ['nothing', 'bad-replica', 'flush', 'path', 'late', 'late', 'transient'] as const;

/** What one story was made of. */
export interface CrashStoryOutcome {
  readonly cuts: number;
  readonly acknowledgedCalls: number;
  readonly givenUpCalls: number;
}

/**
 * A store that commits while its spare fails in all ways that the metadata must survive, and the power goes again and
 * again: also while it opens, and with all replicas but one destroyed afterwards. Throws when an acknowledged record is
 * missing, a call is there in part, or the spare is refused although an in-sync replica is whole.
 */
export async function crashStory(seed: number): Promise<CrashStoryOutcome> {
  const story = new CrashStory(seed);
  try {
    return await story.run();
  } finally {
    await story.end();
  }
}

class CrashStory {
  readonly #spare: TestSpare;
  readonly #random: SeededRandom;
  readonly #model: CrashModel;
  /** The one replica that gets bad sectors or is destroyed: with two, nothing would be promised. */
  readonly #victim: number;
  #broken = false;
  /** The last session broke the victim and nothing was opened since: its superblocks, if any, are old. */
  #leftBehind = false;
  /** Writes that are still to be answered as timed out, and when they then arrive. */
  #lateWrites = 0;
  #lateMs = 0;
  #cuts = 0;
  /** Ends the session that runs. */
  #onGone: () => void = () => {};

  constructor(seed: number) {
    this.#spare = new TestSpare({ seed });
    this.#random = this.#spare.random.fork('story');
    this.#model = new CrashModel(this.#spare.random.fork('model'));
    this.#victim = this.#random.below(2);
  }

  async run(): Promise<CrashStoryOutcome> {
    await this.#spare.create();
    const sessions = 1 + this.#random.below(sessionsMax);
    let layout: SpareLayout | undefined;
    for (let session = 0; session < sessions && !this.#leftBehind; session += 1) {
      layout = await this.#session();
    }
    if (layout !== undefined && this.#broken) {
      if (this.#random.chance(0.5)) await this.#openingCut();
      await this.#loseGoodReplica(layout);
    } else {
      await this.#open();
    }
    const { acknowledgedCalls, givenUpCalls } = this.#model;
    return { cuts: this.#cuts, acknowledgedCalls, givenUpCalls };
  }

  end(): Promise<void> {
    return this.#spare.end();
  }

  async #session(): Promise<SpareLayout> {
    const device = await this.#open();
    const { layout } = device.opened;
    const trouble = this.#random.pick(troubles);
    const gone = this.#willCutWithin(this.#random.pick([operationsMax / 6, operationsMax]));
    this.#spare.generationClock.schedule(this.#random.below(40), () => this.#begin(trouble, layout));
    await Promise.race([gone, this.#model.work(device, callsPerSession)]);
    const inSync = device.store.status().replicasInSync;
    this.#cut();
    this.#leftBehind = trouble === 'bad-replica' && this.#random.chance(0.5);
    if (this.#leftBehind) return layout;
    while (this.#random.chance(0.4)) await this.#openingCut();
    // A late write may have cost the other replica its membership.
    const mayLose = trouble !== 'late' || inSync === layout.replicas.length;
    if (mayLose && this.#random.chance(this.#broken ? 0.1 : 0.4)) this.#destroy(layout, this.#victim);
    return layout;
  }

  #willCutWithin(operations: number): Promise<void> {
    return new Promise((resolve) => {
      this.#onGone = resolve;
      void this.#spare.cutAfter(1 + this.#random.below(operations)).then(resolve);
    });
  }

  #begin(trouble: (typeof troubles)[number], layout: SpareLayout): void {
    const { faults } = this.#spare.disk;
    const clock = this.#spare.generationClock;
    if (trouble === 'bad-replica') this.#breakPart(layout);
    if (trouble === 'flush') faults.failFlush('once');
    if (trouble === 'transient') faults.failNext(1 + this.#random.below(transientMax));
    if (trouble === 'path') {
      faults.setPathError(Errno.ENOLINK);
      clock.schedule(this.#random.between(1, 400), () => faults.setPathError(undefined));
    }
    if (trouble === 'late') {
      this.#lateWrites = this.#random.pick([1, 2, 2, 3]);
      this.#lateMs = this.#random.between(5, 200);
      // What a late write destroys must be looked at before the next checkpoint makes it unimportant.
      clock.schedule(
        this.#lateMs,
        () => void this.#spare.cutAfter(1 + this.#random.below(60)).then(this.#onGone),
      );
    }
  }

  #takeLateMs(): number | undefined {
    if (this.#lateWrites === 0) return undefined;
    this.#lateWrites -= 1;
    return this.#lateMs;
  }

  /** Some blocks of one replica can no longer be written. */
  #breakPart(layout: SpareLayout): void {
    this.#broken = true;
    const place = layout.replicas[this.#victim]!;
    const { faults } = this.#spare.disk;
    const one = this.#random.pick([...place.journalOffsets, ...place.areaOffsets]);
    const journals = this.#random.chance(0.5);
    const blocks = journals ? layout.journalBlocks : 1;
    for (const offset of journals ? place.journalOffsets : [one]) {
      faults.addBadSectors(offset / 512, blocks * 8, { on: 'write' });
    }
  }

  #cut(): void {
    this.#spare.onOperation = () => {};
    this.#lateWrites = 0;
    this.#spare.disk.faults.setPathError(undefined);
    this.#spare.disk.faults.failFlush('never');
    if (this.#random.chance(0.2)) this.#spare.kill();
    else this.#spare.powerCut();
    this.#cuts += 1;
  }

  /** M2: with the in-sync replicas gone, one that was left behind is refused, or it has everything. */
  async #loseGoodReplica(layout: SpareLayout): Promise<void> {
    this.#destroy(layout, 1 - this.#victim);
    try {
      this.#model.check(tableOf((await this.#spare.open()).records));
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
    }
  }

  async #open(): Promise<OpenDevice> {
    const device = await this.#openSettled();
    this.#model.check(device.table);
    return device;
  }

  async #openSettled(): Promise<OpenDevice> {
    try {
      return await this.#spare.openSettled({
        wrap: (below) => new LateWrites(below, this.#spare.generationClock, () => this.#takeLateMs()),
      });
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      assert.fail(`the spare is refused though a whole replica was in sync: ${error.code} ${error.message}`);
    }
  }

  /** The power goes again while the spare is opened and settled. */
  async #openingCut(): Promise<void> {
    const gone = this.#spare.cutAfter(1 + this.#random.below(openingOperationsMax));
    await Promise.race([gone, this.#open()]);
    this.#cut();
  }

  /** One replica is overwritten with garbage: superblocks, areas and journals. */
  #destroy(layout: SpareLayout, victim: number): void {
    // After a kill the disk still has a cache.
    this.#spare.powerCut();
    const place = layout.replicas[victim]!;
    const garbage = (offset: number, blocks: number): void => {
      const bytes = new Uint8Array(blocks * 4096);
      this.#random.fill(bytes);
      this.#spare.disk.load(bytes, offset);
    };
    garbage(place.superblockOffset, 2);
    for (const offset of place.areaOffsets) garbage(offset, layout.areaBlocks);
    for (const offset of place.journalOffsets) garbage(offset, layout.journalBlocks);
  }
}
