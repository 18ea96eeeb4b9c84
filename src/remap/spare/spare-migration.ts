import { delay } from '../../block/clock.ts';
import type { RequestGate } from '../../block/request-gate.ts';
import { noSlot } from '../../metadata/mapping-state.ts';
import type { RemapCore } from '../remap-core.ts';
import { type LeaveChoices, type LeaveResult, leaveSpare } from './leave-spare.ts';
import type { SpareUnit } from './spare-unit.ts';

/** Entries of the table looked at between two turns of the event loop: about 1 ms. */
const entriesPerSlice = 4096;
/** A slot that nobody's record names is being filled by a move that began earlier: so long it is waited for. */
const emptyWaitMs = 100;
const emptyWaitsMax = 300;

export interface MigrationOutcome {
  /** One clause for people; undefined when no granule has a slot there any more. */
  readonly failure: string | undefined;
  readonly goneSectors: number;
}

const reasons: Readonly<Record<Exclude<LeaveResult, 'moved' | 'not-there'>, string>> = {
  unreadable: 'it does not give all that it holds: give up what it cannot read (--give-up)',
  'spare-away': 'a spare does not answer: try again when it does, or give up what it holds (--give-up)',
  'no-room': 'the other spares have no room for what it holds: add one first',
  'no-marks':
    'the table has no room for its marks without its slots: write to the lost sectors, or clear them, first',
  'metadata-failed': 'the metadata cannot be written: try again when the home answers',
};

/**
 * Empties one spare, granule by granule, while the device serves; nothing new comes to it meanwhile. What is left when it ends
 * early is where it was: it goes on with the next attempt.
 */
export class SpareMigration {
  readonly #core: RemapCore;
  readonly #gate: RequestGate;
  readonly #unit: SpareUnit;
  readonly #choices: LeaveChoices;
  #movedSlots = 0;
  #goneSectors = 0;
  #stopped = false;
  /** Whoever waits at the gate goes on when it is stopped: a suspended device may be closed. */
  #wake: () => void = () => undefined;

  constructor(core: RemapCore, gate: RequestGate, unit: SpareUnit, choices: LeaveChoices) {
    this.#core = core;
    this.#gate = gate;
    this.#unit = unit;
    this.#choices = choices;
  }

  get movedSlots(): number {
    return this.#movedSlots;
  }

  get goneSectors(): number {
    return this.#goneSectors;
  }

  /** Between two granules. */
  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  /** Does not reject but for bugs. */
  async run(): Promise<MigrationOutcome> {
    this.#unit.leaving = true;
    for (let waits = 0; waits <= emptyWaitsMax; waits += 1) {
      const failure = await this.#pass();
      if (failure !== undefined) return this.#ended(failure);
      if (this.#unit.allocator.usedSlots === 0) {
        // Nobody has asked it: what clients wrote there and nobody flushed is gone, and no other flush may vouch for it (R7).
        if (this.#choices.isDead) this.#unit.flush.poison();
        return this.#ended(undefined);
      }
      await delay(this.#core.parts.clock, emptyWaitMs);
    }
    return this.#ended('some of its slots may be named by records in doubt: try again when the home answers');
  }

  #ended(failure: string | undefined): MigrationOutcome {
    return { failure, goneSectors: this.#goneSectors };
  }

  async #pass(): Promise<string | undefined> {
    const { table, parts } = this.#core;
    let visited = 0;
    let state = table.atOrAfter(0);
    while (state !== undefined) {
      const { granule, slot } = state;
      if (slot !== noSlot && this.#unit.hasSlot(slot)) {
        const failure = await this.#leave(granule);
        if (failure !== undefined) return failure;
      }
      visited += 1;
      if (visited % entriesPerSlice === 0) await delay(parts.clock, 0);
      state = table.atOrAfter(granule + 1);
    }
    return undefined;
  }

  /** A request like any other for whoever suspends or closes the device (R30, I6). */
  async #leave(granule: number): Promise<string | undefined> {
    if (this.#stopped || !(await this.#entered())) return 'the device was closed meanwhile';
    try {
      const { result, goneSectors } = await leaveSpare(this.#core, granule, this.#unit, this.#choices);
      this.#goneSectors += goneSectors;
      if (result === 'moved') this.#movedSlots += 1;
      return result === 'moved' || result === 'not-there' ? undefined : reasons[result];
    } finally {
      this.#gate.leave();
    }
  }

  /** False when the device closes, or this is stopped, first. */
  async #entered(): Promise<boolean> {
    while (!this.#gate.enter()) {
      const stopping = new Promise<boolean>((resolve) => {
        this.#wake = () => resolve(false);
      });
      if (!(await Promise.race([this.#gate.reopened(), stopping]))) return false;
    }
    return true;
  }
}
