import { Errno } from '../../block/errno.ts';
import type { OperationKind } from '../operation-counter.ts';
import { SeededRandom } from '../seeded-random.ts';
import { drawExtras } from './plan-extras.ts';
import { drawSituation } from './plan-situations.ts';
import { drawScrubs } from './scrub-drawing.ts';
import { drawGeometry, layoutOf, type WorldGeometry } from './world-geometry.ts';
import type { DiskName, FaultStep, PlannedStep, SessionEnd, Step, WorldPlan } from './world-plan.ts';

/** Sectors of the largest request. */
const requestSectorsMax = 32;
/** With several clients each owns every n-th stripe of this many sectors: not a granule's, so that granules are shared. */
const stripeSectors = 6;
const clientsMax = 4;

/** What may go wrong in one world: few kinds together, so that a failure tells what it is about. */
type Theme =
  | 'transient'
  | 'partial-write'
  | 'stuck'
  | 'late'
  | 'slow'
  | 'path'
  | 'unplugged'
  | 'suspend'
  | 'failing-flush'
  | 'lying-flush'
  | 'spare-bad'
  | 'discard'
  | 'messages';

const themes: readonly Theme[] = [
  'transient',
  'partial-write',
  'stuck',
  'late',
  'slow',
  'path',
  'unplugged',
  'suspend',
  'failing-flush',
  'lying-flush',
  'spare-bad',
  'discard',
  'messages',
];

export function drawPlan(seed: number): WorldPlan {
  return new PlanDrawing(seed).draw();
}

/** Messages about a range of sectors. */
const rangeVerbs: readonly (readonly string[])[] = [
  ['remap'],
  ['remap'],
  ['unremap'],
  ['unremap'],
  ['verify'],
  ['retry'],
  ['retire'],
  ['import', 'suspect'],
  ['query'],
];

const plainMessages: readonly (readonly string[])[] = [
  ['list'],
  ['lost'],
  ['stats'],
  ['spare'],
  ['health'],
  ['clear_stats'],
  ['help'],
];

const policyWords: readonly (readonly string[])[] = [
  ['path-timeout', '0'],
  ['path-timeout', '3'],
  ['on-write-error', 'rewrite-first'],
  ['on-write-error', 'remap'],
  ['on-spare-full', 'read-only'],
  ['on-spare-full', 'fail-writes'],
  ['main-cache', 'off'],
  ['main-cache', 'as-is'],
  ['verify', 'always'],
  ['salvage', 'off'],
];

