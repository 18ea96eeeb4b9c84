import { assert } from '../block/assert.ts';
import { asDeviceError, type DeviceError } from '../block/device-error.ts';
import { sameBytes } from './block-checksum.ts';
import { blockBytes } from './block-size.ts';
import type { ReplicaPlace } from './layout.ts';
import { Mutex } from './mutex.ts';
import { fenceReplica } from './replica-fence.ts';
import { isPlaceFault, mismatch, type SpareIo } from './spare-io.ts';
import { type CheckpointFacts, decodeSuperblock, encodeSuperblock, type SharedFacts } from './superblock.ts';

/**
 * - `in-sync`  has every acknowledged record; every new one must reach it
 * - `joining`  gets every new record, and with the checkpoint that is being written all others
 * - `out`      is in no set; a generation that is written may take it in
 * - `failed`   failed in this session; not written but for taking its superblocks away, until it is taken in again
 */
export type ReplicaState = 'in-sync' | 'joining' | 'out' | 'failed';

/** One replica as this session knows it. */
export interface Replica {
  readonly index: number;
  readonly place: ReplicaPlace;
  state: ReplicaState;
  /** Slot of the newest superblock that is durable; the next one goes to the other. */
  slot: 0 | 1;
  /** The other slot may hold a superblock, and point at an area, that was never confirmed. */
  slotInDoubt: boolean;
  /** The durable checkpoint: its area is not written. */
  checkpoint: CheckpointFacts;
  /** A write to it passed its deadline and may still arrive: it is never taken in again (R3). */
  late: boolean;
  /** It keeps a superblock that cannot be overwritten, and cannot be opened with it: not taken in again in this session. */
  fenced: boolean;
}

/** What this session knew of the replicas of a disk that it was about to leave. */
export interface ReplicasBefore {
  readonly replicas: readonly Readonly<Replica>[];
  readonly shared: SharedFacts;
  readonly consistent: boolean;
  readonly reachedSequence: number;
  readonly lateWrite: boolean;
}

export type SharedChanges = Partial<Pick<SharedFacts, 'cleanlyClosed' | 'properties' | 'layout'>>;

/**
 * Who is in sync, and the superblocks that say so (M2). All superblock writes of a session go through here, one after the
 * other, each with a higher revision. What is in memory changes only when it is durable, but for `failed`: a replica that
 * failed takes no part from that moment, and `isConsistent` is false until the spare says so too.
 */
export class ReplicaSet {
  readonly replicas: readonly Replica[];
  readonly #io: SpareIo;
  readonly #mutex = new Mutex();
  #shared: SharedFacts;
  #consistent = true;
  #reachedSequence = 0;
  #lateWrite = false;
  #sentSuperblock = false;

  constructor(io: SpareIo, replicas: readonly Replica[], shared: SharedFacts) {
    this.#io = io;
    this.replicas = replicas;
    this.#shared = shared;
  }

  get shared(): SharedFacts {
    return this.#shared;
  }

  inSync(): Replica[] {
    return this.replicas.filter((replica) => replica.state === 'in-sync');
  }

  /** Replicas that new records go to. */
  writable(): Replica[] {
    return this.replicas.filter(({ state }) => state === 'in-sync' || state === 'joining');
  }

  /** False while a replica has failed that the superblocks still name, or whose own superblocks may still be there. */
  get isConsistent(): boolean {
    return this.#consistent;
  }

  /**
   * A superblock passed its deadline and may still arrive, over whatever is written there next (R3): this session can
   * promise nothing about superblocks any more.
   */
  get hasLateWrite(): boolean {
    return this.#lateWrite;
  }

  /** Takes a replica out of everything from now on. `excludeFailed` makes it durable. */
  markFailed(replica: Replica, failure?: DeviceError): void {
    replica.state = 'failed';
    replica.late ||= failure?.kind === 'timed-out';
    this.#consistent = false;
  }

