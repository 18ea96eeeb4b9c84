import type { Clock } from '../../block/clock.ts';
import { disownSuperblocks, emptySpare } from '../../metadata/empty-spare.ts';
import type { OpenedMetadata } from '../../metadata/metadata-store.ts';
import { MessageError } from '../../remap/message/message-error.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import type { ReplaceableSpare } from '../../remap/spare/replaceable-spare.ts';
import type { ReplacementOutcome, SpareReplacement } from '../../remap/spare/spare-replacement.ts';
import type { EventSink } from '../event-kinds.ts';
import { ownHostIdentity } from '../host/host-identity.ts';
import type { HostStateWriter } from '../host/host-state-writer.ts';
import { identityRecord } from '../main/main-identity.ts';
import type { CacheMode } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { setupErrorOf } from '../setup-failure.ts';
import { describeOpen } from '../spare/candidate.ts';
import { createRefusal } from '../spare/create-safety.ts';
import { allocateSpareFile } from '../spare/spare-file.ts';
import { refuseUsed } from './disk-in-use.ts';
import type { Disks, OpenedDisk, OpenedMain } from './disks.ts';
import { refuseWithoutFlush } from './nbd-disk.ts';
import type { SpareTurn } from './spare-turn.ts';

export interface SpareExchangeParts {
  readonly disks: Disks;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly main: OpenedMain;
  /** The one that the device was opened with. */
  readonly spare: OpenedDisk;
  readonly replaceable: ReplaceableSpare;
  readonly metadata: OpenedMetadata;
  readonly remap: RemapDevice;
  readonly cache: CacheMode;
  readonly hostWriter: HostStateWriter | undefined;
  readonly turn: SpareTurn;
}

export interface ReplaceChoices {
  /** The old spare is lost: what only it held is gone. */
  readonly giveUp: boolean;
  /** Also a disk that carries something. */
  readonly overwrite: boolean;
}

/** Which disk is the spare of a device, and putting another one in its place while it serves. */
export class SpareExchange {
  readonly #parts: SpareExchangeParts;
  #spare: OpenedDisk;
  #replacement: { readonly path: string; readonly run: SpareReplacement } | undefined;
  #running: Promise<void> | undefined;
  /** How the last one ended, for whoever asks. */
  #last: string | undefined;

  constructor(parts: SpareExchangeParts) {
    this.#parts = parts;
    this.#spare = parts.spare;
  }

  get spare(): OpenedDisk {
    return this.#spare;
  }

  /** For the message `spare`, `NAME VALUE` a line. */
  lines(): readonly string[] {
    const lines = this.#last === undefined ? [] : [`last-replacement ${this.#last}`];
    if (this.#replacement === undefined) return lines;
    const { path, run } = this.#replacement;
    return [...lines, `replacing-by ${path}`, `replacing-copied ${run.copiedSlots}`];
  }

  /** While requests are held for an exchange nobody else suspends or resumes. */
  async notHolding(): Promise<void> {
    await this.#replacement?.run.notHolding();
  }

  /** Resolves when it has begun, after every check that needs no writing. Rejects with `MessageError`. */
  async begin(path: string, choices: ReplaceChoices): Promise<void> {
    // From the moment a disk is asked for.
    this.#parts.turn.take('spare replace');
    try {
      this.#refuseState(choices);
      const disk = await this.#openChecked(path, choices);
      this.#parts.events.append({ kind: 'spare-replacing', path: disk.path, giveUp: choices.giveUp });
      const run = this.#replacementBy(disk, choices);
      this.#replacement = { path: disk.path, run };
      // Not caught on purpose: what rejects here is a bug of ours and must end the process.
      this.#running = this.#exchange(disk, run);
    } catch (error) {
      this.#parts.turn.release();
      if (error instanceof MessageError) throw error;
      const failure = setupErrorOf(error, path);
      if (!(failure instanceof SetupError)) throw failure;
      throw new MessageError('MESSAGE_FAILED', `spare replace: ${failure.message}`);
    }
  }

  /** Ends copying; an exchange that has begun to take effect comes to its end. */
  async close(): Promise<void> {
    this.#replacement?.run.stop();
    await this.#running;
  }

  #refuseState({ giveUp }: ReplaceChoices): void {
    const isLost = this.#parts.remap.spareUses()[0]?.state === 'failed';
    if (isLost === giveUp) return;
    throw new MessageError(
      'MESSAGE_FAILED',
      giveUp
        ? 'spare replace: the spare answers: leave out --give-up, so that nothing is lost'
        : 'spare replace: the spare does not answer: bring it back, or give up what only it holds (--give-up)',
    );
  }

