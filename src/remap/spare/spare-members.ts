import { assert } from '../../block/assert.ts';
import type { BlockDevice } from '../../block/block-device.ts';
import { DeviceError } from '../../block/device-error.ts';
import type { RequestGate } from '../../block/request-gate.ts';
import type { SpareTaker } from '../../metadata/claim-spare.ts';
import { MemberDisk } from '../../metadata/member-disk.ts';
import {
  type MemberEntry,
  memberAlignmentBytes,
  memberReservedRanges,
  membersMax,
  newEpoch,
} from '../../metadata/member-table.ts';
import { MetadataError, type MetadataStore } from '../../metadata/metadata-store.ts';
import type { MetadataParts } from '../../metadata/opened-metadata.ts';
import { hexText, newUuid } from '../../metadata/uuid.ts';
import type { SparePlace } from '../path/device-paths.ts';
import type { RemapCore } from '../remap-core.ts';
import { SlotAllocator, type SlotRun } from '../table/slot-allocator.ts';
import { AbsentSpare } from './absent-spare.ts';
import type { LeaveChoices } from './leave-spare.ts';
import { ReplacementError } from './replacement-error.ts';
import { memberSizeFor } from './row-room.ts';
import { SpareMigration } from './spare-migration.ts';
import type { SpareUnit } from './spare-unit.ts';

export type MembersStore = Pick<
  MetadataStore,
  'layout' | 'members' | 'uuid' | 'updateMembers' | 'heartbeat' | 'state'
>;

/** One spare beside the home. */
export interface SpareMember {
  readonly unit: SpareUnit;
  readonly entry: MemberEntry;
  /** Undefined while the disk is not there, or takes no part in this session. */
  readonly disk: MemberDisk | undefined;
}

/** A spare that the home names, as it was found: checked to be the right one, or not there. */
export interface FoundMember {
  readonly entry: MemberEntry;
  readonly disk: MemberDisk | undefined;
}

export interface SpareMembersParts {
  readonly core: RemapCore;
  readonly store: MembersStore;
  readonly surroundings: Omit<MetadataParts, 'spare'>;
  readonly deviceName: string;
}

export interface NewMember {
  readonly disk: BlockDevice;
  /** As pairs, for recognising it. */
  readonly identity: Readonly<Record<string, string>>;
  /** Who may take a disk from whom (M11). */
  readonly taker: SpareTaker;
  /** Its own slots that proved bad, never to be used. Default: none. */
  readonly badSlots?: readonly number[];
}

/**
 * The spares beside the home: joining a session, coming, going, and its end. In every step the disk says first what the home then
 * makes true, so that whenever the power goes a spare is one of the device, or is not.
 */
export class SpareMembers {
  readonly #parts: SpareMembersParts;
  #all: readonly SpareMember[] = [];
  #placesGiven = 0;

  constructor(parts: SpareMembersParts) {
    this.#parts = parts;
  }

  get all(): readonly SpareMember[] {
    return this.#all;
  }

  /** The one that carries the metadata, which is none of these. */
  get home(): SpareUnit {
    return this.#parts.core.spares.home;
  }

  ofPlace(place: SparePlace): SpareMember | undefined {
    return this.#all.find(({ unit }) => unit.place === place);
  }

  /** Their slots are there, before anything is derived from the table or written. */
  place(found: readonly FoundMember[]): void {
    for (const { entry, disk } of found) this.#addUnit(entry, disk);
  }

