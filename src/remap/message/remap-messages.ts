import { clearCounters } from '../remap-counters.ts';
import { healthText } from './health.ts';
import type { MessageContext } from './message-context.ts';
import { MessageError } from './message-error.ts';
import { retireDevice, unremapSectors, verifySectors } from './message-home.ts';
import { listText, queryText, statsText } from './message-listings.ts';
import { answerLost, fillLost, importSectors, retrySectors } from './message-lost.ts';
import { mapText } from './message-map.ts';
import { answerPolicy } from './message-policy.ts';
import { remapSectors } from './message-remap.ts';
import { answerScrub } from './message-scrub.ts';
import { slotsText } from './message-spare.ts';
import { rangeOfWords, refuseWords } from './message-words.ts';

interface Message {
  /** The words behind the verb, as help prints them. */
  readonly usage: string;
  /** One line. */
  readonly summary: string;
  readonly answer: (context: MessageContext, words: readonly string[]) => Promise<string> | string;
}

/** A message without words of its own. */
function alone(
  verb: string,
  summary: string,
  answer: (context: MessageContext) => Promise<string> | string,
): [string, Message] {
  const answerAlone = (context: MessageContext, words: readonly string[]): Promise<string> | string => {
    refuseWords(verb, words);
    return answer(context);
  };
  return [verb, { usage: '', summary, answer: answerAlone }];
}

/** In the order in which people need them. */
const messages: ReadonlyMap<string, Message> = new Map<string, Message>([
  [
    'list',
    {
      usage: '[blocks]',
      summary: 'moved sectors: MAIN-SECTOR COUNT SPARE-SECTOR CAUSE [FLAGS]; blocks: a line for each',
      answer: ({ core }, words) => listText(core, words),
    },
  ],
  [
    'lost',
    {
      usage: '[zero SECTOR [COUNT] yes]',
      summary: 'sectors without bytes: MAIN-SECTOR COUNT unreadable|suspect|gone; zero: make them zeroes',
      answer: answerLost,
    },
  ],
  [
    'query',
    {
      usage: 'SECTOR [COUNT]',
      summary:
        'where each sector is: main, spare SECTOR CAUSE [FLAGS], unreadable, suspect, fresh-zero or gone',
      answer: ({ core }, words) => queryText(core, rangeOfWords(core, 'query', words)),
    },
  ],
  [
    'map',
    {
      usage: '[CELLS]',
      summary: 'the device in cells of one size: how many sectors of each are moved or lost',
      answer: ({ core }, words) => mapText(core, words),
    },
  ],
  [
    'remap',
    {
      usage: 'SECTOR [COUNT]',
      summary: 'move sectors to the spare now, before they fail',
      answer: remapSectors,
    },
  ],
  [
    'unremap',
    {
      usage: 'SECTOR [COUNT]',
      summary: 'bring moved sectors home; those that main does not take stay',
      answer: unremapSectors,
    },
  ],
  [
    'verify',
    {
      usage: '[SECTOR [COUNT]]',
      summary: 'test unverified moves and unreadable sectors again; the good ones go home',
      answer: verifySectors,
    },
  ],
  [
    'retry',
    {
      usage: 'SECTOR [COUNT]|all',
      summary: 'ask main again for unreadable sectors; what it gives moves to the spare',
      answer: retrySectors,
    },
  ],
  [
    'fill',
    {
      usage: 'SECTOR [COUNT] yes',
      summary: 'as lost zero: write zeroes to lost sectors, and to no other',
      answer: (context, words) => fillLost(context, 'fill', words),
    },
  ],
  [
    'import',
    {
      usage: 'suspect SECTOR [COUNT]',
      summary: 'sectors that another tool found bad: main is asked for them once',
      answer: importSectors,
    },
  ],
  [
    'retire',
    {
      usage: '[SECTOR [COUNT]]',
      summary: 'bring everything home, so that main can be used alone',
      answer: retireDevice,
    },
  ],
  alone('spare', 'slots of the spare, and when it will be full', ({ core }) => slotsText(core)),
  alone('health', 'ok, degraded or failing, and why, in one line', ({ status }) => healthText(status())),
  [
    'policy',
    {
      usage: '[NAME [VALUE]]',
      summary: 'show or set a policy; it is stored, and holds for the next request',
      answer: ({ core }, words) => answerPolicy(core, words),
    },
  ],
  [
    'scrub',
    {
      usage: '[ACTION]',
      summary: 'read everything in the background to find what is bad: status, start, pause, resume or stop',
      answer: answerScrub,
    },
  ],
  alone('stats', 'counters since the device was opened or cleared, NAME VALUE', ({ status }) =>
    statsText(status()),
  ),
  alone('clear_stats', 'set the counters to 0', ({ core }) => {
    clearCounters(core.counters);
    return 'the counters are 0';
  }),
  alone('help', 'this text', () => helpText()),
]);

export const messageVerbs: readonly string[] = [...messages.keys()];

/** Answers the words after the sector of a message. Rejects with `MessageError`. */
export async function answerMessage(context: MessageContext, words: readonly string[]): Promise<string> {
  const [verb = '', ...rest] = words;
  const message = messages.get(verb);
  if (message !== undefined) return await message.answer(context, rest);
  throw new MessageError(
    'MESSAGE_UNKNOWN',
    `unknown message '${verb}': expected one of ${messageVerbs.join(', ')}`,
  );
}

function helpText(): string {
  const lines = [...messages].map(([verb, { usage, summary }]) => ({
    words: `${verb} ${usage}`.trimEnd(),
    summary,
  }));
  const width = Math.max(...lines.map(({ words }) => words.length));
  return [
    ...lines.map(({ words, summary }) => `${words.padEnd(width)}  ${summary}`),
    'Long work ends after some seconds with "next SECTOR COUNT": send it again for those.',
  ].join('\n');
}
