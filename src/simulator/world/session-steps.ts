import { assert } from '../../block/assert.ts';
import { delay } from '../../block/clock.ts';
import { MessageError } from '../../remap/message/message-error.ts';
import { SuspendError } from '../../remap/order/suspension.ts';
import type { FaultInjector } from './fault-injector.ts';
import type { JudgedClient } from './judged-client.ts';
import { countOne, noteStates } from './world-outcome.ts';
import type { Step } from './world-plan.ts';
import { answered, type Session, type WorldState, whileAlive } from './world-state.ts';

/** Does what the plan says, one step of one client after the other. */
export class SessionSteps {
  readonly #world: WorldState;
  readonly #injector: FaultInjector;

  constructor(world: WorldState, injector: FaultInjector) {
    this.#world = world;
    this.#injector = injector;
  }

  async do(session: Session, client: JudgedClient, step: Step): Promise<void> {
    const { outcome } = this.#world;
    if (this.#world.violation !== undefined) await new Promise<never>(() => {});
    switch (step.verb) {
      case 'write':
        await client.write(step.sector, step.sectorCount, step.fua);
        break;
      case 'read':
        await client.read(step.sector, step.sectorCount);
        break;
      case 'discard':
        await client.discard(step.sector, step.sectorCount);
        break;
      case 'write-zeroes':
        await client.writeZeroes(step.sector, step.sectorCount);
        break;
      case 'flush':
        await client.flush();
        break;
      case 'pause':
        await delay(session.clock, step.forMs);
        break;
      case 'message':
        await this.#message(session, step.words);
        break;
      case 'suspend':
        await this.#suspend(session, step.flush, step.forMs);
        break;
      case 'fault':
        this.#injector.inject(step.disk, step.what);
        break;
    }
    countOne(outcome.requests, step.verb);
    if (session.device !== undefined) noteStates(outcome, session.device.status());
  }

  async #message(session: Session, words: readonly string[]): Promise<void> {
    const { judge, trouble, outcome } = this.#world;
    const { device } = session;
    assert(device !== undefined, 'messages are for a device that is open');
    const [verb = ''] = words;
    const [sector = 0, count = 1] = words.map(Number).filter((word) => !Number.isNaN(word));
    if (verb === 'remap' || verb === 'import') {
      trouble.markSpecial(sector, count);
      trouble.mayMove(sector, count);
    }
    const filled = verb === 'fill' ? judge.newVersion() : undefined;
    if (filled !== undefined) {
      judge.contents.makeZeroes(filled);
      judge.writeBegun(sector, count, filled);
    }
    try {
      await answered(this.#world, session, device.message(words));
      countOne(outcome.requests, `message ${verb}`);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      countOne(outcome.failedRequests, `message ${verb}`);
    }
    if (filled !== undefined) judge.filled(sector, count, filled);
  }

  async #suspend(session: Session, flush: boolean, forMs: number): Promise<void> {
    const { clock, trouble, outcome } = this.#world;
    const { device } = session;
    assert(device !== undefined, 'a device that is open is suspended');
    const sinceMs = clock.nowMs();
    try {
      await whileAlive(this.#world, session, device.suspend({ flush }));
      if (device.suspended) countOne(outcome.states, 'suspended');
    } catch (error) {
      if (!(error instanceof SuspendError)) throw error;
      // Another client may have resumed it.
      if (!trouble.met(sinceMs) && error.code !== 'SUSPEND_ENDED') throw error;
      countOne(outcome.failedRequests, 'suspend');
    }
    await delay(session.clock, forMs);
    await whileAlive(this.#world, session, device.resume());
  }
}
