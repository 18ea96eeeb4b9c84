import type { BlockDevice } from '../../block/block-device.ts';
import type { ScheduledAction } from '../../block/clock.ts';
import { DeviceError } from '../../block/device-error.ts';
import type { RequestGate } from '../../block/request-gate.ts';
import { MetadataError, type MetadataStore } from '../../metadata/metadata-store.ts';
import { SuspendError, type Suspension } from '../order/suspension.ts';
import type { RemapCore } from '../remap-core.ts';
import { giveUpSlots } from './give-up-slots.ts';
import { LeavableDevice } from './leavable-device.ts';
import type { ReplaceableSpare } from './replaceable-spare.ts';
import { replacedKey } from './replaced-key.ts';
import { ReplacementError } from './replacement-error.ts';
import { SpareCopy } from './spare-copy.ts';

/** With so few slots left to copy requests are held for the rest: some hundred milliseconds on a slow disk. */
const leftWhileHeldMax = 64;
/** Passes before they are held however many are left: a client that writes the spare faster than it is copied never ends. */
const passesMax = 8;
/**
 * R36: how long requests are held before anything has taken effect: for those under way, for the last copies and for what the old
 * spare is told. Then they go on over the old one.
 */
export const replaceHoldMsMax = 20_000;
/** How long they are held on for the new disk to take over; and as long once more for the way back, or for the old one's end. */
export const takeOverMsMax = 10_000;
/**
 * No slot was copied for so long: the old spare hangs, with a client's write of a slot as a rule. A read of it has an answer after
 * half of this, if only a time-out.
 */
const copyStandsStillMsMax = 60_000;
/** The new disk has no answer for so long: another one is needed. A drive's own recovery of a bad sector takes 7 s. */
const newDiskAnswerMsMax = 20_000;

export interface SpareReplacementParts {
  readonly core: RemapCore;
  readonly gate: RequestGate;
  readonly suspension: Suspension;
  readonly store: Pick<
    MetadataStore,
    'startAnew' | 'sentSuperblock' | 'goBack' | 'updateProperties' | 'flushEpoch' | 'status'
  >;
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
  readonly prepare: (disk: BlockDevice) => Promise<void>;
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
 *
 * A disk that hangs meanwhile is left (R36): all that waits for it fails, and what that means for the exchange is decided by what
 * was sent to it.
 */
export class SpareReplacement {
  readonly #parts: SpareReplacementParts;
  readonly #target: LeavableDevice;
  readonly #copy: SpareCopy;
  #copiedSlots = 0;
  #holding: Promise<void> | undefined;
  #isTakingOver = false;
  #stopped = false;
  /** When what has not taken effect by then does not. */
  #holdEndMs = 0;

