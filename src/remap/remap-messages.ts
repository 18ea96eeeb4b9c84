import { sectorBytes } from '../block/block-device.ts';
import { delay } from '../block/clock.ts';
import { asDeviceError } from '../block/device-error.ts';
import { noSlot, StateCause, StateFlags } from '../metadata/mapping-state.ts';
import type { GranuleState } from './granule-table.ts';
import { relocate, relocationBufferBytes, relocationBuffers } from './relocation.ts';
import type { RemapCore } from './remap-core.ts';
import type { RemapStatus } from './remap-status.ts';
import { type ByteRun, runsOf, sectorMask } from './sector-mask.ts';

/** The operator's words cannot be answered; one line. Codes: `MESSAGE_UNKNOWN`, `MESSAGE_INVALID`, `MESSAGE_FAILED`. */
export class MessageError extends Error {
  override readonly name = 'MessageError';
  readonly code: 'MESSAGE_UNKNOWN' | 'MESSAGE_INVALID' | 'MESSAGE_FAILED';

  constructor(code: 'MESSAGE_UNKNOWN' | 'MESSAGE_INVALID' | 'MESSAGE_FAILED', message: string) {
    super(message);
    this.code = code;
  }
}

/** Lines of `list` and `lost`, more only by those of one granule; a last line says that there are more. */
export const listLinesMax = 10_000;
/** Entries of the table looked at between two turns of the event loop: about 1 ms. */
const entriesPerSlice = 4096;
/** Granules that one `remap` message may move. */
export const remapGranulesMax = 1024;

const helpText = `remap SECTOR [COUNT]  move sectors to the spare now, before they fail
list                  moved sectors: MAIN-SECTOR COUNT SPARE-SECTOR CAUSE [FLAGS]
lost                  sectors without bytes: MAIN-SECTOR COUNT unreadable|gone
stats                 counters since the device was opened, NAME VALUE
help                  this text`;

/** Answers the words after the sector of a message. Rejects with `MessageError`. */
export async function answerMessage(
  core: RemapCore,
  status: () => RemapStatus,
  words: readonly string[],
): Promise<string> {
  const [verb, ...rest] = words;
  if (verb === 'remap') return await remapSectors(core, rest);
  if (verb === undefined || !['help', 'list', 'lost', 'stats'].includes(verb)) {
    throw new MessageError(
      'MESSAGE_UNKNOWN',
      `unknown message '${verb ?? ''}': expected remap, list, lost, stats or help`,
    );
  }
  if (rest.length > 0)
    throw new MessageError('MESSAGE_INVALID', `${verb} takes no words, got '${rest.join(' ')}'`);
  if (verb === 'list') return await listText(core);
  if (verb === 'lost') return await lostText(core);
  return verb === 'stats' ? statsText(status()) : helpText;
}

function listText(core: RemapCore): Promise<string> {
  return linesOf(core, (state) => {
    if (state.slot === noSlot) return [];
    const cause = Object.entries(StateCause).find(([, value]) => value === state.cause)?.[0] ?? 'unknown';
    const flags = flagWords(state.flags);
    return runsOf(state.held).map((run) => {
      const spare = (state.slot * core.parts.granuleBytes + run.from) / sectorBytes;
      return `${sectorsText(core, state, run)} ${spare} ${cause}${flags}`;
    });
  });
}

/** ` unverified`, or nothing. A flag without a word here is shown as its number. */
function flagWords(flags: number): string {
  const words: [string, number][] = [
    ['unverified', StateFlags.unverified],
    ['fresh-zero', StateFlags.freshZero],
    ['suspect', StateFlags.suspect],
  ];
  const known = words.filter(([, bit]) => (flags & bit) !== 0);
  const rest = known.reduce((left, [, bit]) => left & ~bit, flags);
  return [...known.map(([word]) => ` ${word}`), ...(rest === 0 ? [] : [` flags=${rest}`])].join('');
}

function lostText(core: RemapCore): Promise<string> {
  return linesOf(core, (state) => [
    ...runsOf(state.unreadable).map((run) => `${sectorsText(core, state, run)} unreadable`),
    ...runsOf(state.gone).map((run) => `${sectorsText(core, state, run)} gone`),
  ]);
}

function sectorsText(core: RemapCore, state: GranuleState, run: ByteRun): string {
  const first = (state.granule * core.parts.granuleBytes + run.from) / sectorBytes;
  return `${first} ${(run.to - run.from) / sectorBytes}`;
}