  async #openChecked(path: string, choices: ReplaceChoices): Promise<OpenedDisk> {
    const { disks, cache } = this.#parts;
    const disk = await disks.open(path, cache);
    try {
      refuseWithoutFlush(disk);
      await refuseUsed(disk, 'spare');
      this.#refuseShape(disk);
      await this.#refuseContents(path, disk, choices);
      await allocateSpareFile(disk);
      return disk;
    } catch (error) {
      await disk.device.close();
      throw error;
    }
  }

  /** M17, as `create` would. */
  async #refuseContents(path: string, disk: OpenedDisk, { overwrite }: ReplaceChoices): Promise<void> {
    const { main, clock } = this.#parts;
    // That main is in use is known: by us.
    const mainFacts = { ...(await describeOpen(main.path, main, clock)), uses: [] };
    const facts = await describeOpen(path, disk, clock);
    const refusal = createRefusal(mainFacts, facts, { overwriteSpare: overwrite });
    if (refusal !== undefined) throw refusal;
  }

  /** Slots keep their places and their size. */
  #refuseShape({ path, device, access }: OpenedDisk): void {
    const { metadata, replaceable } = this.#parts;
    const { spareSizeBytes, granuleBytes } = metadata.layout;
    const { sizeBytes, logicalBlockBytes, physicalBlockBytes } = device.geometry;
    const refuse = (why: string): never => {
      throw new SetupError('refused', `${path}: ${why}`);
    };
    if (sizeBytes < spareSizeBytes)
      refuse(`has ${sizeBytes} bytes, the spare has ${spareSizeBytes}: use a disk of at least that size`);
    if (logicalBlockBytes > replaceable.geometry.logicalBlockBytes)
      refuse(
        `has blocks of ${logicalBlockBytes} bytes, the spare of ${replaceable.geometry.logicalBlockBytes}`,
      );
    if (physicalBlockBytes > granuleBytes)
      refuse(`has physical blocks of ${physicalBlockBytes} bytes, a slot has ${granuleBytes}`);
    if (access === 'buffered' && this.#spare.access !== 'buffered')
      refuse('its file system cannot do direct I/O, and the old spare can: put it elsewhere');
  }

  #replacementBy(disk: OpenedDisk, { giveUp }: ReplaceChoices): SpareReplacement {
    const { disks, remap, replaceable, metadata, hostWriter } = this.#parts;
    const { arena, clock, random } = disks.plane;
    const { layout, store } = metadata;
    const taker = { host: ownHostIdentity(), takeover: false };
    return remap.spareReplacement({
      store,
      spare: replaceable,
      target: disk.device,
      identities: { before: identityRecord(this.#spare), after: identityRecord(disk) },
      giveUp,
      prepare: async (device) => {
        await emptySpare({ spare: device, arena, clock, random }, layout, taker);
      },
      disown: (device) => disownSuperblocks({ spare: device, arena, clock, random }, layout),
      noteSession: async () => {
        await hostWriter?.writeSessionNow();
      },
    });
  }

  async #exchange(disk: OpenedDisk, run: SpareReplacement): Promise<void> {
    const outcome = await run.run();
    const old = this.#spare;
    if (outcome.replaced) {
      this.#spare = disk;
      await this.#parts.remap.members?.renew();
    }
    this.#tell(old.path, disk.path, outcome);
    this.#replacement = undefined;
    this.#parts.turn.release();
    if (outcome.replaced) this.#parts.hostWriter?.noteSpare(identityRecord(disk));
    // A dead one may never answer: nobody waits for it.
    void (outcome.replaced ? old : disk).device.close();
  }

  #tell(
    from: string,
    path: string,
    { replaced, failure, goneSectors, oldDisowned }: ReplacementOutcome,
  ): void {
    const { events } = this.#parts;
    if (failure !== undefined) {
      const reason = replaced ? `${failure}; it is the spare all the same` : failure;
      this.#last = `failed ${path}: ${reason}`;
      events.append({ kind: 'spare-replace-failed', path, reason });
      return;
    }
    this.#last = `done ${path} gone ${goneSectors}`;
    events.append({ kind: 'spare-replaced', path, from, goneSectors, oldWiped: oldDisowned });
  }
}
