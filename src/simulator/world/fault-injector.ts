import type { SimulatedDisk } from '../simulated-disk.ts';
import type { FaultEffects } from './fault-effects.ts';
import type { DiskName, FaultStep } from './world-plan.ts';
import type { WorldState } from './world-state.ts';

/** Breaks disks as the plan says, and mends what does not stay broken. */
export class FaultInjector {
  readonly #world: WorldState;
  readonly #effects: FaultEffects;
  /** How long the next request that gets stuck stays so. */
  #stuckForMs = 0;

  constructor(world: WorldState, effects: FaultEffects) {
    this.#world = world;
    this.#effects = effects;
  }

  inject(name: DiskName, what: FaultStep): void {
    const disk = name === 'main' ? this.#world.main : this.#world.spare;
    const { faults } = disk;
    switch (what.fault) {
      case 'bad':
        this.#badSectors(disk, what);
        break;
      case 'fail':
        faults.failNext(what.count, { kinds: what.kinds, errno: what.errno });
        break;
      case 'partial-write':
        faults.failNext(1, { kinds: ['write'], errno: what.errno, partly: true });
        break;
      case 'stuck':
        this.#stuckForMs = what.forMs;
        faults.stickNext(1, { kinds: what.kinds });
        break;
      case 'delay':
        faults.delayNext(1, what.delay, { kinds: what.kinds });
        break;
      case 'path':
        faults.setPathError(what.errno);
        this.#forAWhile(what.forMs, () => faults.setPathError(undefined));
        break;
      case 'unplugged':
        this.#unplug(disk, what.forMs);
        break;
      case 'failing-flush':
        faults.failFlush('once');
        break;
      case 'lying-flush':
        faults.lieOnFlush(what.count);
        break;
    }
  }

  /** A request of this disk got stuck. */
  stuck(disk: SimulatedDisk): void {
    this.#forAWhile(this.#stuckForMs, () => disk.releaseStuck());
  }

  #badSectors(disk: SimulatedDisk, what: Extract<FaultStep, { fault: 'bad' }>): void {
    const { main, trouble } = this.#world;
    const { sector, sectorCount, on, blind } = what;
    // A sector that only fails reads heals when it is written: else an acknowledged write could be lost in silence.
    const fault = { on, healOnWrite: on === 'read' && !blind };
    if (on !== 'write') this.#effects.lostIfRead(disk, sector, sectorCount);
    disk.faults.addBadSectors(sector, sectorCount, fault);
    if (disk !== main) return;
    trouble.markSpecial(sector, sectorCount);
    trouble.mayMove(sector, sectorCount);
  }

  #unplug(disk: SimulatedDisk, forMs: number): void {
    if (!disk.plugged) return;
    if (disk === this.#world.spare) this.#effects.spareTrouble();
    this.#world.trouble.lasts();
    this.#effects.lied(disk, disk.unplug());
    this.#liftAfter(forMs, () => disk.plug());
  }

  #forAWhile(forMs: number, heal: () => void): void {
    this.#world.trouble.lasts();
    this.#liftAfter(forMs, heal);
  }

  /** Ends a fault that lasts. A restart may have done so before. */
  #liftAfter(forMs: number, heal: () => void): void {
    const { clock, trouble, session } = this.#world;
    clock.schedule(forMs, () => {
      if (this.#world.session !== session) return;
      heal();
      trouble.lifted(clock.nowMs());
    });
  }
}