/** In slices: a walk over a million entries in one go would keep every request waiting. */
async function linesOf(core: RemapCore, toLines: (state: GranuleState) => string[]): Promise<string> {
  const lines: string[] = [];
  let visited = 0;
  let state = core.table.atOrAfter(0);
  while (state !== undefined && lines.length < listLinesMax) {
    lines.push(...toLines(state));
    visited += 1;
    if (visited % entriesPerSlice === 0) await delay(core.parts.clock, 0);
    state = core.table.atOrAfter(state.granule + 1);
  }
  if (state !== undefined) lines.push(`# the first ${lines.length} lines; stats has the totals`);
  return lines.join('\n');
}

function statsText(status: RemapStatus): string {
  const { metadata, counters, ...rest } = status;
  const all: [string, string | number | boolean][] = [
    ...Object.entries(rest),
    ...Object.entries(counters),
    ...Object.entries(metadata).map(([name, value]): [string, string | number | boolean] => [
      `metadata.${name}`,
      value,
    ]),
  ];
  return all.map(([name, value]) => `${name} ${value}`).join('\n');
}

async function remapSectors(core: RemapCore, words: readonly string[]): Promise<string> {
  const { granuleBytes, sizeBytes } = core.parts;
  const [firstWord, countWord = '1', ...more] = words;
  const first = wholeNumber(firstWord);
  const count = wholeNumber(countWord);
  if (first === undefined || count === undefined || count === 0 || more.length > 0) {
    throw new MessageError(
      'MESSAGE_INVALID',
      'remap: expected SECTOR [COUNT], whole numbers of 512-byte sectors',
    );
  }
  if ((first + count) * sectorBytes > sizeBytes) {
    const sectors = sizeBytes / sectorBytes;
    throw new MessageError(
      'MESSAGE_INVALID',
      `remap: sectors ${first} to ${first + count - 1} leave the device of ${sectors}`,
    );
  }
  const firstGranule = Math.floor((first * sectorBytes) / granuleBytes);
  const lastGranule = Math.floor(((first + count) * sectorBytes - 1) / granuleBytes);
  if (lastGranule - firstGranule >= remapGranulesMax) {
    const sectorsMax = (remapGranulesMax * granuleBytes) / sectorBytes;
    throw new MessageError(
      'MESSAGE_INVALID',
      `remap: ${count} sectors are too many at once, at most ${sectorsMax}`,
    );
  }
  let moved = 0;
  for (let granule = firstGranule; granule <= lastGranule; granule += 1)
    moved += await remapGranule(core, granule);
  const granules = lastGranule - firstGranule + 1;
  return `remapped ${moved} of ${granules} blocks of ${granuleBytes} bytes${moved < granules ? ', the others were moved before' : ''}`;
}

function wholeNumber(word: string | undefined): number | undefined {
  if (word === undefined || !/^[0-9]{1,16}$/.test(word)) return undefined;
  const value = Number(word);
  return Number.isSafeInteger(value * sectorBytes) ? value : undefined;
}

/** 1 when the granule was moved, 0 when all of it was on the spare already. */
async function remapGranule(core: RemapCore, granule: number): Promise<number> {
  const { arena, granuleBytes } = core.parts;
  const memory = await arena.whenFree(relocationBufferBytes(granuleBytes), 'remap');
  const { bytes, buffer } = relocationBuffers(memory, granuleBytes);
  const lock = await core.locks.acquire(granule, granule);
  try {
    const state = core.stateOf(granule);
    const all = sectorMask(0, core.bytesOfGranule(granule));
    const onMain = (all & ~(state.held | state.unreadable | state.gone)) >>> 0;
    if (onMain === 0) return 0;
    await readFromMain(core, granule, onMain, bytes);
    const options = { keepReserve: true, unverified: true, oldSlotIsBad: false };
    const failure = await relocate(
      core,
      state,
      { granuleBytes: bytes, mask: onMain },
      StateCause.operator,
      buffer,
      options,
    );
    if (failure !== undefined)
      throw new MessageError('MESSAGE_FAILED', `remap: block ${granule}: ${failure}`);
    return 1;
  } finally {
    core.locks.release(lock);
    arena.release(memory);
  }
}

async function readFromMain(
  core: RemapCore,
  granule: number,
  mask: number,
  bytes: Uint8Array,
): Promise<void> {
  const start = granule * core.parts.granuleBytes;
  try {
    for (const { from, to } of runsOf(mask))
      await core.parts.main.read(bytes.subarray(from, to), start + from);
  } catch (error) {
    const sector = asDeviceError(error).ranges[0]?.offset ?? start;
    throw new MessageError(
      'MESSAGE_FAILED',
      `remap: sector ${Math.floor(sector / sectorBytes)} cannot be read, so there is nothing to move: write it instead`,
    );
  }
}