/** Draws one plan. */
class PlanDrawing {
  readonly #seed: number;
  readonly #random: SeededRandom;
  readonly #geometry: WorldGeometry;
  readonly #themes: readonly Theme[];
  readonly #steps: PlannedStep[] = [];
  /** Bad granules must stay rare: where most have one, a probe of eight rightly suspects the path (R16). */
  readonly #badGranules = new Set<number>();
  readonly #badGranulesMax: number;
  /** Only one replica of the metadata has bad sectors: the state must survive that (M2). */
  readonly #hurtReplica: number;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new SeededRandom(seed).fork('plan');
    this.#geometry = drawGeometry(this.#random);
    const share = this.#random.pick([0, 0.08, 0.2, 0.35]);
    this.#themes = themes.filter(() => this.#random.chance(share));
    const granules = Math.floor((this.#geometry.mainSectors * 512) / this.#geometry.granuleBytes);
    this.#badGranulesMax = Math.ceil(granules / 5);
    this.#hurtReplica = this.#random.below(2);
  }

  draw(): WorldPlan {
    const random = this.#random;
    const sessions: SessionEnd[] = [];
    const count = 2 + random.below(3);
    for (let session = 0; session < count; session += 1) {
      const how = random.pick(['close', 'power', 'power', 'kill'] as const);
      // Half of the ends come while the session opens or works, the others after the work.
      sessions.push({ how, afterOperations: random.chance(0.5) ? random.below(250) : 1_000_000 });
      this.#drawSession(session);
    }
    const extras = drawExtras(this.#seed, this.#geometry, count);
    // Behind all others: their numbers stay as they are.
    const situation = drawSituation(this.#seed, this.#geometry, count);
    if (situation !== undefined) sessions.push(situation.end);
    const scrubs = drawScrubs(this.#seed, count);
    const steps = [...this.#steps, ...extras.steps, ...(situation?.steps ?? []), ...(scrubs ?? [])];
    const { mainSegments } = extras;
    const isScrubbed = scrubs !== undefined;
    return { seed: this.#seed, geometry: this.#geometry, mainSegments, isScrubbed, sessions, steps };
  }

  #drawSession(session: number): void {
    const clients = this.#random.pick([1, 1, 2, clientsMax]);
    if (session === 0) {
      const badAtStart = this.#random.below(this.#badGranulesMax + 1);
      for (let bad = 0; bad < badAtStart; bad += 1) this.#add(session, 0, this.#badMain());
    }
    const stepCount = 8 + this.#random.below(40);
    for (let index = 0; index < stepCount; index += 1) {
      const client = this.#random.below(clients);
      this.#add(session, client, this.#drawStep(client, clients));
    }
  }

  #add(session: number, client: number, step: Step | undefined): void {
    if (step !== undefined) this.#steps.push({ session, client, step });
  }

  #drawStep(client: number, clients: number): Step | undefined {
    const dice = this.#random.below(100);
    if (dice < 45) return { verb: 'write', ...this.#range(client, clients), fua: dice < 9 };
    if (dice < 66) return { verb: 'read', ...this.#range(0, 1) };
    if (dice < 76) return { verb: 'flush' };
    if (dice < 82) return this.#badMain();
    if (this.#themes.length === 0) return { verb: 'write', ...this.#range(client, clients), fua: false };
    return this.#drawThemed(this.#random.pick(this.#themes), client, clients);
  }

  #drawThemed(theme: Theme, client: number, clients: number): Step | undefined {
    const random = this.#random;
    const disk: DiskName = random.pick(['main', 'spare']);
    const fault = (what: FaultStep): Step => ({ verb: 'fault', disk, what });
    switch (theme) {
      case 'transient': {
        const errno = random.pick([Errno.EAGAIN, Errno.EBUSY, Errno.EIO, Errno.EREMOTEIO, Errno.EINTR]);
        return fault({ fault: 'fail', kinds: this.#kinds(), errno, count: 1 + random.below(3) });
      }
      case 'partial-write':
        return fault({ fault: 'partial-write', errno: random.pick([Errno.EIO, Errno.EAGAIN]) });
      case 'stuck':
        return fault({ fault: 'stuck', kinds: this.#kinds(), forMs: 5 + random.below(20_000) });
      case 'slow':
        return fault({ fault: 'delay', kinds: this.#kinds(), delay: { doneMs: 50 + random.below(8000) } });
      case 'late': {
        const answerMs = 100 + random.below(3000);
        const delay = { answerMs, doneMs: answerMs + 1 + random.below(20_000) };
        return fault({ fault: 'delay', kinds: [random.pick(['read', 'read', 'write'] as const)], delay });
      }
      case 'path': {
        const errno = random.pick([Errno.ENODEV, Errno.ENXIO, Errno.EPIPE, Errno.EIO, Errno.ETIME]);
        return fault({ fault: 'path', errno, forMs: 5 + random.below(20_000) });
      }
      case 'unplugged':
        return fault({ fault: 'unplugged', forMs: 5 + random.below(20_000) });
      case 'suspend':
        return { verb: 'suspend', forMs: random.below(5000), flush: random.chance(0.7) };
      case 'failing-flush':
        return fault({ fault: 'failing-flush' });
      case 'lying-flush':
        return fault({ fault: 'lying-flush', count: 1 + random.below(3) });
      case 'spare-bad':
        return this.#badSpare();
      case 'discard':
        return { verb: random.pick(['discard', 'write-zeroes']), ...this.#range(client, clients) };
      case 'messages':
        return { verb: 'message', words: this.#words() };
    }
  }

  #kinds(): OperationKind[] {
    return [this.#random.pick(['read', 'write', 'write', 'flush'] as const)];
  }

  #words(): readonly string[] {
    const range = this.#range(0, 1);
    const words = [String(range.sector), String(range.sectorCount)];
    const verb = this.#random.pick(rangeVerbs);
    if (this.#random.chance(0.7)) return [...verb, ...words];
    const policy = ['policy', ...this.#random.pick(policyWords)];
    return this.#random.pick([['fill', ...words, 'yes'], policy, policy, ...plainMessages]);
  }

  #badMain(): Step | undefined {
    const { mainSectors, granuleBytes, logicalBlockBytes } = this.#geometry;
    const perGranule = granuleBytes / 512;
    const perBlock = logicalBlockBytes / 512;
    const sectorCount = this.#random.chance(0.2) ? 1 + this.#random.below(perGranule) : 1;
    const sector = this.#random.below(Math.max(1, mainSectors - sectorCount));
    const first = Math.floor(sector / perGranule);
    const last = Math.floor((sector + sectorCount - 1) / perGranule);
    for (let granule = first; granule <= last; granule += 1) {
      if (this.#badGranules.has(granule)) continue;
      if (this.#badGranules.size >= this.#badGranulesMax) return undefined;
      this.#badGranules.add(granule);
    }
    const on = this.#random.pick(['both', 'both', 'write', 'read'] as const);
    const what: FaultStep = { fault: 'bad', ...wholeBlocks(sector, sectorCount, perBlock), on, blind: false };
    return { verb: 'fault', disk: 'main', what };
  }

  #badSpare(): Step | undefined {
    const { granuleBytes, spareBytes, spareLogicalBytes } = this.#geometry;
    const layout = layoutOf(this.#geometry);
    const reserved = layout.reservedRanges();
    const isReserved = (offset: number): boolean =>
      reserved.some((range) => offset >= range.offset && offset < range.offset + range.length);
    let offset: number;
    if (this.#random.chance(0.3)) {
      const { superblockOffset, areaOffsets, journalOffsets } = layout.replicas[this.#hurtReplica]!;
      const place = this.#random.pick([superblockOffset, ...areaOffsets, ...journalOffsets]);
      offset = place + this.#random.below(4) * 2048;
    } else {
      // Slots are given out from the lowest on: most faults shall meet one that is used.
      let slot = 0;
      for (let left = this.#random.below(24); left >= 0; slot += 1) {
        if ((slot + 1) * granuleBytes >= spareBytes) return undefined;
        if (!isReserved(slot * granuleBytes)) left -= 1;
      }
      offset = (slot - 1) * granuleBytes + this.#random.below(granuleBytes / 512) * 512;
    }
    // A superblock that can be read and not overwritten could come back one day: such a spare is refused (M2).
    const isSuperblock = layout.replicas.some(
      ({ superblockOffset }) => offset >= superblockOffset && offset < superblockOffset + 8192,
    );
    const on = isSuperblock ? 'both' : this.#random.pick(['both', 'both', 'write', 'read', 'read'] as const);
    const range = wholeBlocks(offset / 512, 1, spareLogicalBytes / 512);
    const blind = on === 'read' && this.#random.chance(0.7);
    return { verb: 'fault', disk: 'spare', what: { fault: 'bad', ...range, on, blind } };
  }

  #range(client: number, clients: number): { sector: number; sectorCount: number } {
    const { mainSectors, logicalBlockBytes } = this.#geometry;
    const block = logicalBlockBytes / 512;
    const blocks = mainSectors / block;
    if (clients === 1) {
      const count = 1 + this.#random.below(Math.min(blocks, Math.max(1, requestSectorsMax / block)));
      return { sector: this.#random.below(blocks - count + 1) * block, sectorCount: count * block };
    }
    const stripeBlocks = Math.max(1, Math.floor(stripeSectors / block));
    const stripes = Math.floor(blocks / stripeBlocks / clients);
    const stripe = this.#random.below(stripes) * clients + client;
    const from = this.#random.below(stripeBlocks);
    const count = 1 + this.#random.below(stripeBlocks - from);
    return { sector: (stripe * stripeBlocks + from) * block, sectorCount: count * block };
  }
}

/** A disk fails whole logical blocks. */
function wholeBlocks(
  sector: number,
  count: number,
  perBlock: number,
): { sector: number; sectorCount: number } {
  const first = Math.floor(sector / perBlock) * perBlock;
  const end = Math.ceil((sector + count) / perBlock) * perBlock;
  return { sector: first, sectorCount: end - first };
}
