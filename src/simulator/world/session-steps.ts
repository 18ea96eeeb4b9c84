import { assert } from '../../block/assert.ts';
import { IoFlags, sectorBytes } from '../../block/block-device.ts';
import { delay } from '../../block/clock.ts';
import { asDeviceError } from '../../block/device-error.ts';
import { MessageError } from '../../remap/message/message-error.ts';
import { SuspendError } from '../../remap/order/suspension.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import type { FaultInjector } from './fault-injector.ts';
import { JudgeViolation } from './judge.ts';
import type { JudgedClient } from './judged-client.ts';
import { countOne, noteStates } from './world-outcome.ts';
import type { SectorRange, Step } from './world-plan.ts';
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
      case 'fast-zeroes':
        await client.writeZeroes(step.sector, step.sectorCount, IoFlags.onlyIfFast);
        break;
      case 'raw-read':
        await this.#readRaw(session, step);
        break;
      case 'extents':
        await this.#askExtents(session, step);
        break;
      case 'repair-replicas':
        await this.#repairReplicas(session);
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
    const device = deviceOf(session);
    const [verb = ''] = words;
    const [sector = 0, count = 1] = words.map(Number).filter((word) => !Number.isNaN(word));
    if (verb === 'remap' || verb === 'import') {
      trouble.markSpecial(sector, count);
      trouble.mayMove(sector, count);
    }
    if (words.join(' ') === 'policy on-lost zero') judge.lostMayBeZeros = true;
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

  /** R29: main beside the device. What it gives is what a read of the device may give; errors are its own affair. */
  async #readRaw(session: Session, { sector, sectorCount }: SectorRange): Promise<void> {
    const { judge } = this.#world;
    const view = deviceOf(session).rawView();
    const target = Buffer.allocUnsafeSlow(sectorCount * sectorBytes);
    const token = judge.readBegun(sector, sectorCount);
    const failed = new Set<number>();
    try {
      await answered(this.#world, session, view.read(target, sector * sectorBytes));
    } catch (error) {
      for (const { offset, length } of asDeviceError(error).ranges) {
        for (let at = offset; at < offset + length; at += sectorBytes) failed.add(at / sectorBytes);
      }
    }
    judge.readAnswered(token, target, failed);
    await view.close();
  }

  /** R29: simulated disks say data everywhere, so nothing is a hole or zeros, and only what may be lost is called so. */
  async #askExtents(session: Session, { sector, sectorCount }: SectorRange): Promise<void> {
    const { judge } = this.#world;
    const [offset, length] = [sector * sectorBytes, sectorCount * sectorBytes];
    const extents = await answered(this.#world, session, deviceOf(session).extents(offset, length));
    let at = sector;
    for (const extent of extents) {
      const end = at + extent.length / sectorBytes;
      const isLost = extent.state === 'unreadable' || extent.state === 'gone';
      for (; isLost && at < end && judge.mayBeLost(at); at += 1);
      const isRight = isLost ? at === end : extent.state === 'data' || extent.state === 'remapped';
      if (!isRight) throw new JudgeViolation(`R29: sector ${at} is called ${extent.state}`);
      at = end;
    }
    if (at !== sector + sectorCount) throw new JudgeViolation(`R29: extents end at sector ${at}`);
  }

  /** M2: as the process does from time to time while it is not suspended (R30). */
  async #repairReplicas(session: Session): Promise<void> {
    const { metadata } = session;
    if (deviceOf(session).suspended || metadata?.state !== 'open') return;
    const before = metadata.status().replicasInSync;
    await whileAlive(this.#world, session, metadata.repairReplicas());
    if (metadata.status().replicasInSync > before)
      countOne(this.#world.outcome.states, 'replica taken in again');
  }

  async #suspend(session: Session, flush: boolean, forMs: number): Promise<void> {
    const { clock, trouble, outcome } = this.#world;
    const device = deviceOf(session);
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

function deviceOf({ device }: Session): RemapDevice {
  assert(device !== undefined, 'steps are done with a device that is open');
  return device;
}
