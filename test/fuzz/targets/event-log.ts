import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventLine } from '../../../src/cli/text/event-line.ts';
import { EventReader } from '../../../src/device/log/event-reader.ts';
import { encodeEvent } from '../../../src/device/log/event-record.ts';
import { type FuzzTarget, must, textWords } from '../engine/fuzz-target.ts';
import { temporaryFolder } from '../engine/temporary-folder.ts';

const origin = { device: 'disk', uuid: '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11', pid: 4242 };
const unixMs = 1_767_225_600_000;

function seeds(): readonly Buffer[] {
  const lines = [
    encodeEvent({ kind: 'resumed' }, origin, 1, unixMs),
    encodeEvent({ kind: 'suspended', flush: true }, origin, 2, unixMs),
    encodeEvent({ kind: 'removing', by: 'process 1' }, origin, 3, unixMs),
    encodeEvent(
      { kind: 'serving', version: '1', engine: 'node', engineReason: '', exports: ['a'], notes: [] },
      origin,
      4,
      unixMs,
    ),
    encodeEvent({ kind: 'message', sector: 1, words: ['remap', '2'], failure: '' }, origin, 5, unixMs),
  ];
  return [...lines, lines.join('')].map((line) => Buffer.from(line));
}

/** What a log holds is printed by `dm-remap events` long after, whoever wrote it. */
export const eventLog: FuzzTarget = {
  name: 'event-log',
  what: 'a log of events, torn or foreign: every line is an event in one line of text, or counted as damaged',
  inputBytesMax: 4_096,
  executionsPerLook: 64,
  executionsInTests: 4_000,
  seeds,
  words: textWords(
    ...[
      '\n',
      '"kind":',
      '"time":',
      '"v":1',
      '"sequence":',
      '"level":',
      '"pid":',
      '"fields":',
      '{',
      '}',
      '[',
      ']',
      ',',
    ],
    ...[
      'null',
      'true',
      '""',
      '"remapped"',
      '"saved-by-salvage"',
      '"stuck-requests"',
      '"removed"',
      '"steps":',
      '"causes":',
    ],
    ...[
      '"policy-changed"',
      '"spare-taken"',
      '"unclean-end"',
      '"first":',
      '"last":',
      '"+275760-09-13T00:00:00.000Z"',
      '\\u001b',
    ],
  ),
  open: () => {
    const folder = temporaryFolder();
    const path = join(folder, 'events.jsonl');
    return Promise.resolve({
      run: (input) => readLog(path, input),
      close: () => Promise.resolve(rmSync(folder, { recursive: true, force: true })),
    });
  },
};

async function readLog(path: string, input: Buffer): Promise<void> {
  writeFileSync(path, input);
  const reader = new EventReader(path);
  const events = await reader.read();
  await reader.close();
  const lines = input.toString('utf8').split('\n').slice(0, -1);
  const whole = lines.filter((line) => line !== '').length;
  // A line that a process wrote once more, as it ended, is left out.
  const told = events.length + reader.damagedLines;
  must(told <= whole && (whole === 0 || told > 0), `${told} events and damaged lines of ${whole} lines`);
  for (const [at, { event }] of events.entries()) {
    const before = events[at - 1]?.event;
    const isRepeated = before?.pid === event.pid && before.sequence >= event.sequence;
    must(!isRepeated, `event ${event.sequence} of one process is told again`);
  }
  for (const { event } of events) {
    const text = eventLine(event);
    must(!/\p{Cc}/u.test(text), 'a line of text with a control character');
  }
}
