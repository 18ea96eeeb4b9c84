import { realpath } from 'node:fs/promises';
import { DeviceError } from '../../block/device-error.ts';
import { memberLayout } from '../../metadata/member-layout.ts';
import { MetadataError, type OpenedMetadata } from '../../metadata/metadata-store.ts';
import { looksLikeNbdUri } from '../../nbd/nbd-uri.ts';
import { MessageError } from '../../remap/message/message-error.ts';
import type { DevicePlace } from '../../remap/path/device-paths.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import { ReplacementError } from '../../remap/spare/replacement-error.ts';
import type { SpareMember, SpareMembers } from '../../remap/spare/spare-members.ts';
import type { SpareMigration } from '../../remap/spare/spare-migration.ts';
import type { EventSink } from '../event-kinds.ts';
import { ownHostIdentity } from '../host/host-identity.ts';
import { identityRecord } from '../main/main-identity.ts';
import type { CacheMode } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { setupErrorOf } from '../setup-failure.ts';
import type { Disks, OpenedDisk, OpenedMain } from './disks.ts';
import type { LocatedMember } from './find-members.ts';
import { openNewSpare } from './new-spare.ts';
import type { SpareExchange } from './spare-exchange.ts';
import type { SpareTurn } from './spare-turn.ts';

export interface SpareRosterParts {
  readonly disks: Disks;
  readonly cache: CacheMode;
  readonly main: OpenedMain;
  readonly exchange: SpareExchange;
  readonly metadata: OpenedMetadata;
  readonly remap: RemapDevice;
  readonly members: SpareMembers;
  readonly events: EventSink;
  readonly turn: SpareTurn;
  /** In the order of the members. */
  readonly located: readonly LocatedMember[];
}

export interface AddChoices {
  /** Also a disk that carries something. */
  readonly overwrite: boolean;
  /** Every slot is written and read back first; bad ones are never used. */
  readonly check: boolean;
}

/** The spares of a device that is served: which there are, one more, one less. */
export class SpareRoster {
  readonly #parts: SpareRosterParts;
  readonly #disks = new Map<DevicePlace, OpenedDisk>();
  #migration: SpareMigration | undefined;
  /** Bytes of a spare that is checked first: done, and all. */
  #checked: readonly [number, number] | undefined;
  #running: Promise<void> | undefined;
  #closing = false;
  /** How the last command ended, for whoever asks. */
  #last: string | undefined;

  constructor(parts: SpareRosterParts) {
    this.#parts = parts;
    for (const [index, { unit }] of parts.members.all.entries()) {
      const opened = parts.located[index]?.opened;
      if (opened !== undefined) this.#disks.set(unit.place, opened);
    }
  }

  /** The disks beside the home, by their places. */
  get disks(): ReadonlyMap<DevicePlace, OpenedDisk> {
    return this.#disks;
  }