  constructor(parts: SpareReplacementParts) {
    this.#parts = parts;
    const { arena, clock } = parts.core.parts;
    this.#target = new LeavableDevice(parts.target, { arena, deadline: { clock, ms: newDiskAnswerMsMax } });
    this.#copy = new SpareCopy(parts.core, this.#target);
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
    if (!this.#isTakingOver) this.#target.leave();
  }

  /** Resolves at once unless requests are held for the replacement: nobody else may suspend or resume meanwhile. */
  async notHolding(): Promise<void> {
    await this.#holding;
  }

  /** Does not reject but for bugs. */
  async run(): Promise<ReplacementOutcome> {
    const { spare, giveUp, prepare } = this.#parts;
    try {
      await prepare(this.#target);
      if (!giveUp) {
        spare.observe((offset, length) => this.#copy.forget(offset, length));
        await this.#unlessItStandsStill(this.#copyMost());
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
    this.#holdEndMs = core.parts.clock.nowMs() + replaceHoldMsMax;
    await suspension.begin({ flush: !giveUp, deadlineMs: replaceHoldMsMax });
    try {
      await this.#beforeHoldEnds(giveUp ? this.#quietWithoutSpare() : this.#copyRest());
      if (!giveUp) await this.#tellOld();
      this.#isTakingOver = true;
      return giveUp ? await this.#moveDead() : await this.#moveAlive();
    } finally {
      await suspension.end(() => core.recover());
    }
  }

  async #copyRest(): Promise<void> {
    while ((await this.#copy.countLeft()) > 0) await this.#copyOnce();
    await this.#target.flush();
  }

  /** What waits for the old spare ends, also where it hangs: nobody will ask it again. What waits for main ends as ever (R17). */
  async #quietWithoutSpare(): Promise<void> {
    const { gate, core, spare } = this.#parts;
    spare.disk.leave();
    core.paths.spare.refuse();
    await gate.idle();
    await core.backgroundDone();
  }

  /** From here on the old spare is a copy. Where it cannot be told that it is, it is told that it is not. */
  async #tellOld(): Promise<void> {
    const { store, identities, core } = this.#parts;
    const spareIdentity = { ...identities.after, [replacedKey]: 'yes' };
    const telling = store.updateProperties({ spareIdentity });
    try {
      await this.#beforeHoldEnds(telling);
    } catch (error) {
      const reason = reasonOf(error);
      // Behind `telling` where that goes on: the last word is that nothing has happened.
      const undone = store.updateProperties({ spareIdentity: identities.before }).catch(reasonOf);
      core.beside(undone.then(() => undefined));
      throw new ReplacementError(reason);
    }
  }

  async #moveAlive(): Promise<ReplacementOutcome> {
    const { store, spare, identities, core, disown } = this.#parts;
    const old = spare.disk;
    const retired = core.forgetRetired();
    const epoch = store.flushEpoch;
    const reason = await this.#startOn(this.#target, old);
    if (reason === undefined) {
      this.#target.waitForEver();
      core.spareReplaced();
      const oldDisowned = await this.#succeedsOn(old, () => disown(old));
      return { replaced: true, failure: undefined, goneSectors: this.goneSectors, oldDisowned };
    }
    core.excuseFlushes(epoch);
    // What may be openable must stay the spare: the old one would be a second.
    if (store.sentSuperblock && !(await this.#succeedsOn(this.#target, () => disown(this.#target)))) {
      return this.#stay(reason, old);
    }
    spare.replaceBy(old);
    old.rejoin();
    core.restoreRetired(retired);
    const back = await this.#succeedsOn(undefined, () => store.goBack({ spareIdentity: identities.before }));
    return this.#failed(
      back
        ? reason
        : `${reason}; the old spare is the spare, but could not be told so: "adopt" it should the device end now`,
      false,
    );
  }

  /** The new disk may have a superblock, which nobody could take away: no record can be stored until a person has looked. */
  #stay(reason: string, old: LeavableDevice): ReplacementOutcome {
    const { core } = this.#parts;
    this.#target.rejoin();
    this.#target.waitForEver();
    core.spareReplaced();
    core.metadataPath.noteFailed();
    const what =
      `${reason}; it may carry the metadata or not: remove the device, then assemble it with ${this.#target.name}, ` +
      `or where that is no spare, "dm-remap adopt ${old.name}"`;
    return this.#failed(what, true);
  }

  async #moveDead(): Promise<ReplacementOutcome> {
    const { store, spare, core, noteSession } = this.#parts;
    const old = spare.disk;
    this.#copy.goneSectors += await giveUpSlots(core);
    core.forgetRetired();
    core.spareGivenUp();
    const reason = await this.#startOn(this.#target, old);
    // Whatever became of it: the old one was left.
    spare.replaceBy(this.#target);
    core.spareReplaced();
    this.#target.waitForEver();
    if (reason !== undefined) {
      core.metadataPath.noteFailed();
      return this.#failed(reason, true);
    }
    // The old superblocks could not be told. Should that disk come back, only the host knows it for the older one (M12): before
    // anybody writes. A host whose files hang is not waited for any longer.
    await this.#succeedsOn(undefined, noteSession);
    const { replicasInSync, replicasTotal } = store.status();
    if (replicasInSync === replicasTotal)
      return { replaced: true, failure: undefined, goneSectors: this.goneSectors, oldDisowned: false };
    return this.#failed(
      `it takes only ${replicasInSync} of ${replicasTotal} replicas of the metadata: replace it by another disk soon`,
      true,
    );
  }

  /** Undefined when the session on the new disk is durable; else why not, and then nothing more is sent for it. */
  async #startOn(target: LeavableDevice, old: LeavableDevice): Promise<string | undefined> {
    const { store, spare, identities, core, giveUp } = this.#parts;
    const timer = core.parts.clock.schedule(takeOverMsMax, () => {
      target.leave();
      // A sign of life that it has not taken would be waited for, too. It is one block, which a later one replaces.
      old.leave();
    });
    try {
      // In place of one that is lost a disk with bad places is better than none.
      await store.startAnew({ spareIdentity: identities.after }, () => spare.replaceBy(target), !giveUp);
      return undefined;
    } catch (error) {
      return reasonOf(error);
    } finally {
      timer.cancel();
    }
  }

  /** Behind the deadline the disk is left, or where there is none nobody waits any longer. */
  async #succeedsOn(disk: LeavableDevice | undefined, action: () => Promise<void>): Promise<boolean> {
    const { core } = this.#parts;
    const outcome = action().then(
      () => true,
      (error: unknown) => {
        reasonOf(error);
        return false;
      },
    );
    let timer: ScheduledAction | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = core.parts.clock.schedule(takeOverMsMax, () => {
        disk?.leave();
        resolve(false);
      });
    });
    const result = await Promise.race([outcome, late]);
    timer?.cancel();
    return result;
  }

  async #unlessItStandsStill(copying: Promise<void>): Promise<void> {
    const { clock } = this.#parts.core.parts;
    await new Promise<void>((resolve, reject) => {
      let copied = -1;
      let timer: ScheduledAction | undefined;
      const look = (): void => {
        if (this.#copiedSlots === copied) {
          timer = undefined;
          this.#stopped = true;
          this.#target.leave();
          reject(
            new ReplacementError(
              `no slot could be copied for ${copyStandsStillMsMax / 1000} s, the old spare does not answer: try again when it does, or give it up (--give-up)`,
            ),
          );
          return;
        }
        copied = this.#copiedSlots;
        timer = clock.schedule(copyStandsStillMsMax, look);
      };
      look();
      void copying.then(
        () => {
          timer?.cancel();
          resolve();
        },
        (error: unknown) => {
          if (timer === undefined) reasonOf(error);
          timer?.cancel();
          reject(error);
        },
      );
    });
  }

  #failed(failure: string, replaced: boolean): ReplacementOutcome {
    return { replaced, failure, goneSectors: this.goneSectors, oldDisowned: false };
  }

  /** Behind the deadline nothing that was begun is of any more use; a bug still ends the process. */
  async #beforeHoldEnds(work: Promise<void>): Promise<void> {
    const { clock } = this.#parts.core.parts;
    await new Promise<void>((resolve, reject) => {
      let late = false;
      const timer = clock.schedule(Math.max(0, this.#holdEndMs - clock.nowMs()), () => {
        late = true;
        this.#stopped = true;
        this.#target.leave();
        const left = this.#parts.giveUp ? '; the old spare is not asked any more' : '';
        reject(new ReplacementError(`a disk has not answered for ${replaceHoldMsMax / 1000} s${left}`));
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
