import type { BlockDevice } from '../../block/block-device.ts';
import { DeviceError } from '../../block/device-error.ts';
import type { RequestGate } from '../../block/request-gate.ts';
import { MetadataError, type MetadataStore } from '../../metadata/metadata-store.ts';
import { SuspendError, type Suspension } from '../order/suspension.ts';
import type { RemapCore } from '../remap-core.ts';
import { giveUpSlots } from './give-up-slots.ts';
import type { ReplaceableSpare } from './replaceable-spare.ts';
import { ReplacementError } from './replacement-error.ts';
import { SpareCopy } from './spare-copy.ts';

/** With so few slots left to copy requests are held for the rest: some hundred milliseconds on a slow disk. */
const leftWhileHeldMax = 64;
/** Passes before they are held however many are left: a client that writes the spare faster than it is copied never ends. */
const passesMax = 8;
/** How long requests are held for the copies and the flush at the end, and for those under way where a spare is given up. */
export const replaceHoldMsMax = 20_000;

export interface SpareReplacementParts {
  readonly core: RemapCore;
  readonly gate: RequestGate;
  readonly suspension: Suspension;
  readonly store: Pick<MetadataStore, 'startAnew' | 'updateProperties'>;
  /** What core and store have as their spare. */
  readonly spare: ReplaceableSpare;
  readonly target: BlockDevice;
  /** As superblocks keep them (M12). */
  readonly identities: Readonly<Record<'before' | 'after', Readonly<Record<string, string>>>>;
  /** The old spare is not asked for anything any more: what only it held is gone. */
  readonly giveUp: boolean;
  /** Default `leftWhileHeldMax`. */
  readonly holdBelowSlots?: number;
  /** Leaves nothing on the new disk that could be opened. Rejects with `DeviceError` or `MetadataError`. */
  readonly prepare: () => Promise<void>;
  /** Takes the superblocks from one of the two disks, durably. Rejects with `DeviceError`. */
  readonly disown: (disk: BlockDevice) => Promise<void>;
  /** Lets the host know the session that the metadata has now. Does not reject. */
  readonly noteSession: () => Promise<void>;
}

export interface ReplacementOutcome {
  /** The new disk is the spare; also when `failure` says that it does not take the metadata. */
  readonly replaced: boolean;
  /** One clause; undefined when all went well. */
  readonly failure: string | undefined;
  readonly goneSectors: number;
  /** The old disk has no superblock any more. */
  readonly oldDisowned: boolean;
}

/**
 * Puts another disk in place of the spare while the device serves:
 *
 *     new disk emptied < used slots copied < requests held, all flushed < the old superblocks name the new disk
 *     < checkpoint of a new session on the new disk < old superblocks zeroed < requests go on
 *
 * Until the old superblocks name the new disk nothing has happened. From then on the old spare is a copy, which nobody opens
 * without being told to (M12), and until the new session is durable the new one cannot be opened: at no moment are there two.
 */
export class SpareReplacement {
  readonly #parts: SpareReplacementParts;
  readonly #copy: SpareCopy;
  #copiedSlots = 0;
  #holding: Promise<void> | undefined;
  #stopped = false;

  constructor(parts: SpareReplacementParts) {
    this.#parts = parts;
    this.#copy = new SpareCopy(parts.core, parts.target);
  }

  /** Slots copied, again those that changed. */
  get copiedSlots(): number {
    return this.#copiedSlots;
  }

  get goneSectors(): number {
    return this.#copy.goneSectors;
  }

  /** Ends the copying; what holds requests is ended by itself. */
  stop(): void {
    this.#stopped = true;
  }

  /** Resolves at once unless requests are held for the replacement: nobody else may suspend or resume meanwhile. */
  async notHolding(): Promise<void> {
    await this.#holding;
  }

  /** Does not reject but for bugs. */
  async run(): Promise<ReplacementOutcome> {
    const { spare, giveUp, prepare } = this.#parts;
    try {
      await prepare();
      if (!giveUp) {
        spare.observe((offset, length) => this.#copy.forget(offset, length));
        await this.#copyMost();
      }
      return await this.#exchange();
    } catch (error) {
      return this.#failed(reasonOf(error), false);
    } finally {
      spare.observe(undefined);
    }
  }

  async #copyMost(): Promise<void> {
    const { holdBelowSlots = leftWhileHeldMax } = this.#parts;
    for (let pass = 0; pass < passesMax; pass += 1) {
      if ((await this.#copy.countLeft()) <= holdBelowSlots) return;
      await this.#copyOnce();
    }
  }

  #copyOnce(): Promise<void> {
    return this.#copy.pass(
      () => this.#stopped,
      () => {
        this.#copiedSlots += 1;
      },
    );
  }

