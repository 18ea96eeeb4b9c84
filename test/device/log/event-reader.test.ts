import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { EventReader } from '../../../src/device/log/event-reader.ts';
import { encodeEvent } from '../../../src/device/log/event-record.ts';

let directory: string;
let path: string;
let reader: EventReader;
let written: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-reader-'));
  path = join(directory, 'events.jsonl');
  reader = new EventReader(path);
  written = 0;
});

afterEach(async () => {
  await reader.close();
  rmSync(directory, { recursive: true, force: true });
});

function line(): string {
  written += 1;
  return encodeEvent({ kind: 'resumed' }, { device: 'disk', uuid: 'u', pid: 7 }, written, 1_000 * written);
}

function write(count: number): void {
  for (let at = 0; at < count; at += 1) appendFileSync(path, line());
}

function startAnew(): void {
  renameSync(path, `${path}.1`);
  writeFileSync(path, '');
}

async function sequences(): Promise<number[]> {
  return (await reader.read()).map(({ event }) => event.sequence);
}

test('a file that is not there has no events, and then those that it gets', async () => {
  assert.deepEqual(await sequences(), []);
  write(2);
  assert.deepEqual(await sequences(), [1, 2]);
  assert.deepEqual(await sequences(), []);
  write(1);
  assert.deepEqual(await sequences(), [3]);
});

test('the piece before it comes first, once', async () => {
  write(2);
  startAnew();
  write(2);
  assert.deepEqual(await sequences(), [1, 2, 3, 4]);
  assert.deepEqual(await sequences(), []);
});

test('a piece without a file behind it is read once, also when the file comes later', async () => {
  write(2);
  renameSync(path, `${path}.1`);
  assert.deepEqual(await sequences(), [1, 2]);
  write(1);
  assert.deepEqual(await sequences(), [3]);
});

test('lines that are torn, zeroes or of another form are passed over and counted', async () => {
  write(1);
  appendFileSync(path, '{"v":1,"sequence":9,"ti\n\0\0\0\n[]\nnull\n{"v":2}\n');
  write(1);
  assert.deepEqual(await sequences(), [1, 2]);
  assert.equal(reader.damagedLines, 5);
});

test('a line that a process wrote twice while it ended is told once', async () => {
  const [one, two, three] = [line(), line(), line()];
  appendFileSync(path, `${one}${two}${two}${three}${two}`);
  assert.deepEqual(await sequences(), [1, 2, 3]);
  appendFileSync(path, encodeEvent({ kind: 'resumed' }, { device: 'd', uuid: 'u', pid: 8 }, 2, 1));
  assert.deepEqual(await sequences(), [2], 'another process, whose numbers were lost, is not');
});

test('a line is told when it is whole, wherever reading cuts it', async () => {
  const text = line() + line();
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length), async (at) => {
      writeFileSync(path, text.slice(0, at));
      const one = new EventReader(path);
      const first = await one.read();
      appendFileSync(path, text.slice(at));
      const all = [...first, ...(await one.read())];
      await one.close();
      assert.deepEqual(
        all.map(({ event }) => event.sequence),
        [1, 2],
      );
      assert.equal(all.map((event) => `${event.line}\n`).join(''), text);
    }),
    { numRuns: 40 },
  );
});

test('followed through starting anew, no event is missing and none comes twice', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.nat(4) },
    { weight: 1, arbitrary: fc.constant('start anew' as const) },
    { weight: 2, arbitrary: fc.constant('look' as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      for (const file of [path, `${path}.1`]) rmSync(file, { force: true });
      written = 0;
      writeFileSync(path, '');
      const following = new EventReader(path);
      const seen: number[] = [];
      const look = async (): Promise<void> => {
        for (const { event } of await following.read()) seen.push(event.sequence);
      };
      await look();
      let newFiles = 0;
      for (const one of steps) {
        if (one === 'look') {
          await look();
          newFiles = 0;
        } else if (one !== 'start anew') write(one);
        else if (newFiles < 2) {
          // Twice between two looks is as much as can be seen: the oldest piece is gone then.
          startAnew();
          newFiles += 1;
        }
      }
      await look();
      await following.close();
      assert.deepEqual(
        seen,
        Array.from({ length: written }, (_, at) => at + 1),
      );
    }),
    { numRuns: 100 },
  );
});
