import type { BlockDevice } from '../block/block-device.ts';
import { asDeviceError, type DeviceError } from '../block/device-error.ts';
import { sameBytes } from './block-checksum.ts';
import { blockBytes } from './block-size.ts';
import { claimSpare, devicesOf, type SpareTaker } from './claim-spare.ts';
import { zeroBlocks } from './empty-spare.ts';
import { superblockPlaces, superblockSlots } from './layout.ts';
import { encodeMemberSuperblock, type MemberSuperblock } from './member-superblock.ts';
import { type MemberEntry, newEpoch } from './member-table.ts';
import { MetadataError } from './metadata-error.ts';
import type { MetadataParts } from './opened-metadata.ts';
import { mismatch, SpareIo } from './spare-io.ts';
import { decodeSuperblock } from './superblock.ts';
import { scanSuperblocks } from './superblock-scan.ts';
import { wipeSuperblocks } from './wipe-metadata.ts';

/** The device that members belong to. */
export interface MemberOwner {
  readonly uuid: Uint8Array;
  readonly deviceName: string;
}

/**
 * The superblocks of one spare beside the home. They say that the disk is this member, and which session it was part of last: a
 * copy, or one that was put back to an older state, says another one than the home expects (M12).
 *
 *     join: member says (epoch before, new epoch) < home expects the new epoch < member says (new epoch, new epoch) < slots used
 */
export class MemberDisk {
  readonly #io: SpareIo;
  readonly #parts: MetadataParts;
  readonly #owner: MemberOwner;
  #now: MemberSuperblock | undefined;

  constructor(parts: MetadataParts, owner: MemberOwner) {
    this.#parts = parts;
    this.#owner = owner;
    this.#io = new SpareIo(parts.spare, parts.arena, parts.clock);
  }

  get disk(): BlockDevice {
    return this.#parts.spare;
  }

  /** Why this disk may not be used as that member, one clause; undefined when it may. Rejects with the device's error. */
  async troubleAs(entry: MemberEntry): Promise<string | undefined> {
    const scan = await scanSuperblocks(this.#io);
    if (scan.found.length > 0) return 'it is the home of a device';
    const { member } = scan;
    if (member === undefined) return 'it carries no superblock of a spare';
    if (!sameBytes(member.uuid, this.#owner.uuid)) return 'it belongs to another device';
    if (member.memberUuid !== entry.uuid) return 'it is another spare of this device';
    if (member.baseBytes !== entry.baseBytes || member.sizeBytes !== entry.sizeBytes) {
      return 'it has another place in the row of spares';
    }
    if (this.disk.geometry.sizeBytes < entry.sizeBytes) return 'it has become smaller';
    const empty = await this.#emptyPlace(entry);
    if (empty !== undefined) return `its superblocks at byte ${empty} are gone: it was cut, or written over`;
    this.#now = member;
    if (member.epoch === entry.epoch) {
      return entry.closed && !member.closed
        ? 'it is older than its home: an earlier copy was put back'
        : undefined;
    }
    // Claimed for a session that the home never began: nothing was written to it.
    if (member.epochBefore === entry.epoch) return undefined;
    return 'it is from another time than its home';
  }

  /**
   * A place that can be read and has none of its superblocks. They are at every place, far apart: an image that was cut and made
   * as large again would give zeros that nobody wrote.
   */
  async #emptyPlace(entry: MemberEntry): Promise<number | undefined> {
    for (const place of this.#places(entry)) {
      let others = 0;
      await this.#io.readEach(place, superblockSlots, (block) => {
        const finding = block === undefined ? undefined : decodeSuperblock(block);
        const isOurs = finding?.found === 'member' && finding.member.memberUuid === entry.uuid;
        if (finding !== undefined && !isOurs) others += 1;
      });
      if (others === superblockSlots) return place;
    }
    return undefined;
  }