  /**
   * Lets replicas join that have left the set durably. What they held counts for nothing any more, so the area that was not
   * written last is used this time: the other one may be what failed.
   */
  takeIn(): Replica[] {
    assert(this.#consistent, 'a replica comes back after its leaving is durable');
    const joining = this.replicas.filter(mayComeBack);
    for (const replica of joining) {
      replica.state = 'joining';
      this.#forgetContents(replica);
    }
    return joining;
  }

  /**
   * Lets failed replicas be written again for a generation that is above everything they hold: first those that the
   * superblocks still call members. They have all that was acknowledged, and their checkpoints stay what may be opened.
   */
  reviveFailed(): Replica[] {
    const isMember = ({ index }: Replica): boolean => (this.#shared.inSyncMask & (1 << index)) !== 0;
    const revived = this.replicas.filter(mayComeBack);
    for (const replica of revived) {
      replica.state = 'out';
      if (!isMember(replica)) this.#forgetContents(replica);
    }
    return revived.sort((a, b) => Number(isMember(b)) - Number(isMember(a)));
  }

  /**
   * The spare is another disk now, whose superblocks and journals are empty: nothing that happened to the replicas of the old
   * one counts any more. Each becomes a member with its first superblock. `exchange` puts the other disk in place: between two
   * superblocks, so that none goes to the wrong disk. Resolves to what `returnTo` takes.
   */
  beginAnew(exchange: () => void): Promise<ReplicasBefore> {
    return this.#mutex.run(() => {
      exchange();
      const before: ReplicasBefore = {
        replicas: this.replicas.map((replica) => ({ ...replica })),
        shared: this.#shared,
        consistent: this.#consistent,
        reachedSequence: this.#reachedSequence,
        lateWrite: this.#lateWrite,
      };
      for (const replica of this.replicas) {
        replica.state = 'out';
        replica.slotInDoubt = false;
        replica.late = false;
        replica.fenced = false;
      }
      this.#consistent = true;
      this.#lateWrite = false;
      this.#sentSuperblock = false;
      return Promise.resolve(before);
    });
  }

