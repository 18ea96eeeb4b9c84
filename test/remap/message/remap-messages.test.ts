import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noSlot, StateCause } from '../../../src/metadata/mapping-state.ts';
import { MessageError } from '../../../src/remap/message/message-error.ts';
import { listLinesMax } from '../../../src/remap/message/message-listings.ts';
import { messageVerbs } from '../../../src/remap/message/remap-messages.ts';
import { makeStack, type Stack } from '../remap-stack.ts';

function activate(
  stack: Stack,
  granule: number,
  granuleCount: number,
  state: {
    slot: number;
    held: number;
    unreadable?: number;
    gone?: number;
    flags?: number;
    unixSeconds?: number;
  },
): void {
  stack.core.live.activate([
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

  it('list joins what are neighbours on both disks and of one kind, and nothing else', async () => {
    const stack = makeStack();
    activate(stack, 3, 2, { slot: 40, held: 0xff });
    activate(stack, 5, 1, { slot: 42, held: 0xff, flags: 1 });
    activate(stack, 6, 1, { slot: 50, held: 0xff, flags: 1 });
    activate(stack, 8, 1, { slot: 51, held: 0xff, flags: 1 });
    activate(stack, 10, 2, { slot: noSlot, held: 0, unreadable: 0xff });
    activate(stack, 12, 1, { slot: noSlot, held: 0, unreadable: 0xff, flags: 2 });
    const joined = [
      '24 16 320 writeError',
      '40 8 336 writeError unverified',
      '48 8 400 writeError unverified',
      '64 8 408 writeError unverified',
    ];
    assert.deepEqual((await ask(stack, 'list')).split('\n'), joined);
    assert.equal((await ask(stack, 'list', 'blocks')).split('\n').length, 5);
    assert.deepEqual((await ask(stack, 'lost')).split('\n'), ['80 16 unreadable'], 'R13: zeros are no loss');
    assert.deepEqual((await ask(stack, 'query', '28', '80')).split('\n'), [
      '28 12 spare 324 writeError',
      '40 8 spare 336 writeError unverified',
      '48 8 spare 400 writeError unverified',
      '56 8 main',
      '64 8 spare 408 writeError unverified',
      '72 8 main',
      '80 16 unreadable',
      '96 8 fresh-zero',
      '104 4 main',
    ]);
  });

  it('map counts what is moved or lost in cells of whole granules, and names no cell that is well', async () => {
    const stack = makeStack();
    const granules = Math.ceil(stack.core.parts.sizeBytes / stack.core.parts.granuleBytes);
    activate(stack, 3, 2, { slot: 40, held: 0b1011_0001 });
    activate(stack, 10, 1, { slot: noSlot, held: 0, unreadable: 0b111, gone: 0b1000 });
    activate(stack, granules - 1, 1, { slot: noSlot, held: 0, unreadable: 0b1, flags: 2 });
    assert.deepEqual((await ask(stack, 'map', '4096')).split('\n'), [
      `cells ${granules} sectors 8`,
      '3 moved 4 unreadable 0 fresh-zero 0 gone 0',
      '4 moved 4 unreadable 0 fresh-zero 0 gone 0',
      '10 moved 0 unreadable 3 fresh-zero 0 gone 1',
      `${granules - 1} moved 0 unreadable 0 fresh-zero 1 gone 0`,
    ]);
    assert.deepEqual((await ask(stack, 'map', '1')).split('\n'), [
      `cells 1 sectors ${granules * 8}`,
      '0 moved 8 unreadable 3 fresh-zero 1 gone 1',
    ]);
    const size = Math.ceil(granules / 7);
    const seven = (await ask(stack, 'map', '7')).split('\n');
    assert.equal(seven[0], `cells ${Math.ceil(granules / size)} sectors ${size * 8}`);
    assert.equal(seven.length, 3);
    for (const words of [['0'], ['4097'], ['x'], ['1', '2']]) {
      await assert.rejects(ask(stack, 'map', ...words), { code: 'MESSAGE_INVALID' });
    }
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
    const all = (await ask(stack, 'list', 'blocks')).split('\n');
    assert.equal(all.length, listLinesMax);
    assert.match(all.at(-1) ?? '', /^9999 1 10015 writeError$/);
    activate(stack, 12_000, 1, { slot: 12_016, held: 1 });
    assert.equal(await ask(stack, 'list'), `0 ${listLinesMax} 16 writeError\n12000 1 12016 writeError`);
    const cut = (await ask(stack, 'list', 'blocks')).split('\n');
    assert.equal(cut.length, listLinesMax + 1);
    assert.equal(cut.at(-1), `# the first ${listLinesMax} lines; stats has the totals`);
  });

  it('stats gives one name and one number or word a line', async () => {
    const stack = makeStack();
    activate(stack, 5, 2, { slot: 50, held: 0xff });
    const lines = (await ask(stack, 'stats')).split('\n');
    for (const line of lines) assert.match(line, /^[A-Za-z.-]+ \S+$/);
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

  it('query says of every sector of a range where it is', async () => {
    const stack = makeStack();
    activate(stack, 3, 1, { slot: 40, held: 0b1011_0001, unreadable: 0b10, gone: 0b100 });
    activate(stack, 4, 1, { slot: noSlot, held: 0, unreadable: 1, flags: 4 });
    assert.deepEqual((await ask(stack, 'query', '20', '20')).split('\n'), [
      '20 4 main',
      '24 1 spare 320 writeError',
      '25 1 unreadable',
      '26 1 gone',
      '27 1 main',
      '28 2 spare 324 writeError',
      '30 1 main',
      '31 1 spare 327 writeError',
      '32 1 suspect',
      '33 7 main',
    ]);
    assert.equal(await ask(stack, 'query', '26'), '26 1 gone');
    assert.equal(
      await ask(stack, 'query', '29', '3'),
      '29 1 spare 325 writeError\n30 1 main\n31 1 spare 327 writeError',
    );
    assert.equal(await ask(stack, 'query', '0', '8'), '0 8 main');
  });

  it('query gives a bounded number of lines, and says where to go on', async () => {
    const stack = makeStack({ mainBytes: 8 << 20, spareBytes: 8 << 20, granuleBytes: 512 });
    for (let granule = 0; granule < 12_000; granule += 2)
      activate(stack, granule, 1, { slot: granule, held: 1 });
    const all = [];
    let words = ['0', '12000'];
    for (;;) {
      const lines = (await ask(stack, 'query', ...words)).split('\n');
      assert.ok(lines.length <= listLinesMax + 2);
      const next = /^next (\d+) (\d+)$/.exec(lines.at(-1)!);
      all.push(...(next === null ? lines : lines.slice(0, -1)));
      if (next === null) break;
      words = [next[1]!, next[2]!];
    }
    assert.equal(all.length, 12_000);
    assert.deepEqual(all.slice(-2), ['11998 1 spare 11998 writeError', '11999 1 main']);
  });

  it('spare counts slots, and says when the last week would fill it', async () => {
    const stack = makeStack();
    assert.ok((await ask(stack, 'spare')).endsWith('used-last-7-days 0\nfull-in-days none'));
    const unixSeconds = Math.floor(stack.clock.unixMs() / 1000);
    for (let at = 0; at < 10; at += 1) {
      const slot = stack.core.parts.allocator.allocate(1, false)!.slot;
      activate(stack, at, 1, { slot, held: 1, unixSeconds });
    }
    assert.deepEqual((await ask(stack, 'spare')).split('\n'), [
      'state in-use',
      'total 240',
      'used 10',
      'free 230',
      'retired 0',
      'used-percent 4',
      'reserve 64',
      'granule-bytes 4096',
      'used-last-7-days 10',
      'full-in-days 23',
    ]);
  });

  it('health is ok, degraded or failing, with every reason in one line', async () => {
    const stack = makeStack();
    assert.equal(await ask(stack, 'health'), 'ok');
    activate(stack, 3, 1, { slot: 40, held: 1, unreadable: 2 });
    assert.equal(await ask(stack, 'health'), 'degraded: 1 block moved to the spare; 1 sector unreadable');
    activate(stack, 4, 1, { slot: noSlot, held: 0, gone: 1 });
    stack.core.paths.mainReads.noteFailed();
    assert.match(await ask(stack, 'health'), /^failing: main-failed; 1 sector gone; 1 block moved/);
  });

  it('clear_stats begins to count anew', async () => {
    const stack = makeStack();
    stack.core.counters.remaps = 7;
    await ask(stack, 'clear_stats');
    assert.ok((await ask(stack, 'stats')).split('\n').includes('remaps 0'));
  });

  it('help has one line for each message', async () => {
    const stack = makeStack();
    const lines = (await ask(stack, 'help')).split('\n');
    for (const verb of messageVerbs)
      assert.equal(lines.filter((line) => line.split(' ')[0] === verb).length, 1, verb);
    assert.ok(lines.every((line) => line.length <= 132));
  });
});

describe('policy', () => {
  it('shows all, or one, and sets one for the next request after it is stored', async () => {
    const stack = makeStack();
    assert.match(await ask(stack, 'policy'), /^path-timeout 15\non-lost error\n/);
    assert.equal(await ask(stack, 'policy', 'on-lost'), 'on-lost error');
    assert.equal(await ask(stack, 'policy', 'on-lost', 'zero'), 'on-lost zero');
    assert.equal(stack.core.policies.onLost, 'zero');
    assert.equal(stack.metadata.properties.at(-1)?.policies?.['on-lost'], 'zero');
    assert.equal(stack.device.status().policies['on-lost'], 'zero');
  });

  it('keeps the policies of a later program, and two changes at one time', async () => {
    const stack = makeStack({ storedPolicies: { 'of-tomorrow': 'yes', salvage: 'off' } });
    assert.equal(await ask(stack, 'policy', 'salvage'), 'salvage off');
    await stack.clock.run(
      Promise.all([
        stack.device.message(['policy', 'on-lost', 'zero']),
        stack.device.message(['policy', 'path-timeout', '3']),
      ]),
    );
    const stored = stack.metadata.properties.at(-1)?.policies;
    assert.deepEqual(
      [stored?.['of-tomorrow'], stored?.['on-lost'], stored?.['path-timeout'], stored?.['salvage']],
      ['yes', 'zero', '3', 'off'],
    );
  });

  it('stays as it was when it cannot be stored, or the words mean nothing', async () => {
    const stack = makeStack();
    stack.metadata.failures.push('METADATA_FAILED');
    await assert.rejects(ask(stack, 'policy', 'verify', 'always'), /it is as it was/);
    assert.equal(stack.core.policies.verify, 'first');
    for (const words of [
      ['dance'],
      ['verify', 'sometimes'],
      ['verify', 'off', 'now'],
      ['path-timeout', '-1'],
    ])
      await assert.rejects(ask(stack, 'policy', ...words), MessageError);
    assert.equal(await ask(stack, 'policy', 'verify'), 'verify first');
  });
});