  /** For the message `spare`: a line for each spare, and how far a command is. */
  lines(): readonly string[] {
    const { remap, exchange, members } = this.#parts;
    const lines = remap.spareUses().map((use) => {
      const { place, state, slotsTotal, slotsUsed, slotsFree, slotsRetired } = use;
      const disk = place === 'spare' ? exchange.spare : this.#disks.get(place);
      const path = disk?.path ?? members.ofPlace(place)?.entry.identity['path'] ?? '';
      const sizeBytes = disk?.device.geometry.sizeBytes ?? 0;
      return `one ${place} ${state} ${slotsTotal} ${slotsUsed} ${slotsFree} ${slotsRetired} ${sizeBytes} ${path}`;
    });
    if (this.#last !== undefined) lines.push(`last-spare ${this.#last}`);
    if (this.#checked !== undefined) lines.push(`checking ${this.#checked.join(' of ')}`);
    if (this.#migration !== undefined) lines.push(`moving ${this.#migration.movedSlots}`);
    if (this.#running !== undefined) lines.push('busy yes');
    return lines;
  }

  /** Resolves when it has begun, after every check that needs no writing. Rejects with `MessageError`. */
  async add(path: string, choices: AddChoices): Promise<void> {
    const { turn, disks, cache, main, exchange, metadata } = this.#parts;
    turn.take('spare add');
    try {
      const { granuleBytes } = metadata.layout;
      const question = { disks, cache, main, home: exchange.spare, granuleBytes };
      const disk = await openNewSpare(path, { ...question, overwrite: choices.overwrite });
      this.#begin(this.#add(disk, choices));
    } catch (error) {
      turn.release();
      throw refusalOf(path, error);
    }
  }

  /** As `add`. `giveUp`: what it cannot give is gone. */
  async remove(path: string, giveUp: boolean): Promise<void> {
    const { turn, members, remap } = this.#parts;
    turn.take('spare remove');
    try {
      const member = await this.#memberOf(path);
      const uses = remap.spareUses();
      const own = uses.find(({ place }) => place === member.unit.place);
      const isDead = member.disk === undefined || !(await members.answers(member.unit));
      if (isDead && !giveUp) {
        throw new ReplacementError(
          'it does not answer: bring it back, or give up what only it holds (--give-up)',
        );
      }
      const others = uses.filter(({ place, state }) => place !== member.unit.place && state !== 'leaving');
      const free = others.reduce((sum, { slotsFree }) => sum + slotsFree, 0);
      if (!isDead && own !== undefined && free < own.slotsUsed) {
        throw new ReplacementError(
          `holds ${own.slotsUsed} blocks, the other spares have room for ${free}: add a spare first`,
        );
      }
      await members.beginLeaving(member);
      this.#begin(this.#leave(member, { giveUp, isDead }));
    } catch (error) {
      turn.release();
      throw refusalOf(path, error);
    }
  }

  /** One that was leaving when the last session ended goes on. */
  resumeLeaving(): void {
    const { turn, members } = this.#parts;
    const member = members.all.find(({ entry }) => entry.leaving);
    if (member === undefined || this.#isAway(member)) return;
    turn.take('spare remove');
    this.#begin(this.#leave(member, { giveUp: false, isDead: false }));
  }

  /** Between two blocks. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#migration?.stop();
    await this.#running;
  }

  /** The disks are not needed any more. */
  async closeDisks(): Promise<void> {
    await Promise.all([...this.#disks.values()].map(({ device }) => device.close()));
  }

  #begin(work: Promise<void>): void {
    // Not caught on purpose: what rejects here is a bug of ours and must end the process.
    this.#running = work.finally(() => {
      this.#running = undefined;
      this.#migration = undefined;
      this.#checked = undefined;
      this.#parts.turn.release();
    });
  }

  #isAway({ unit, disk }: SpareMember): boolean {
    return disk === undefined || this.#parts.members.isAway(unit);
  }

  async #add(disk: OpenedDisk, choices: AddChoices): Promise<void> {
    const { members, events } = this.#parts;
    try {
      const badSlots = choices.check ? await this.#check(disk) : [];
      const member = await members.add({
        disk: disk.device,
        identity: identityRecord(disk),
        taker: { host: ownHostIdentity(), takeover: false },
        badSlots,
      });
      this.#disks.set(member.unit.place, disk);
      const slots = member.unit.allocator.freeSlots;
      this.#last = `added ${slots} bad ${badSlots.length} ${disk.path}`;
      events.append({ kind: 'spare-added', path: disk.path, slots, badSlots: badSlots.length });
    } catch (error) {
      const reason = reasonOf(error);
      this.#last = `failed ${disk.path}: ${reason}`;
      events.append({ kind: 'spare-add-failed', path: disk.path, reason });
      await disk.device.close();
    }
  }

  async #check({ device }: OpenedDisk): Promise<readonly number[]> {
    const { disks, metadata, remap } = this.#parts;
    const { granuleBytes } = metadata.layout;
    const { burnIn } = await import('../spare/burn-in.ts');
    const { arena, random } = disks.plane;
    const layout = memberLayout(device.geometry.sizeBytes, remap.geometry.sizeBytes, granuleBytes);
    const { badSlots } = await burnIn({
      ...{ device, arena, random, layout },
      onProgress: (done, all) => {
        this.#checked = [done, all];
        if (this.#closing) throw new ReplacementError('the device was closed meanwhile');
      },
    });
    return badSlots;
  }

  async #leave(member: SpareMember, choices: { giveUp: boolean; isDead: boolean }): Promise<void> {
    const { remap, events } = this.#parts;
    const { place } = member.unit;
    const opened = this.#disks.get(place);
    const path = opened?.path ?? member.entry.identity['path'] ?? place;
    events.append({ kind: 'spare-leaving', path, giveUp: choices.giveUp });
    const migration = remap.spareMigration(member, choices);
    if (migration === undefined) return;
    this.#migration = migration;
    if (this.#closing) migration.stop();
    const { failure, goneSectors } = await migration.run();
    const reason = failure ?? (await this.#forget(member));
    if (reason !== undefined) {
      this.#last = `failed ${path}: ${reason}`;
      events.append({ kind: 'spare-remove-failed', path, reason });
      return;
    }
    this.#disks.delete(place);
    this.#last = `removed ${goneSectors} ${path}`;
    events.append({ kind: 'spare-removed', path, goneSectors });
    // A dead one may never answer: nobody waits for it.
    void opened?.device.close();
  }

  async #forget(member: SpareMember): Promise<string | undefined> {
    try {
      await this.#parts.members.remove(member.unit.place);
      return undefined;
    } catch (error) {
      return reasonOf(error);
    }
  }

  /** By its path, the one it had when it was there, or its place (`spare-1`). */
  async #memberOf(path: string): Promise<SpareMember> {
    const { members, exchange } = this.#parts;
    const real = looksLikeNbdUri(path) ? path : await realpath(path).catch(() => path);
    if (path === 'spare' || real === exchange.spare.path) {
      throw new ReplacementError(
        'it carries the metadata of the device: "spare replace" puts another disk in its place',
      );
    }
    const member = members.all.find(({ unit, entry }) => {
      const known = this.#disks.get(unit.place)?.path ?? entry.identity['path'];
      return unit.place === path || known === real || known === path;
    });
    if (member === undefined)
      throw new ReplacementError('is no spare of this device: "spare list" shows them');
    return member;
  }
}

function reasonOf(error: unknown): string {
  const ofWorld =
    error instanceof ReplacementError ||
    error instanceof DeviceError ||
    error instanceof MetadataError ||
    error instanceof SetupError;
  if (!ofWorld) throw error;
  return error.message;
}

function refusalOf(path: string, error: unknown): unknown {
  if (error instanceof MessageError) return error;
  if (error instanceof ReplacementError || error instanceof MetadataError) {
    return new MessageError('MESSAGE_FAILED', `${path}: ${error.message}`);
  }
  const failure = setupErrorOf(error, path);
  return failure instanceof SetupError ? new MessageError('MESSAGE_FAILED', failure.message) : failure;
}