  /** No replica is a member: nothing writes a superblock before a generation, or `returnTo`, makes them members again. */
  withdraw(): Promise<void> {
    return this.#mutex.run(() => {
      for (const replica of this.replicas) if (replica.state !== 'failed') replica.state = 'out';
      return Promise.resolve();
    });
  }

  /** The spare is the disk again that it was at `beginAnew`, to which nothing was written since. What is to be said stays. */
  returnTo({ replicas, shared, consistent, reachedSequence, lateWrite }: ReplicasBefore): Promise<void> {
    return this.#mutex.run(() => {
      replicas.forEach((before, at) => {
        Object.assign(this.replicas[at]!, before);
      });
      const { inSyncMask, membershipEpoch } = shared;
      this.#shared = { ...this.#shared, inSyncMask, membershipEpoch };
      this.#consistent = consistent;
      this.#reachedSequence = reachedSequence;
      this.#lateWrite = lateWrite;
      return Promise.resolve();
    });
  }

  /** Since `beginAnew` a superblock was sent to the disk: it may be there. */
  get sentSuperblock(): boolean {
    return this.#sentSuperblock;
  }

  /** No superblock of this replica counts, so no area of it must be kept. */
  #forgetContents(replica: Replica): void {
    const area = replica.checkpoint.area === 0 ? 1 : 0;
    replica.checkpoint = { ...replica.checkpoint, area };
    replica.slotInDoubt = false;
  }

  /** Every replica in sync has the journal up to here, durably: superblocks written from now on say so. */
  noteReached(sequence: number): void {
    this.#reachedSequence = sequence;
  }

  /** What the next superblocks say; durable with the next of them. */
  change(changes: SharedChanges): void {
    this.#shared = { ...this.#shared, ...changes };
  }

  /**
   * Makes `checkpoint` this replica's durable one, and the replica a member: superblock to the other slot, flush, read back.
   * Rejects with the device's error; a fault of the place has marked the replica failed.
   */
  publish(replica: Replica, checkpoint: CheckpointFacts): Promise<void> {
    return this.#mutex.run(async () => {
      if (replica.state === 'failed')
        throw mismatch(this.#io.spare, replica.place.superblockOffset, blockBytes);
      const members = this.replicas.filter((other) => other.state === 'in-sync' || other === replica);
      const shared = this.#nextShared(maskOf(members));
      const epoch = this.#io.flusher.epoch;
      await this.#writeSuperblock(replica, checkpoint, shared);
      await this.#flushOrDoubt([replica], epoch);
      await this.#confirm(replica, checkpoint, shared);
      replica.state = 'in-sync';
      replica.checkpoint = checkpoint;
      this.#shared = shared;
    });
  }

  /**
   * M2: the membership without the failed replicas becomes durable on all others, then the failed ones lose their
   * superblocks. Rejects when that is not possible: no replica is left, the spare does not answer, or a failed replica's
   * superblock can be read but not overwritten.
   */
  excludeFailed(): Promise<void> {
    return this.#mutex.run(() => this.#excludeFailed());
  }

  /**
   * Durable on every member when it resolves; each keeps its last superblock until then. Rejects as `excludeFailed`: some
   * replica may say so already, and the next superblock of anything takes it back.
   */
  update(changesOf: (shared: SharedFacts) => SharedChanges): Promise<void> {
    return this.#mutex.run(async () => {
      const before = this.#shared;
      const changes = changesOf(before);
      this.change(changes);
      try {
        const written = await this.#writeMembers();
        if (!written || !this.#consistent) await this.#excludeFailed();
      } catch (error) {
        const { cleanlyClosed, properties, layout } = before;
        this.change({ cleanlyClosed, properties, layout });
        throw error;
      }
    });
  }

  /** Writes the shared facts as they are now to all members. Rejects as `excludeFailed`. */
  rewriteMembers(): Promise<void> {
    return this.#mutex.run(async () => {
      await this.#writeMembers();
    });
  }

  /** Before the inactive area is written: no superblock points at it. */
  async clearDoubt(replica: Replica): Promise<void> {
    if (replica.slotInDoubt) await this.publish(replica, replica.checkpoint);
  }

  async #excludeFailed(): Promise<void> {
    // Each round but the last loses a replica, and a round without replicas rejects.
    let written = false;
    while (!written) written = await this.#writeMembers();
    const epoch = this.#io.flusher.epoch;
    for (const replica of this.replicas) {
      if (replica.state !== 'in-sync') await this.#invalidate(replica);
    }
    await this.#io.flusher.flush();
    this.#io.checkFlushed(epoch);
    this.#consistent = true;
  }

  /** True when all members have the membership; false when some failed meanwhile and it must be written again. */
  async #writeMembers(): Promise<boolean> {
    const members = this.inSync();
    const first = members[0];
    if (first === undefined) {
      const place = this.replicas[0]!.place;
      throw mismatch(this.#io.spare, place.superblockOffset, blockBytes);
    }
    const shared = this.#nextShared(maskOf(members));
    const epoch = this.#io.flusher.epoch;
    const written: Replica[] = [];
    for (const replica of members) {
      try {
        await this.#writeSuperblock(replica, replica.checkpoint, shared);
        written.push(replica);
      } catch (error) {
        if (replica.state !== 'failed') throw error;
      }
    }
    await this.#flushOrDoubt(written, epoch);
    for (const replica of written) advanceSlot(replica);
    this.#shared = shared;
    return written.length === members.length;
  }

  #nextShared(inSyncMask: number): SharedFacts {
    // Never given twice: what failed may be on the spare all the same, and must not pass for what is written instead.
    this.#shared = { ...this.#shared, revision: this.#shared.revision + 1 };
    const shared = this.#shared;
    const changed = inSyncMask !== shared.inSyncMask;
    return {
      ...shared,
      membershipEpoch: shared.membershipEpoch + (changed ? 1 : 0),
      reachedSequence: this.#reachedSequence,
      inSyncMask,
      writtenUnixSeconds: Math.floor(this.#io.clock.unixMs() / 1000),
    };
  }

  async #writeSuperblock(replica: Replica, checkpoint: CheckpointFacts, shared: SharedFacts): Promise<void> {
    try {
      await this.#io.withPiece(1, (piece) => {
        encodeSuperblock(piece, { replica: replica.index, shared, checkpoint });
        this.#sentSuperblock = true;
        return this.#io.write(piece, slotOffset(replica, otherSlot(replica)));
      });
    } catch (error) {
      this.#blame(replica, asDeviceError(error));
      throw error;
    }
  }

  /** A flush of anybody that failed since `epoch` was read may have taken these writes with it. */
  async #flushOrDoubt(written: readonly Replica[], epoch: number): Promise<void> {
    for (const replica of written) replica.slotInDoubt = true;
    await this.#io.flusher.flush();
    this.#io.checkFlushed(epoch);
  }

  async #confirm(replica: Replica, checkpoint: CheckpointFacts, shared: SharedFacts): Promise<void> {
    const expected = new Uint8Array(blockBytes);
    encodeSuperblock(expected, { replica: replica.index, shared, checkpoint });
    const offset = slotOffset(replica, otherSlot(replica));
    try {
      await this.#io.withPiece(1, async (piece) => {
        await this.#io.read(piece, offset);
        if (!sameBytes(piece, expected)) throw mismatch(this.#io.spare, offset, blockBytes);
      });
    } catch (error) {
      this.#blame(replica, asDeviceError(error));
      throw error;
    }
    advanceSlot(replica);
  }

  /** A fault of the place costs the replica its membership, anything else leaves the slot in doubt. */
  #blame(replica: Replica, error: DeviceError): void {
    replica.slotInDoubt = true;
    if (error.kind === 'timed-out') this.#lateWrite = true;
    else if (isPlaceFault(error)) this.markFailed(replica, error);
  }

  /**
   * Takes both superblocks away: overwritten, or at least neither readable nor valid. One that can be read and not be
   * overwritten must not keep all others from serving: the replica is fenced.
   */
  async #invalidate(replica: Replica): Promise<void> {
    let staleGeneration = 0;
    let failure: DeviceError | undefined;
    for (const slot of [0, 1] as const) {
      const offset = slotOffset(replica, slot);
      await this.#io.withPiece(1, async (piece) => {
        try {
          piece.fill(0);
          await this.#io.write(piece, offset);
        } catch (error) {
          const blamed = asDeviceError(error);
          if (!isPlaceFault(blamed)) throw error;
          const generation = await this.#generationAt(piece, offset);
          if (generation === undefined) return;
          // Zeros on their way are no superblock, but nobody knows when they arrive.
          if (blamed.kind === 'timed-out') throw error;
          failure = blamed;
          staleGeneration = Math.max(staleGeneration, generation);
        }
      });
    }
    if (failure === undefined || replica.fenced) return;
    // What may still arrive may land on the fence (R3).
    if (replica.late || this.#lateWrite) throw failure;
    await fenceReplica(this.#io, this.#shared, replica, staleGeneration);
    replica.fenced = true;
  }

  /** Of the superblock there; undefined where none can be read. */
  async #generationAt(piece: Uint8Array, offset: number): Promise<number | undefined> {
    try {
      await this.#io.read(piece, offset);
    } catch (error) {
      if (!isPlaceFault(asDeviceError(error))) throw error;
      return undefined;
    }
    const finding = decodeSuperblock(piece);
    return finding.found === 'superblock' ? finding.superblock.checkpoint.generation : undefined;
  }
}

export function slotOffset(replica: Replica, slot: 0 | 1): number {
  return replica.place.superblockOffset + slot * blockBytes;
}

function mayComeBack({ state, late, fenced }: Replica): boolean {
  return state !== 'in-sync' && !late && !fenced;
}

function otherSlot(replica: Replica): 0 | 1 {
  return replica.slot === 0 ? 1 : 0;
}

function advanceSlot(replica: Replica): void {
  replica.slot = otherSlot(replica);
  replica.slotInDoubt = false;
}

function maskOf(replicas: readonly Replica[]): number {
  let mask = 0;
  for (const replica of replicas) mask |= 1 << replica.index;
  return mask;
}
