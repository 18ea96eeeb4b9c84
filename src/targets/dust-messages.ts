import { TargetError } from '../mapping/target-error.ts';
import { type DustBlocks, writeFailCountMax } from './dust-blocks.ts';
import { unknownMessage } from './target-arguments.ts';

/** What messages read and change. */
export interface DustState {
  readonly blocks: DustBlocks;
  /** Blocks with a higher number are refused. The kernel lets this one pass, which may be the device's ragged end. */
  readonly blockNumberMax: number;
  failReads: boolean;
  quiet: boolean;
}

const known =
  'addbadblock, removebadblock, queryblock, countbadblocks, clearbadblocks, listbadblocks, enable, disable, quiet';

/**
 * Obeys one message and gives its reply, in the words of dust_message in drivers/md/dm-dust.c; '' where the kernel
 * replies nothing. Throws `TargetError` where the kernel answers EINVAL.
 */
export function dustMessage(state: DustState, words: readonly string[]): string {
  const name = (words[0] ?? '').toLowerCase();
  const [, blockWord, countWord] = words;
  if (words.length === 1) return withoutArguments(state, name, words);
  if (words.length > 3) {
    throw new TargetError('MESSAGE_ARGUMENT', `dust: invalid number of arguments '${words.length}'`);
  }
  if (countWord !== undefined && name !== 'addbadblock') throw unknownMessage('dust', words, known);
  const block = parseNumber('block', blockWord ?? '', state.blockNumberMax);
  const writeFailCount =
    countWord === undefined ? 0 : parseNumber('write fail count', countWord, writeFailCountMax);
  switch (name) {
    case 'addbadblock':
      state.blocks.add(block, writeFailCount);
      return '';
    case 'removebadblock':
      state.blocks.remove(block);
      return '';
    case 'queryblock': {
      const found = state.blocks.has(block) ? 'found' : 'not found';
      return `dust_query_block: block ${block} ${found} in badblocklist`;
    }
    default:
      throw unknownMessage('dust', words, known);
  }
}

function withoutArguments(state: DustState, name: string, words: readonly string[]): string {
  switch (name) {
    case 'addbadblock':
    case 'removebadblock':
    case 'queryblock':
      throw new TargetError('MESSAGE_ARGUMENT', `dust: ${name} requires an additional argument`);
    case 'enable':
      state.failReads = true;
      return '';
    case 'disable':
      state.failReads = false;
      return '';
    case 'quiet':
      state.quiet = !state.quiet;
      return '';
    case 'countbadblocks':
      return `countbadblocks: ${state.blocks.size} badblock(s) found`;
    case 'listbadblocks':
      return state.blocks.size === 0 ? 'No blocks in badblocklist' : `${state.blocks.list().join('\n')}\n`;
    case 'clearbadblocks': {
      const reply = state.blocks.size === 0 ? 'no badblocks found' : 'badblocks cleared';
      state.blocks.clear();
      return `dust_clear_badblocks: ${reply}`;
    }
    default:
      throw unknownMessage('dust', words, known);
  }
}

function parseNumber(what: string, word: string, largest: number): number {
  const value = /^\d{1,20}$/.test(word) ? Number(word) : Number.NaN;
  if (value <= largest) return value;
  throw new TargetError('MESSAGE_ARGUMENT', `dust: ${what} is ${word}, expected 0 to ${largest}`);
}