  /** A disk that is none of ours, or a spare that nobody uses, becomes this member. Nothing of what was on it counts. */
  async format(entry: MemberEntry, taker: SpareTaker): Promise<readonly string[]> {
    const claim = await claimSpare(
      this.#io,
      this.#parts.random,
      devicesOf(await scanSuperblocks(this.#io)),
      taker,
    );
    await claim.release();
    await wipeSuperblocks(this.#io);
    for (const place of this.#places(entry)) await zeroBlocks(this.#io, place, superblockSlots);
    await this.#io.flusher.flush();
    this.#now = undefined;
    const stored = await this.#write(entry, { epoch: entry.epoch, epochBefore: entry.epoch, closed: false });
    const places = this.#places(entry);
    // A new spare is healthy: later a place that is bad costs nobody the disk, and one that is empty tells that it was cut.
    if (stored < places.length) throw mismatch(this.disk, places[0]!, blockBytes);
    return claim.takenOver;
  }

  /**
   * First step of a session; the home is told next. Resolves to the epoch that it is to expect. `flush` is that of clients, where
   * there are some already: a failed one has to be told to them (R7).
   */
  async claim(entry: MemberEntry, flush?: () => Promise<void>): Promise<string> {
    const epoch = newEpoch(this.#parts.random);
    await this.#write(entry, { epoch, epochBefore: entry.epoch, closed: false }, flush);
    return epoch;
  }

  /**
   * Last step of joining, and the first of an end: the home expects this epoch. Rejects with `METADATA_IN_USE` when somebody
   * else has written here since: his session is the one that counts. `flush` as of `claim`.
   */
  async settle(entry: MemberEntry, closed: boolean, flush?: () => Promise<void>): Promise<void> {
    const { member } = await scanSuperblocks(this.#io);
    if (member === undefined || member.revision !== this.#now?.revision) {
      throw new MetadataError('METADATA_IN_USE', `${this.disk.name}: another session has this spare`);
    }
    await this.#write(entry, { epoch: entry.epoch, epochBefore: entry.epoch, closed }, flush);
  }

  /** No superblock of ours is on it any more. Rejects with the device's error. */
  async wipe(): Promise<void> {
    await wipeSuperblocks(this.#io);
  }

  /** At every place; one that takes it and gives it back is enough. Resolves to how many did. */
  async #write(
    entry: MemberEntry,
    state: Pick<MemberSuperblock, 'epoch' | 'epochBefore' | 'closed'>,
    flush: () => Promise<void> = () => this.#io.flusher.flush(),
  ): Promise<number> {
    const member: MemberSuperblock = {
      ...this.#owner,
      memberUuid: entry.uuid,
      baseBytes: entry.baseBytes,
      sizeBytes: entry.sizeBytes,
      revision: (this.#now?.revision ?? 0) + 1,
      writtenUnixSeconds: Math.floor(this.#io.clock.unixMs() / 1000),
      ...state,
    };
    const expected = new Uint8Array(blockBytes);
    encodeMemberSuperblock(expected, member);
    const slot = (member.revision % superblockSlots) * blockBytes;
    let failure: DeviceError | undefined;
    let stored = 0;
    await this.#io.withPiece(1, async (piece) => {
      const written: number[] = [];
      for (const place of this.#places(entry)) {
        piece.set(expected);
        try {
          await this.#io.write(piece, place + slot);
          written.push(place + slot);
        } catch (error) {
          failure = asDeviceError(error);
          // What may still arrive is waited for by nobody: this disk is not used (R3).
          if (failure.kind === 'timed-out') throw error;
        }
      }
      await flush();
      for (const offset of written) {
        try {
          await this.#io.read(piece, offset);
          if (sameBytes(piece, expected)) stored += 1;
        } catch (error) {
          failure = asDeviceError(error);
        }
      }
    });
    if (stored === 0) throw failure ?? mismatch(this.disk, this.#places(entry)[0]!, blockBytes);
    this.#now = member;
    return stored;
  }

  #places({ sizeBytes }: MemberEntry): readonly number[] {
    return superblockPlaces(sizeBytes);
  }
}
