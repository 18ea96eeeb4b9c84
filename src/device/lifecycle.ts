import { assert } from '../block/assert.ts';
import type { LifecycleState } from './messages.ts';

/**
 *                    ┌──── suspended ◄──┐
 *                    │        ▲ │       │ not removed: a disk did not answer
 *                    │        │ ▼       │
 *     starting ──► serving ──────► removing ──► removed
 *        │           │  ▲               │ ▲
 *        │           │  └───────────────┘ │
 *        │           └──► failed          │
 *        ├────────────────────────────────┘  a signal while starting
 *        └──► failed                         start-up was refused; everything opened so far is closed
 *
 * `removing` has a way back for as long as `remove` without `--force` waits for the last answers (`Removal`).
 */
const arrows: Readonly<Record<LifecycleState, readonly LifecycleState[]>> = {
  starting: ['serving', 'removing', 'failed'],
  serving: ['suspended', 'removing', 'failed'],
  suspended: ['serving', 'removing', 'failed'],
  removing: ['serving', 'suspended', 'removed'],
  removed: [],
  failed: [],
};

/** What somebody may ask of a device; looking (`status`, `table`, `ping`) is allowed in every state. */
export type LifecycleVerb = 'message' | 'suspend' | 'resume' | 'attach' | 'hand-over' | 'remove';

const notYet = 'it is starting: try again when it serves';
const tooLate = 'it is being removed';
const resumeFirst = 'it is suspended: resume it first';

/**
 * Why a verb is refused in a state, as the end of a sentence; where nothing stands it is allowed. What a suspended device lets
 * a message do is the target's to say: those that only look are answered.
 */
const refusals: Readonly<Record<LifecycleState, Readonly<Partial<Record<LifecycleVerb, string>>>>> = {
  // A `remove` is remembered and done as soon as there is something to remove.
  starting: { message: notYet, suspend: notYet, resume: notYet, attach: notYet, 'hand-over': notYet },
  // Suspending what is suspended and resuming what serves are no errors: scripts may say them twice.
  serving: {},
  suspended: { attach: resumeFirst, 'hand-over': resumeFirst },
  // A second `remove` is the same one.
  removing: { message: tooLate, suspend: tooLate, resume: tooLate, attach: tooLate, 'hand-over': tooLate },
  removed: {
    message: 'it is removed',
    suspend: 'it is removed',
    resume: 'it is removed',
    attach: 'it is removed',
    'hand-over': 'it is removed',
  },
  failed: {
    message: 'it did not start',
    suspend: 'it did not start',
    resume: 'it did not start',
    attach: 'it did not start',
    'hand-over': 'it did not start',
    remove: 'it did not start',
  },
};

/** The state of one device's process. A move without an arrow is a bug; a verb that does not fit is refused. */
export class Lifecycle {
  #state: LifecycleState = 'starting';

  get state(): LifecycleState {
    return this.#state;
  }

  canMoveTo(next: LifecycleState): boolean {
    return arrows[this.#state].includes(next);
  }

  moveTo(next: LifecycleState): void {
    assert(this.canMoveTo(next), `Lifecycle: no way from ${this.#state} to ${next}`);
    this.#state = next;
  }

  /** One line that says why this cannot be done now; undefined: it can. */
  refusalOf(verb: LifecycleVerb): string | undefined {
    const why = refusals[this.#state][verb];
    return why === undefined ? undefined : `${verb}: not now, ${why}`;
  }
}
