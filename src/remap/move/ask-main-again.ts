import { apart } from '../../block/block-device.ts';
import { StateFlags } from '../../metadata/mapping-state.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import { freshZeros } from '../table/fresh-map.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { sectorMask } from '../table/sector-mask.ts';
import { relocationBufferBytes, relocationBuffers } from './move-memory.ts';
import { moveSaved } from './salvage-block.ts';
import { tryOften } from './try-often.ts';

export interface AskOptions {
  /** Of the granule's unreadable sectors those are asked for. */
  readonly mask: number;
  /** Reads of each block until one gives it. */
  readonly readsMax: number;
  /** Milliseconds after which no further block is asked for. */
  readonly msMax: number;
  /** What comes is moved to the spare, for main has failed it before; with a full spare it stays on main. */
  readonly moveSaved: boolean;
  /** Only of a granule that is still suspect: whoever waited for the lock shares the one try of its holder (R34). */
  readonly suspectsOnly: boolean;
}

/** What main said about sectors that were marked unreadable. Sector maps. */
export interface AskAnswer {
  /** Read, and no longer marked. */
  readonly readable: number;
  /** Failed again, with main working elsewhere. */
  readonly unreadable: number;
  /** Not asked, or main does not answer, or the record could not be stored: as they were. */
  readonly undecided: number;
  /** Of the readable ones: they are on the spare now. */
  readonly moved: number;
  readonly away: 'main-away' | 'metadata-failed' | undefined;
}

const nothingAsked: AskAnswer = { readable: 0, unreadable: 0, undecided: 0, moved: 0, away: undefined };

/**
 * Asks main once more for unreadable sectors, under the granule's lock. Main holds the only truth about them (R4), so what
 * it gives is what was written. Never for gone ones. The mark's going is durable before anybody can write the sector: a
 * crash would otherwise bring the mark back over acknowledged bytes.
 */
export async function askMainAgain(
  core: RemapCore,
  granule: number,
  options: AskOptions,
): Promise<AskAnswer> {
  const { arena, granuleBytes } = core.parts;
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const lock = await core.locks.acquire(granule, granule);
  try {
    const state = core.stateOf(granule);
    const wanted = !options.suspectsOnly || (state.flags & StateFlags.suspect) !== 0;
    // What reads as zeros goes on doing so until it is written, whatever main might give by now (R13).
    const asked = wanted ? (state.unreadable & options.mask & ~freshZeros(state)) >>> 0 : 0;
    if (asked === 0) return nothingAsked;
    const found = await readEach(core, state, asked, memory, options);
    return await keep(core, state, found, memory, options.moveSaved);
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
}

interface Found {
  readonly readable: number;
  readonly unreadable: number;
  readonly undecided: number;
  readonly mainAway: boolean;
}

/** Block by block into the granule's new bytes, until one shows that main is not there. */
async function readEach(
  core: RemapCore,
  state: GranuleState,
  asked: number,
  memory: Uint8Array,
  options: AskOptions,
): Promise<Found> {
  const { main, clock, granuleBytes } = core.parts;
  const { bytes, buffer } = relocationBuffers(memory, granuleBytes);
  const step = main.geometry.logicalBlockBytes;
  const deadlineMs = clock.nowMs() + options.msMax;
  let readable = 0;
  let unreadable = 0;
  for (let from = 0; from < core.bytesOfGranule(state.granule); from += step) {
    const sectors = (sectorMask(from, from + step) & asked) >>> 0;
    if (sectors === 0) continue;
    if (clock.nowMs() >= deadlineMs) break;
    const answer = await readBlock(core, state.granule, bytes.subarray(from, from + step), from, options);
    const bad =
      answer === 'bad' ||
      (answer === 'suspect' && (await core.probe.worksUnderLock(buffer.subarray(0, granuleBytes))));
    if (answer === 'read') readable |= sectors;
    else if (bad) unreadable |= sectors;
    else return found(asked, readable, unreadable, true);
  }
  return found(asked, readable, unreadable, false);
}

function found(asked: number, readable: number, unreadable: number, mainAway: boolean): Found {
  return {
    readable: readable >>> 0,
    unreadable: unreadable >>> 0,
    undecided: (asked & ~(readable | unreadable)) >>> 0,
    mainAway,
  };
}

async function readBlock(
  core: RemapCore,
  granule: number,
  target: Uint8Array,
  from: number,
  options: AskOptions,
): Promise<'read' | 'bad' | 'suspect' | 'away'> {
  const { main, granuleBytes } = core.parts;
  let answer: 'bad' | 'suspect' = 'suspect';
  for (let attempt = 0; attempt < options.readsMax; attempt += 1) {
    const failure = await tryOften(() => main.read(target, granule * granuleBytes + from, apart(granule)));
    if (failure === undefined) return 'read';
    // A late answer may still fill the memory: nothing more is read into it (I27).
    if (failure.kind !== 'medium' && failure.kind !== 'suspect') return 'away';
    if (failure.kind === 'medium') answer = 'bad';
  }
  return answer;
}

async function keep(
  core: RemapCore,
  state: GranuleState,
  answer: Found,
  memory: Uint8Array,
  moveSaved: boolean,
): Promise<AskAnswer> {
  const { readable, unreadable, undecided } = answer;
  const away = answer.mainAway ? 'main-away' : undefined;
  if (answer.mainAway) core.notePathFailed('main');
  // A probe without an answer may still fill the memory that a move would use (I27).
  const moves = moveSaved && readable !== 0 && !answer.mainAway;
  if (moves && (await moveToSpare(core, state, readable, memory))) {
    return { readable, unreadable, undecided, moved: readable, away };
  }
  // Asked for all of them: an import has had its one try (R34).
  const allAsked = (state.unreadable & ~(readable | unreadable)) === 0;
  const flags = allAsked ? state.flags & ~StateFlags.suspect : state.flags;
  if (readable === 0 && flags === state.flags) return { readable, unreadable, undecided, moved: 0, away };
  const left = { ...state, unreadable: (state.unreadable & ~readable) >>> 0, flags };
  try {
    await core.commitMarks([recordOf(left)]);
  } catch (error) {
    commitErrorCode(error);
    const as = (readable | unreadable | undecided) >>> 0;
    return { readable: 0, unreadable: 0, undecided: as, moved: 0, away: 'metadata-failed' };
  }
  return { readable, unreadable, undecided, moved: 0, away };
}

function moveToSpare(
  core: RemapCore,
  state: GranuleState,
  mask: number,
  memory: Uint8Array,
): Promise<boolean> {
  const { bytes, buffer } = relocationBuffers(memory, core.parts.granuleBytes);
  const judged = { ...state, flags: state.flags & ~StateFlags.suspect };
  return moveSaved(core, judged, mask, bytes, buffer);
}
