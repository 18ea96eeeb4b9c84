import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noSlot, StateCause } from '../../src/metadata/mapping-state.ts';
import { listLinesMax, MessageError } from '../../src/remap/remap-messages.ts';
import { makeStack, type Stack } from './remap-stack.ts';

function activate(
  stack: Stack,
  granule: number,
  granuleCount: number,
  state: { slot: number; held: number; unreadable?: number; gone?: number; flags?: number },
): void {
  stack.core.activate([
    {
      type: 'granules',
      granule,
      granuleCount,
      unreadable: 0,
      gone: 0,
      flags: 0,
      cause: StateCause.writeError,
      unixSeconds: 0,
      ...state,
    },
  ]);
}

function ask(stack: Stack, ...words: string[]): Promise<string> {
  return stack.clock.run(stack.device.message(words));
}

describe('messages', () => {
  it('list names main sector, count, spare sector and cause of each run of held sectors', async () => {
    const stack = makeStack();
    activate(stack, 3, 1, { slot: 40, held: 0b1011_0001 });
    assert.deepEqual((await ask(stack, 'list')).split('\n'), [
      '24 1 320 writeError',
      '28 2 324 writeError',
      '31 1 327 writeError',
    ]);
    assert.equal(await ask(stack, 'lost'), '');
  });

  it('list says in words what is not certain about a move', async () => {
    const stack = makeStack();
    activate(stack, 3, 1, { slot: 40, held: 1, flags: 1 });
    activate(stack, 4, 1, { slot: 41, held: 1, flags: 5 });
    activate(stack, 5, 1, { slot: 42, held: 1, flags: 9 });
    assert.deepEqual((await ask(stack, 'list')).split('\n'), [
      '24 1 320 writeError unverified',
      '32 1 328 writeError unverified suspect',
      '40 1 336 writeError unverified flags=8',
    ]);
  });

  it('lost names each run of sectors without bytes, and which kind of loss it is', async () => {
    const stack = makeStack();
    activate(stack, 0, 1, { slot: noSlot, held: 0, unreadable: 0b0011, gone: 0b1000 });
    assert.deepEqual((await ask(stack, 'lost')).split('\n'), ['0 2 unreadable', '3 1 gone']);
    assert.equal(await ask(stack, 'list'), '');
  });

  it('list gives exactly the most lines there may be, and says so only when there are more', async () => {
    const stack = makeStack({ mainBytes: 8 << 20, spareBytes: 8 << 20, granuleBytes: 512 });
    activate(stack, 0, listLinesMax, { slot: 16, held: 1 });
    const all = (await ask(stack, 'list')).split('\n');
    assert.equal(all.length, listLinesMax);
    assert.match(all.at(-1) ?? '', /^9999 1 10015 writeError$/);
    activate(stack, 12_000, 1, { slot: 12_016, held: 1 });
    const cut = (await ask(stack, 'list')).split('\n');
    assert.equal(cut.length, listLinesMax + 1);
    assert.equal(cut.at(-1), `# the first ${listLinesMax} lines; stats has the totals`);
  });

  it('stats gives one name and one number or word a line', async () => {
    const stack = makeStack();
    activate(stack, 5, 2, { slot: 50, held: 0xff });
    const lines = (await ask(stack, 'stats')).split('\n');
    for (const line of lines) assert.match(line, /^[A-Za-z.]+ \S+$/);
    assert.ok(lines.includes('remappedGranules 2'));
    assert.ok(lines.includes('remappedSectors 16'));
  });

  it('refuses what it does not know in one line that says what it does', async () => {
    const stack = makeStack();
    for (const [words, code] of [
      [[], 'MESSAGE_UNKNOWN'],
      [['dance'], 'MESSAGE_UNKNOWN'],
      [['list', 'all'], 'MESSAGE_INVALID'],
      [['remap'], 'MESSAGE_INVALID'],
      [['remap', '-1'], 'MESSAGE_INVALID'],
      [['remap', '1e3'], 'MESSAGE_INVALID'],
      [['remap', '0', '0'], 'MESSAGE_INVALID'],
      [['remap', '2047', '2'], 'MESSAGE_INVALID'],
      [['remap', '9007199254740991'], 'MESSAGE_INVALID'],
    ] as const) {
      await assert.rejects(ask(stack, ...words), (error) => {
        assert.ok(error instanceof MessageError, words.join(' '));
        assert.equal(error.code, code, words.join(' '));
        return !error.message.includes('\n');
      });
    }
  });
});
