import { sectorBytes } from '../../block/block-device.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import { isZero } from './contents.ts';
import { JudgeViolation } from './judge.ts';
import type { JudgedClient } from './judged-client.ts';
import { layoutOf } from './world-geometry.ts';
import { answered, type Session, type WorldState } from './world-state.ts';

/** What the messages `list` and `lost` say, word for word. */
export interface DeviceLists {
  readonly moved: string;
  readonly lost: string;
}

interface ListLine {
  readonly sector: number;
  readonly sectorCount: number;
  /** The words behind the range. */
  readonly words: readonly string[];
  readonly text: string;
}

export async function listsOf(
  world: WorldState,
  session: Session,
  device: RemapDevice,
): Promise<DeviceLists> {
  const moved = await answered(world, session, device.message(['list']));
  const lost = await answered(world, session, device.message(['lost']));
  return { moved, lost };
}

/** Compares the lists of a device that has nothing to do with what reading all of it gives, and with what the judge knows. */
export async function judgeLists(
  world: WorldState,
  session: Session,
  device: RemapDevice,
  client: JudgedClient,
): Promise<void> {
  const before = lostSectors(world, await listsOf(world, session, device));
  const failed = await client.readAll();
  const lists = await listsOf(world, session, device);
  judgeMoved(world, lists.moved, failed);
  const after = lostSectors(world, lists);
  // What was read for good meanwhile is not on the second list.
  for (const sector of before) if (after.has(sector)) judgeListedLost(world, sector, failed);
  for (const sector of client.failedAsLost) {
    if (!after.has(sector))
      throw new JudgeViolation(`sector ${sector} fails as lost, and is not on the list of lost`);
  }
  world.outcome.listLines += linesOf(lists.moved).length + linesOf(lists.lost).length;
}

/** R4: what is listed as lost is not readable. That it could be lost has been judged when it was read. */
function judgeListedLost(world: WorldState, sector: number, failed: ReadonlySet<number>): void {
  // R12, R13: reads of it give zeros.
  if (world.plan.geometry.fresh || world.judge.lostMayBeZeros) return;
  if (!failed.has(sector)) throw new JudgeViolation(`sector ${sector} is listed as lost and was read`);
}

/** I17: what is on the spare had a reason to go there, is where the list says, and nobody else's place. */
function judgeMoved(world: WorldState, list: string, failed: ReadonlySet<number>): void {
  const taken = new Set<number>();
  const reserved = layoutOf(world.plan.geometry).reservedRanges();
  for (const { sector, sectorCount, words, text } of linesOf(list)) {
    // Past the narrowing budget whole granules go, listed as such (R19); and a scrub was told to move what is slow.
    const isExplained = words.includes('unverified') || words.includes('slowRead');
    if (!isExplained && !world.trouble.hadReasonToMove(sector)) {
      throw new JudgeViolation(`I17: nothing was ever wrong with this granule, and it was moved: ${text}`);
    }
    const place = Number(words[0]);
    for (let index = 0; index < sectorCount; index += 1) {
      const at = (place + index) * sectorBytes;
      const isReserved = reserved.some(({ offset, length }) => at >= offset && at < offset + length);
      if (isReserved || taken.has(place + index)) throw new JudgeViolation(`a place is used twice: ${text}`);
      taken.add(place + index);
      if (!failed.has(sector + index)) judgePlace(world, sector + index, at, text);
    }
  }
}

/** The spare itself, beside the stack, must have there what was written to the sector. */
function judgePlace(world: WorldState, sector: number, at: number, text: string): void {
  const bytes = world.spare.cachedImage(at, sectorBytes);
  const stamp = world.judge.contents.stampOf(bytes);
  if (stamp?.sector === sector && world.judge.mayBe(sector, stamp.version)) return;
  if (stamp === undefined && isZero(bytes, 0)) return;
  if (world.judge.isExcused(sector)) return;
  throw new JudgeViolation(`sector ${sector} is not where the list says: ${text}`);
}

/** Sectors without bytes, whole logical blocks: clients see no less. Suspects are not among them: main was not asked (R34). */
function lostSectors(world: WorldState, lists: DeviceLists): Set<number> {
  const perBlock = world.plan.geometry.logicalBlockBytes / sectorBytes;
  const sectors = new Set<number>();
  for (const { sector, sectorCount, words } of linesOf(lists.lost)) {
    if (words[0] === 'suspect') continue;
    const first = sector - (sector % perBlock);
    const end = Math.ceil((sector + sectorCount) / perBlock) * perBlock;
    for (let at = first; at < end; at += 1) sectors.add(at);
  }
  return sectors;
}

function linesOf(text: string): ListLine[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [sector, count, ...words] = line.split(' ');
      return { sector: Number(sector), sectorCount: Number(count), words, text: line };
    });
}
