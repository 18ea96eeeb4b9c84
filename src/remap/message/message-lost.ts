import { StateCause, StateFlags } from '../../metadata/mapping-state.ts';
import { askMainAgain } from '../move/ask-main-again.ts';
import { repairWrite } from '../move/write-repair.ts';
import { commitErrorCode, type RemapCore } from '../remap-core.ts';
import { freshZeros } from '../table/fresh-map.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { runsOf, sectorCountOf, sectorMask } from '../table/sector-mask.ts';
import { type StopReason, stopReason, Tally, walkGranules, walkTable } from '../table/table-walk.ts';
import type { MessageContext } from './message-context.ts';
import { MessageError } from './message-error.ts';
import { lostText } from './message-listings.ts';
import { granulesOf, rangeOfWords, type SectorRange, sectorsInRange, wholeDevice } from './message-words.ts';

/** A drive that gives a marginal sector at all does so within a few reads. */
const retryReads = { readsMax: 3, msMax: 4000, moveSaved: true, suspectsOnly: false } as const;
const suspectReads = { readsMax: 1, msMax: 1000, moveSaved: false, suspectsOnly: true } as const;

/** `lost`, or `lost zero SECTOR [COUNT] yes`. */
export async function answerLost(context: MessageContext, words: readonly string[]): Promise<string> {
  if (words.length === 0) return await lostText(context.core);
  if (words[0] === 'zero') return await fillLost(context, 'lost zero', words.slice(1));
  throw new MessageError('MESSAGE_INVALID', 'lost: expected nothing, or zero SECTOR [COUNT] yes');
}

/**
 * `lost zero SECTOR [COUNT] yes`, `fill SECTOR [COUNT] yes`: the operator declares zeroes for what is lost, `gone` included
 * (R4, R13), by the path of a write to a lost sector (R23). Sectors that are not lost are not touched.
 */
export async function fillLost(
  context: MessageContext,
  verb: string,
  words: readonly string[],
): Promise<string> {
  const { core, stopped } = context;
  if (words.at(-1) !== 'yes' && words.at(-1) !== '--yes') {
    throw new MessageError(
      'MESSAGE_INVALID',
      `${verb}: lost sectors become zeroes for ever: expected SECTOR [COUNT] yes`,
    );
  }
  const range = rangeOfWords(core, verb, words.slice(0, -1));
  refuseWithoutMetadata(core, verb);
  const tally = new Tally(['zeroed', 'readable', 'failed']);
  const end = await walkTable(core, {
    ...granulesOf(core, range),
    stopped,
    visit: async (state) => await fillGranule(core, state, range, tally),
  });
  return tally.reply(core, verb, end);
}

/** `retry SECTOR [COUNT]`, `retry all`: asks main again, and moves what it gives to the spare. Never for `gone` (R4). */
export async function retrySectors(context: MessageContext, words: readonly string[]): Promise<string> {
  const { core, stopped } = context;
  const all = words.length === 1 && words[0] === 'all';
  const range = all ? wholeDevice(core) : rangeOfWords(core, 'retry', words);
  const tally = new Tally(['readable', 'moved', 'unreadable', 'gone']);
  const end = await walkTable(core, {
    ...granulesOf(core, range),
    stopped,
    visit: async (state) => {
      const mask = sectorsInRange(core, range, state.granule);
      tally.add('gone', sectorCountOf(state.gone & mask));
      if ((state.unreadable & mask) === 0) return undefined;
      const answer = await askMainAgain(core, state.granule, { ...retryReads, mask });
      tally.add('readable', sectorCountOf(answer.readable));
      tally.add('moved', sectorCountOf(answer.moved));
      tally.add('unreadable', sectorCountOf(answer.unreadable | answer.undecided));
      return stopReason(answer.away);
    },
  });
  return tally.reply(core, 'retry', end);
}

/**
 * `import suspect SECTOR [COUNT]`: sectors that another tool found bad. The first read asks main once, the first write
 * goes the way of a write to a lost sector (R34). What is moved or lost already stays as it is.
 */