  /** First step of a session. A spare that does not take it is away in this session. Resolves to what the home is to expect. */
  async claim(): Promise<readonly MemberEntry[]> {
    const claimed: SpareMember[] = [];
    for (const member of this.#all) claimed.push(await this.#claimOne(member));
    this.#all = claimed;
    return claimed.map(({ entry }) => entry);
  }

  /** Last step: the home expects the epochs that were claimed. No slot is written before. */
  async confirm(): Promise<void> {
    const confirmed: SpareMember[] = [];
    for (const member of this.#all) confirmed.push(await this.#confirmOne(member));
    this.#all = confirmed;
  }

  /**
   * One more spare:
   *
   *     its superblocks < the home names it < slots are given out
   *
   * A crash before the second leaves a disk that no home names. Rejects with `ReplacementError`, `DeviceError` or
   * `MetadataError`; the device is then as it was.
   */
  async add({ disk, identity, taker, badSlots = [] }: NewMember): Promise<SpareMember> {
    const { core, store, surroundings } = this.#parts;
    const { granuleBytes } = core.parts;
    if (this.#all.length >= membersMax) {
      throw new ReplacementError(`there are ${membersMax + 1} spares already: remove one first`);
    }
    const room = memberSizeFor(core, store.layout, disk.geometry.sizeBytes);
    const { random } = surroundings;
    const entry: MemberEntry = {
      uuid: hexText(newUuid(random)),
      baseBytes: roundUp(Math.max(store.layout.rowBytes, core.spares.home.slotCount * granuleBytes)),
      sizeBytes: room.sizeBytes,
      epoch: newEpoch(random),
      closed: false,
      leaving: false,
      identity,
    };
    const member = this.#diskOf(disk);
    await member.format(entry, taker);
    const lostBefore = core.live.lostGranulesMax;
    core.live.lostGranulesMax = room.lostRangesMax;
    try {
      await store.updateMembers(
        (before) => ({
          rowBytes: entry.baseBytes + entry.sizeBytes,
          members: [...(before?.members ?? []), entry],
        }),
        room.lostRangesMax,
      );
    } catch (error) {
      core.live.lostGranulesMax = lostBefore;
      throw error;
    }
    const added = this.#addUnit(entry, member);
    for (const slot of badSlots) {
      if (added.unit.allocator.claim(slot, 1)) this.retireSlot(added.unit.firstSlot + slot);
    }
    return added;
  }

  /** One that is claimed and proved bad. */
  retireSlot(slot: number): void {
    this.#parts.core.retireSlot(slot);
  }

  isAway(unit: SpareUnit): boolean {
    return this.#parts.core.paths.of(unit.place, 'read').failed;
  }

  /** Asked again now: that it was away a while ago is no reason to give it up. */
  answers(unit: SpareUnit): Promise<boolean> {
    return this.#parts.core.paths.of(unit.place, 'read').retry();
  }

  /** Durable before anything moves: it goes on after a crash. Rejects with `MetadataError`. */
  async beginLeaving(member: SpareMember): Promise<void> {
    if (!member.entry.leaving) await this.#update(member, { ...member.entry, leaving: true });
    member.unit.leaving = true;
  }

  /** It stays after all. Rejects with `MetadataError`. */
  async stopLeaving(member: SpareMember): Promise<void> {
    const now = this.ofPlace(member.unit.place) ?? member;
    await this.#update(now, { ...now.entry, leaving: false });
    member.unit.leaving = false;
  }

  migration(member: SpareMember, gate: RequestGate, choices: LeaveChoices): SpareMigration {
    return new SpareMigration(this.#parts.core, gate, member.unit, choices);
  }

  /**
   * Nothing has a slot there any more: the home names it no longer < its superblocks go. Resolves to whether they are gone.
   * Rejects with `MetadataError`; it is a spare then as before.
   */
  async remove(place: SparePlace): Promise<boolean> {
    const { store, core } = this.#parts;
    const member = this.ofPlace(place);
    assert(member !== undefined && member.unit.allocator.usedSlots === 0, 'what goes is empty');
    await store.updateMembers((before) => ({
      rowBytes: before?.rowBytes ?? store.layout.rowBytes,
      members: (before?.members ?? []).filter(({ baseBytes }) => baseBytes !== member.entry.baseBytes),
    }));
    this.#all = this.#all.filter((one) => one !== member);
    await core.dropSpare(member.unit);
    if (member.disk === undefined) return false;
    try {
      await member.disk.wipe();
      return true;
    } catch (error) {
      ofWorld(error);
      return false;
    }
  }

  /**
   * The home is another disk now: should the old one come back, the others say another session than it knows. In the steps of
   * joining, while the device serves. Does not reject: what is not told is as after a crash between two steps.
   */
  async renew(): Promise<void> {
    const { store, core } = this.#parts;
    for (const member of this.#all) {
      const { disk, entry, unit } = member;
      if (disk === undefined || core.paths.of(unit.place, 'write').failed) continue;
      try {
        const flush = (): Promise<void> => {
          unit.flush.wroteUnstable();
          return unit.flush.flush();
        };
        const epoch = await disk.claim(entry, flush);
        await this.#update(member, { ...entry, epoch });
        await disk.settle({ ...entry, epoch }, false, flush);
      } catch (error) {
        ofWorld(error);
        if (store.state !== 'open') return;
      }
    }
  }

  /**
   * The end of a session that nobody writes in any more: each says so, then the home does. Does not reject: without it the next
   * session begins as after a crash.
   */
  async close(): Promise<void> {
    const { store } = this.#parts;
    if (this.#all.length === 0 || store.state !== 'open') return;
    try {
      // Taken over since the last beat, nothing of ours may be said over what another one wrote (M11).
      await store.heartbeat();
      const closed: MemberEntry[] = [];
      for (const { entry, disk } of this.#all) {
        const said = disk !== undefined && (await succeeds(() => disk.settle(entry, true)));
        closed.push({ ...entry, closed: disk === undefined ? entry.closed : said });
      }
      await store.updateMembers((before) => ({
        rowBytes: before?.rowBytes ?? store.layout.rowBytes,
        members: closed,
      }));
    } catch (error) {
      ofWorld(error);
    }
  }

  async #claimOne(member: SpareMember): Promise<SpareMember> {
    const { disk, entry, unit } = member;
    if (disk === undefined) return member;
    try {
      const epoch = await disk.claim(entry);
      return { unit, disk, entry: { ...entry, epoch, closed: false } };
    } catch (error) {
      ofWorld(error);
      return this.#leaveOut(member);
    }
  }

  async #confirmOne(member: SpareMember): Promise<SpareMember> {
    const { disk, entry, unit } = member;
    if (disk === undefined) return member;
    try {
      await disk.settle(entry, false);
      return member;
    } catch (error) {
      ofWorld(error);
      // Another session's since, it would answer every probe, and be written to by two.
      if (error instanceof MetadataError) return this.#leaveOut(member);
      this.#parts.core.paths.noteFailed(unit.place, 'write');
      return member;
    }
  }

  /** Before anything was sent to its slots: it takes no part in this session. */
  #leaveOut({ entry, unit }: SpareMember): SpareMember {
    const absent = this.#parts.core.replaceUnitDevice(unit, this.#absent(entry));
    this.#parts.core.paths.of(absent.place, 'write').refuse();
    return { unit: absent, entry, disk: undefined };
  }

  #diskOf(disk: BlockDevice): MemberDisk {
    const { store, surroundings, deviceName } = this.#parts;
    return new MemberDisk({ ...surroundings, spare: disk }, { uuid: store.uuid, deviceName });
  }

