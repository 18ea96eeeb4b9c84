import { Buffer } from 'node:buffer';
import { controlApplication } from '../../../src/control/application.ts';
import { AskError } from '../../../src/control/data-plane-client.ts';
import type { ControlAsk } from '../../../src/device/messages.ts';
import { type FuzzTarget, must, textWords } from '../engine/fuzz-target.ts';

const paths = ['/message', '/suspend', '/remove', '/resume', '/ping', '/status', '/table', '/other'] as const;
const methods = ['POST', 'GET', 'PUT', 'DELETE'] as const;
const statuses: ReadonlySet<number> = new Set([200, 400, 404, 405, 413, 422]);

/** The first byte chooses path and method, the rest is the body. */
export const controlBodies: FuzzTarget = {
  name: 'control-bodies',
  what: 'requests to the control API: only what is well-formed reaches the data plane, everything else is a 4xx of JSON',
  inputBytesMax: 8_192,
  executionsPerLook: 32,
  executionsInTests: 3_000,
  seeds: () =>
    [
      '\0{"sector":0,"words":["list"]}',
      '\0{"sector":-1,"words":["list"]}',
      '\0{"sector":0,"words":[]}',
      '\0{"sector":8,"words":["remap","16","4"]}',
      '\u0001{"flush":true}',
      '\u0002{"force":false}',
      '\u0002',
      '\u0003',
      '\u000c',
    ].map((text) => Buffer.from(text)),
  words: textWords(
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"sector":',
      '"words":',
      '"flush":',
      '"force":',
      'true',
      'null',
      '""',
      '"a"',
      '-1',
    ],
    ...['1e400', '9007199254740992', '0.5', '"__proto__":', '"constructor":', '\\u0000', '\\ud800'],
  ),
  open: () => Promise.resolve({ run: send }),
};

async function send(input: Buffer): Promise<void> {
  const choice = input[0] ?? 0;
  const path = paths[choice % paths.length]!;
  const method = methods[(choice >> 3) % methods.length]!;
  const asks: ControlAsk[] = [];
  const application = controlApplication({
    ask: (ask) => {
      asks.push(ask);
      if (ask.type === 'message') return Promise.reject(new AskError({ code: 'BAD_MESSAGE', message: 'no' }));
      return Promise.resolve({ name: 'disk', state: 'serving', pid: 1 });
    },
  });
  const body = method === 'GET' ? {} : { body: new Uint8Array(input.subarray(1)) };
  const response = await application.request(path, { method, ...body });
  must(statuses.has(response.status), `${method} ${path} was answered ${response.status}`);
  const text = await response.text();
  JSON.parse(text);
  must(asks.length <= 1, 'one request asked twice');
  must(response.status !== 200 || asks.length === 1, 'answered well without asking');
  for (const ask of asks) mustBeWellFormed(ask);
}

/** Written from docs, not from the schema. */
function mustBeWellFormed(ask: ControlAsk): void {
  if (ask.type === 'suspend') must(typeof ask.flush === 'boolean', 'flush is no boolean');
  if (ask.type === 'remove') must(typeof ask.force === 'boolean', 'force is no boolean');
  if (ask.type !== 'message') return;
  must(Number.isSafeInteger(ask.sector) && ask.sector >= 0, `sector ${ask.sector}`);
  must(Array.isArray(ask.words) && ask.words.length >= 1 && ask.words.length <= 64, 'no words, or too many');
  const areWords = ask.words.every(
    (word) => typeof word === 'string' && word.length >= 1 && word.length <= 256,
  );
  must(areWords, 'a word that is none, or too long');
}
