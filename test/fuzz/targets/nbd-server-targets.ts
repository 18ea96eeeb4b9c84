import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { goodConversation, handshake, type Message } from '../../nbd/hostile/conversation.ts';
import { HostileRun } from '../../nbd/hostile/hostile-run.ts';
import { withMemoryServer } from '../../nbd/hostile/hostile-servers.ts';
import { bytesOf, contextsHex, field, optionHex, textHex } from '../../nbd/wire-client.ts';
import type { FuzzSession, FuzzTarget } from '../engine/fuzz-target.ts';

const diskBytes = 64 * 1024;
const exports = [
  { name: 'disk', readOnly: false, sizeBytes: diskBytes },
  { name: 'disk/main', readOnly: true, sizeBytes: diskBytes },
];
const requestMagic = 0x25609513;
const requestBytes = 28;
const writeCommand = 1;

/** Bits of an input's first byte. */
const How = { abort: 1, cut: 2, structured: 4, contexts: 8, readOnly: 16 } as const;

/**
 * A server with its judge of `npm run hostile`: every reply is one that the client's bytes deserve, the disk is what the
 * well-formed ones make it, a healthy client beside it is not disturbed, and nothing is left of the connection.
 */
class ServerSession implements FuzzSession {
  readonly #run: HostileRun;
  readonly #end: () => Promise<void>;
  readonly #bytesOf: (input: Buffer) => Buffer;

  private constructor(run: HostileRun, end: () => Promise<void>, bytesOf: (input: Buffer) => Buffer) {
    this.#run = run;
    this.#end = end;
    this.#bytesOf = bytesOf;
  }

  static open(bytesOf: (input: Buffer) => Buffer): Promise<ServerSession> {
    return new Promise((resolve, reject) => {
      let release: () => void = () => undefined;
      const released = new Promise<void>((free) => {
        release = free;
      });
      const serving = withMemoryServer('fuzz', (target) => {
        const end = (): Promise<void> => {
          release();
          return serving;
        };
        resolve(new ServerSession(new HostileRun(target), end, bytesOf));
        return released;
      });
      serving.catch(reject);
    });
  }

  async run(input: Buffer): Promise<void> {
    const how = input[0] ?? 0;
    const bytes = this.#bytesOf(input);
    const cut = (how & How.cut) === 0 ? bytes.length : Math.floor(bytes.length / 2);
    const end = (how & How.abort) === 0 ? 'finish' : 'abort';
    await this.#run.play([bytes.subarray(0, cut), bytes.subarray(cut)], end);
  }

  close(): Promise<void> {
    return this.#end();
  }
}

function joined(how: number, messages: readonly Message[]): Buffer {
  return Buffer.concat([Buffer.of(how), ...messages.map(({ bytes }) => bytes)]);
}

const optionWords: readonly Buffer[] = [
  ...[1, 2, 3, 5, 6, 7, 8, 9, 10, 11].map((code) => optionHex(code)),
  ...[6, 7].map((code) => optionHex(code, `00000004${textHex('disk')}000100${field(3, 1)}`)),
  ...[9, 10].map((code) => contextsHex(code, 'disk', ['base:allocation', 'dm-remap:state', 'base:'])),
  ...[6, 7].map((code) => optionHex(code, `00000004${textHex('disk')}000100${field(3, 1)}ff`)),
  ...['00000000', '00000003', 'ffffffff', textHex('disk/main'), textHex('base:')],
].map((hex) => Buffer.from(bytesOf(hex)));

export const nbdHandshake: FuzzTarget = {
  name: 'nbd-handshake',
  what: 'a client’s bytes from the first on, judged as npm run hostile does',
  inputBytesMax: 4_096,
  executionsPerLook: 4,
  executionsInTests: 2_500,
  seeds: () => [
    // Lengths that do not add up, for one byte is too much.
    Buffer.from(bytesOf(`0000000003${optionHex(7, `00000004${textHex('disk')}0001000300`)}${optionHex(3)}`)),
    ...Array.from({ length: 24 }, (_, at) =>
      joined(at % 4, handshake(new SeededRandom(`handshake ${at}`), exports)),
    ),
  ],
  words: optionWords,
  open: () => ServerSession.open((input) => uniqueCookies(input.subarray(1), 0)),
};

export const nbdTransmission: FuzzTarget = {
  name: 'nbd-transmission',
  what: 'a client’s bytes behind a good handshake, judged as npm run hostile does',
  inputBytesMax: 8_192,
  executionsPerLook: 4,
  executionsInTests: 2_500,
  seeds: () =>
    Array.from({ length: 32 }, (_, at) => {
      const random = new SeededRandom(`transmission ${at}`);
      const requests = goodConversation(random, exports, 4).filter(({ what }) => what.startsWith('command'));
      return joined(at, requests);
    }),
  words: requestWords(),
  open: () => ServerSession.open(shaken),
};

function requestWords(): readonly Buffer[] {
  return [0, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((command) =>
    [0, 1, 2, 4, 16].map((flags) =>
      Buffer.from(
        bytesOf(
          `25609513${field(flags, 2)}${field(command, 2)}${field(1, 8)}${field(512, 8)}${field(512, 4)}`,
        ),
      ),
    ),
  );
}

/** A good handshake by the first byte, then the rest as requests. */
function shaken(input: Buffer): Buffer {
  const how = input[0] ?? 0;
  const name = (how & How.readOnly) === 0 ? 'disk' : 'disk/main';
  const structured = (how & How.structured) === 0 ? '' : optionHex(8);
  const contexts =
    structured === '' || (how & How.contexts) === 0
      ? ''
      : contextsHex(10, name, ['base:allocation', 'dm-remap:state']);
  const start = bytesOf(`00000003${structured}${contexts}${optionHex(1, textHex(name))}`);
  return uniqueCookies(Buffer.concat([start, input.subarray(1)]), start.length);
}

/** Replies to two requests with one cookie could not be told apart by the judge; to the server it is any number. */
function uniqueCookies(bytes: Buffer, start: number): Buffer {
  const result = Buffer.from(bytes);
  let at = start;
  for (let cookie = 1n; at + requestBytes <= result.length; cookie += 1n) {
    if (result.readUInt32BE(at) !== requestMagic) {
      // In a handshake requests may begin anywhere.
      if (start > 0) break;
      at += 1;
      continue;
    }
    result.writeBigUInt64BE(cookie, at + 8);
    const payloadBytes = result.readUInt16BE(at + 6) === writeCommand ? result.readUInt32BE(at + 24) : 0;
    at += requestBytes + payloadBytes;
  }
  return result;
}