  async #exchange(): Promise<ReplacementOutcome> {
    const { gate } = this.#parts;
    // Suspended by an operator: his disks are left alone until he resumes (R30).
    while (gate.suspended) await gate.reopened();
    if (gate.closed || this.#stopped) throw new ReplacementError('the device was closed meanwhile');
    const exchanging = this.#whileHeld();
    this.#holding = exchanging.then(
      () => undefined,
      () => undefined,
    );
    try {
      return await exchanging;
    } finally {
      this.#holding = undefined;
    }
  }

  async #whileHeld(): Promise<ReplacementOutcome> {
    const { suspension, core, giveUp } = this.#parts;
    await suspension.begin({ flush: !giveUp, deadlineMs: replaceHoldMsMax });
    try {
      await this.#withinDeadline(giveUp ? this.#quietWithoutSpare() : this.#copyRest());
      return giveUp ? await this.#moveDead() : await this.#moveAlive();
    } finally {
      await suspension.end(() => core.recover());
    }
  }

  async #copyRest(): Promise<void> {
    const { target } = this.#parts;
    while ((await this.#copy.countLeft()) > 0) await this.#copyOnce();
    await target.flush();
  }

  /** Requests that wait for the old spare end with their time-out (R17). */
  async #quietWithoutSpare(): Promise<void> {
    const { gate, core } = this.#parts;
    await gate.idle();
    await core.backgroundDone();
  }

  async #moveAlive(): Promise<ReplacementOutcome> {
    const { store, spare, target, identities, core, disown } = this.#parts;
    const old = spare.disk;
    await store.updateProperties({ spareIdentity: identities.after });
    const retired = core.forgetRetired();
    spare.replaceBy(target);
    try {
      await store.startAnew({ spareIdentity: identities.after });
    } catch (error) {
      const reason = reasonOf(error);
      const cannotBeOpened = await succeeds(() => disown(target));
      // What may be openable must stay the spare: the old one would be a second.
      if (!cannotBeOpened) return this.#failed(reason, true);
      spare.replaceBy(old);
      core.restoreRetired(retired);
      const back = await succeeds(() => store.startAnew({ spareIdentity: identities.before }));
      return this.#failed(
        back ? reason : `${reason}; the old spare does not take the metadata back either`,
        false,
      );
    }
    core.spareReplaced();
    const oldDisowned = await succeeds(() => disown(old));
    return { replaced: true, failure: undefined, goneSectors: this.goneSectors, oldDisowned };
  }

  async #moveDead(): Promise<ReplacementOutcome> {
    const { store, spare, target, identities, core, noteSession } = this.#parts;
    this.#copy.goneSectors += await giveUpSlots(core);
    core.forgetRetired();
    spare.replaceBy(target);
    core.spareGivenUp();
    core.spareReplaced();
    try {
      await store.startAnew({ spareIdentity: identities.after });
    } catch (error) {
      return this.#failed(reasonOf(error), true);
    }
    // The old superblocks could not be told. Should that disk come back, only the host knows it for the older one (M12): before
    // anybody writes. A host whose files hang is not waited for any longer.
    await succeeds(() => this.#withinDeadline(noteSession()));
    return { replaced: true, failure: undefined, goneSectors: this.goneSectors, oldDisowned: false };
  }

  #failed(failure: string, replaced: boolean): ReplacementOutcome {
    return { replaced, failure, goneSectors: this.goneSectors, oldDisowned: false };
  }

  /** Behind the deadline nothing that was begun is of any more use; a bug still ends the process. */
  async #withinDeadline(work: Promise<void>): Promise<void> {
    const { clock } = this.#parts.core.parts;
    await new Promise<void>((resolve, reject) => {
      let late = false;
      const timer = clock.schedule(replaceHoldMsMax, () => {
        late = true;
        this.#stopped = true;
        reject(new ReplacementError(`a disk has not answered for ${replaceHoldMsMax / 1000} s`));
      });
      void work.then(
        () => {
          timer.cancel();
          resolve();
        },
        (error: unknown) => {
          timer.cancel();
          if (late) reasonOf(error);
          else reject(error);
        },
      );
    });
  }
}

/** Any error of the world as one clause; a bug is thrown on. */
function reasonOf(error: unknown): string {
  const ofWorld =
    error instanceof ReplacementError ||
    error instanceof DeviceError ||
    error instanceof MetadataError ||
    error instanceof SuspendError;
  if (!ofWorld) throw error;
  return error.message;
}

async function succeeds(action: () => Promise<void>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    reasonOf(error);
    return false;
  }
}