export async function importSectors(context: MessageContext, words: readonly string[]): Promise<string> {
  const { core, stopped } = context;
  if (words[0] !== 'suspect')
    throw new MessageError('MESSAGE_INVALID', 'import: expected suspect SECTOR [COUNT]');
  const range = rangeOfWords(core, 'import suspect', words.slice(1));
  refuseWithoutMetadata(core, 'import');
  const tally = new Tally(['suspect', 'known']);
  const end = await walkGranules(core, {
    ...granulesOf(core, range),
    stopped,
    visit: async (granule) => {
      const mask = sectorsInRange(core, range, granule);
      const fresh = await importGranule(core, granule, mask);
      tally.add('suspect', fresh);
      tally.add('known', sectorCountOf(mask) - fresh);
      return undefined;
    },
  });
  return tally.reply(core, 'import', end);
}

async function fillGranule(
  core: RemapCore,
  state: GranuleState,
  range: SectorRange,
  tally: Tally,
): Promise<StopReason> {
  const mask = sectorsInRange(core, range, state.granule);
  if ((state.flags & StateFlags.suspect) !== 0) {
    // Nobody has shown yet that its bytes are lost.
    const answer = await askMainAgain(core, state.granule, { ...suspectReads, mask });
    tally.add('readable', sectorCountOf(answer.readable));
    const reason = stopReason(answer.away);
    if (reason !== undefined) return reason;
  }
  const now = core.stateOf(state.granule);
  for (const run of runsOf(((now.unreadable | now.gone) & mask) >>> 0)) {
    const offset = now.granule * core.parts.granuleBytes + run.from;
    const length = run.to - run.from;
    const failure = { offset, length, kind: 'lost', errno: 0 } as const;
    const outcome = await repairWrite(
      core,
      {
        granule: now.granule,
        offset,
        length,
        reason: 'lost',
        seen: now,
        unwritten: sectorMask(run.from, run.to),
        unverified: false,
        lostOnly: true,
        failure,
      },
      new Uint8Array(length),
      0,
    );
    const count = sectorCountOf(sectorMask(run.from, run.to));
    if (outcome === 'done') tally.add('zeroed', count);
    else if (outcome !== 'again') tally.add('failed', count);
    if (typeof outcome === 'object' && outcome.kind === 'path') return 'main or the spare does not answer';
  }
  return undefined;
}

/** The number of sectors newly marked. */
async function importGranule(core: RemapCore, granule: number, mask: number): Promise<number> {
  const lock = await core.locks.acquire(granule, granule);
  try {
    const state = core.stateOf(granule);
    const fresh = (mask & ~(state.held | state.unreadable | state.gone)) >>> 0;
    // A mark beside those of sectors that were never written would read as zeros with them (R13).
    if (fresh === 0 || freshZeros(state) !== 0) return 0;
    if (!core.live.roomForMarks())
      throw new MessageError('MESSAGE_FAILED', 'import: the metadata has no room for more lost ranges');
    await core.commitMarks([
      recordOf({
        ...state,
        unreadable: (state.unreadable | fresh) >>> 0,
        flags: state.flags | StateFlags.suspect,
        cause: StateCause.imported,
        unixSeconds: Math.floor(core.parts.clock.unixMs() / 1000),
      }),
    ]);
    return sectorCountOf(fresh);
  } catch (error) {
    if (error instanceof MessageError) throw error;
    commitErrorCode(error);
    throw new MessageError('MESSAGE_FAILED', 'import: the record cannot be stored on the spare');
  } finally {
    core.locks.release(lock);
  }
}

function refuseWithoutMetadata(core: RemapCore, verb: string): void {
  if (!core.metadataPath.failed) return;
  throw new MessageError(
    'MESSAGE_FAILED',
    `${verb}: the metadata on the spare cannot be written, nothing is changed any more`,
  );
}
