import { sectorBytes } from '../../block/block-device.ts';
import type { MappedDevice } from '../../mapping/mapped-device.ts';
import type { SimulatedDisk } from '../simulated-disk.ts';
import type { FaultScope } from '../simulated-faults.ts';
import type { FaultEffects } from './fault-effects.ts';
import type { ForeignDisks } from './foreign-disks.ts';
import { JudgeViolation } from './judge.ts';
import { targetMessages } from './main-targets.ts';
import { countOne } from './world-outcome.ts';
import type { DiskName, FaultStep, MainSegment } from './world-plan.ts';
import type { WorldState } from './world-state.ts';

/** Breaks disks as the plan says, and mends what does not stay broken. */
export class FaultInjector {
  readonly #world: WorldState;
  readonly #effects: FaultEffects;
  readonly #foreign: ForeignDisks;
  /** How long the next request that gets stuck stays so. */
  #stuckForMs = 0;

  constructor(world: WorldState, effects: FaultEffects, foreign: ForeignDisks) {
    this.#foreign = foreign;
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
      case 'slot':
        this.#badSlot(what);
        break;
      case 'fail':
        faults.failNext(what.count, { ...scopeOf(what), errno: what.errno });
        break;
      case 'partial-write':
        faults.failNext(1, { kinds: ['write'], errno: what.errno, partly: true });
        break;
      case 'stuck':
        this.#stuckForMs = what.forMs;
        faults.stickNext(1, { kinds: what.kinds });
        break;
      case 'delay':
        faults.delayNext(what.count ?? 1, what.delay, scopeOf(what));
        break;
      case 'path':
        faults.setPathError(what.errno);
        this.#forAWhile(what.forMs, () => faults.setPathError(undefined));
        break;
      case 'unplugged':
        this.#unplug(disk, what.forMs);
        break;
      case 'swapped':
        this.#swap(disk, what.forMs);
        break;
      case 'target':
        this.#misbehave(what);
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

  #badSlot({ sector, on }: Extract<FaultStep, { fault: 'slot' }>): void {
    const { spare, judge, plan } = this.#world;
    const image = spare.cachedImage();
    const perBlock = plan.geometry.spareLogicalBytes / sectorBytes;
    for (let at = 0; at < image.length; at += sectorBytes) {
      const stamp = judge.contents.stampOf(image, at);
      if (stamp?.sector !== sector || !judge.mayBe(sector, stamp.version)) continue;
      const first = Math.floor(at / sectorBytes / perBlock) * perBlock;
      this.#badSectors(spare, { fault: 'bad', sector: first, sectorCount: perBlock, on, blind: false });
      return;
    }
  }

  #unplug(disk: SimulatedDisk, forMs: number): void {
    if (!disk.plugged) return;
    if (disk === this.#world.spare) this.#effects.spareTrouble();
    this.#world.trouble.lasts();
    disk.unplug();
    this.#liftAfter(forMs, () => disk.plug());
  }

  /** R32: the disk in its place is another one for some time, and must stay as it is. */
  #swap(disk: SimulatedDisk, forMs: number): void {
    if (!disk.plugged) return;
    const { session, clock } = this.#world;
    this.#unplug(disk, forMs);
    clock.schedule(forMs / 4, () => {
      if (this.#world.session === session) this.#foreign.putInPlaceOf(disk);
    });
  }

  #misbehave(what: Extract<FaultStep, { fault: 'target' }>): void {
    const { session, plan, outcome } = this.#world;
    const segment = plan.mainSegments?.[what.segment];
    const targets = session?.targets;
    if (segment === undefined || targets === undefined) return;
    const { begin, end } = targetMessages(segment, what.amount, plan.geometry.logicalBlockBytes);
    countOne(outcome.targetFaults, segment.target);
    if (begin.length === 0) return;
    for (const words of begin) this.#tell(targets, segment, words);
    this.#forAWhile(what.forMs, () => this.#tell(targets, segment, end));
  }

  #tell(targets: MappedDevice, segment: MainSegment, words: readonly string[]): void {
    targets.message(segment.sector, words).catch((cause: unknown) => {
      const what = `a target refuses '${words.join(' ')}'`;
      this.#world.violation ??= new JudgeViolation(what, { cause });
    });
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

function scopeOf(what: Extract<FaultStep, { fault: 'fail' | 'delay' }>): FaultScope {
  const { kinds, sector, sectorCount } = what;
  return sector === undefined || sectorCount === undefined ? { kinds } : { kinds, sector, sectorCount };
}