  #addUnit(entry: MemberEntry, disk: MemberDisk | undefined): SpareMember {
    const { core } = this.#parts;
    const { granuleBytes } = core.parts;
    const reserved = memberReservedRanges(entry.sizeBytes).map(({ offset, length }): SlotRun => {
      const slot = Math.floor(offset / granuleBytes);
      return { slot, slotCount: Math.ceil((offset + length) / granuleBytes) - slot };
    });
    this.#placesGiven += 1;
    const allocator = new SlotAllocator(entry.sizeBytes / granuleBytes, reserved);
    const place: SparePlace = `spare-${this.#placesGiven}`;
    const firstSlot = entry.baseBytes / granuleBytes;
    const unit = core.addSpare(place, disk?.disk ?? this.#absent(entry), firstSlot, allocator);
    unit.leaving = entry.leaving;
    if (disk === undefined) core.paths.of(place, 'write').refuse();
    const member = { unit, entry, disk };
    this.#all = [...this.#all, member];
    return member;
  }

  #absent(entry: MemberEntry): AbsentSpare {
    const { granuleBytes, spare } = this.#parts.core.parts;
    const { logicalBlockBytes } = spare.geometry;
    const geometry = { sizeBytes: entry.sizeBytes, logicalBlockBytes, physicalBlockBytes: granuleBytes };
    return new AbsentSpare(entry.identity['path'] ?? 'a spare', geometry);
  }

  async #update(member: SpareMember, entry: MemberEntry): Promise<void> {
    const { store } = this.#parts;
    await store.updateMembers((before) => ({
      rowBytes: before?.rowBytes ?? store.layout.rowBytes,
      members: (before?.members ?? []).map((one) => (one.baseBytes === entry.baseBytes ? entry : one)),
    }));
    this.#all = this.#all.map((one) => (one.unit === member.unit ? { ...one, entry } : one));
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / memberAlignmentBytes) * memberAlignmentBytes;
}

function ofWorld(error: unknown): void {
  if (!(error instanceof DeviceError) && !(error instanceof MetadataError)) throw error;
}

async function succeeds(action: () => Promise<void>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    ofWorld(error);
    return false;
  }
}
