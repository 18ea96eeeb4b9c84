import { noSlot, StateCause, StateFlags } from '../../metadata/mapping-state.ts';
import { askMainAgain } from '../move/ask-main-again.ts';
import { type HomeOutcome, takeHome } from '../move/take-home.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import { freshZeros } from '../table/fresh-map.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { sectorCountOf } from '../table/sector-mask.ts';
import { type StopReason, stopReason, Tally, walkTable } from '../table/table-walk.ts';
import type { MessageContext } from './message-context.ts';
import { granulesOf, rangeOfWords, rangeOrAll, sectorsInRange } from './message-words.ts';

/** One try for each sector, and no more of one granule than a client would wait for. */
const verifyReads = { readsMax: 1, msMax: 2000, moveSaved: false, suspectsOnly: false } as const;

/** `unremap SECTOR [COUNT]`: every moved granule that the range touches goes home, whatever it was moved for (R4). */
export async function unremapSectors(context: MessageContext, words: readonly string[]): Promise<string> {
  const { core, stopped } = context;
  const range = rangeOfWords(core, 'unremap', words);
  const tally = homeTally();
  const end = await walkTable(core, {
    ...granulesOf(core, range),
    stopped,
    visit: async ({ granule, slot }) =>
      slot === noSlot ? undefined : noteHome(tally, await takeHome(core, granule, () => true)),
  });
  return tally.reply(core, 'unremap', end);
}

/**
 * `verify [SECTOR [COUNT]]`: tests again what nobody has shown to be bad (R19), and what main could not read. What was
 * moved for an error of its own, or by the operator, stays: `unremap` is for that.
 */
export async function verifySectors(context: MessageContext, words: readonly string[]): Promise<string> {
  const { core, stopped } = context;
  const range = rangeOrAll(core, 'verify', words);
  const tally = new Tally(['home', 'main-bad', 'kept', 'readable', 'unreadable', 'gone']);
  const end = await walkTable(core, {
    ...granulesOf(core, range),
    stopped,
    visit: async (state) => {
      tally.add('gone', sectorCountOf(state.gone));
      return (
        (await verifyRemap(core, state, tally)) ??
        (await verifyMarks(core, state, sectorsInRange(core, range, state.granule), tally))
      );
    },
  });
  return tally.reply(core, 'verify', end);
}

/**
 * `retire [SECTOR [COUNT]]`: the table is emptied as far as it goes without losing anything, so that main can be used without us (M16).
 * Marks of unreadable sectors go: main gives its own error there. What is gone stays, for main would give old bytes.
 */
export async function retireDevice(context: MessageContext, words: readonly string[]): Promise<string> {
  const { core, stopped } = context;
  const range = rangeOrAll(core, 'retire', words);
  const tally = homeTally(['marks-dropped', 'gone']);
  const end = await walkTable(core, {
    ...granulesOf(core, range),
    stopped,
    visit: async (state) => {
      tally.add('gone', sectorCountOf(state.gone));
      const reason =
        state.slot === noSlot ? undefined : noteHome(tally, await takeHome(core, state.granule, () => true));
      return reason ?? (await dropMarks(core, state.granule, tally));
    },
  });
  const { entries } = core.table.totals();
  const left =
    entries === 0
      ? 'the table is empty: main can be used without dm-remap'
      : `${entries} blocks stay in the table`;
  return `${tally.reply(core, 'retire', end)}\n${left}`;
}

function homeTally(more: readonly string[] = []): Tally {
  return new Tally(['home', 'main-bad', 'spare-bad', ...more]);
}

/** Counts one outcome; the reason to stop when it would be the same for all that follow. */
function noteHome(tally: Tally, outcome: HomeOutcome): StopReason {
  const reason = stopReason(outcome);
  if (reason === undefined && outcome !== 'not-moved') tally.add(outcome);
  return reason;
}

async function verifyRemap(core: RemapCore, state: GranuleState, tally: Tally): Promise<StopReason> {
  if (state.slot === noSlot) return undefined;
  if (!isUnverified(state)) {
    tally.add('kept');
    return undefined;
  }
  const outcome = await takeHome(core, state.granule, isUnverified);
  if (outcome === 'main-bad') return await confirmBad(core, state.granule, tally);
  if (outcome === 'spare-bad') {
    tally.add('kept');
    return undefined;
  }
  return noteHome(tally, outcome);
}

/** What the operator moved is not to come back behind his back. */
function isUnverified(state: GranuleState): boolean {
  return (state.flags & StateFlags.unverified) !== 0 && state.cause !== StateCause.operator;
}

/** Main has failed it just now: it is no longer a guess, and the next `verify` need not try. */
async function confirmBad(core: RemapCore, granule: number, tally: Tally): Promise<StopReason> {
  const lock = await core.locks.acquire(granule, granule);
  try {
    const state = core.stateOf(granule);
    tally.add('main-bad');
    if (state.slot === noSlot || !isUnverified(state)) return undefined;
    const confirmed = { ...state, flags: state.flags & ~StateFlags.unverified, cause: StateCause.verify };
    await core.commitMarks([recordOf(confirmed)]);
    return undefined;
  } catch (error) {
    commitErrorCode(error);
    return noteHome(tally, 'metadata-failed');
  } finally {
    core.locks.release(lock);
  }
}

async function verifyMarks(
  core: RemapCore,
  state: GranuleState,
  mask: number,
  tally: Tally,
): Promise<StopReason> {
  if ((state.unreadable & mask) === 0) return undefined;
  const answer = await askMainAgain(core, state.granule, { ...verifyReads, mask });
  tally.add('readable', sectorCountOf(answer.readable));
  tally.add('unreadable', sectorCountOf(answer.unreadable | answer.undecided));
  return stopReason(answer.away);
}

async function dropMarks(core: RemapCore, granule: number, tally: Tally): Promise<StopReason> {
  const lock = await core.locks.acquire(granule, granule);
  try {
    const state = core.stateOf(granule);
    // Without its mark a sector that was never written would no longer read as zeros (R13).
    if (state.unreadable === 0 || freshZeros(state) !== 0) return undefined;
    await core.commitMarks([recordOf({ ...state, unreadable: 0, flags: state.flags & ~StateFlags.suspect })]);
    tally.add('marks-dropped', sectorCountOf(state.unreadable));
    return undefined;
  } catch (error) {
    commitErrorCode(error);
    return noteHome(tally, 'metadata-failed');
  } finally {
    core.locks.release(lock);
  }
}
