import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Extent, ExtentState } from '../../src/block/block-device.ts';
import { deviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { decodeMetaContextRequest, encodeMetaContextRequest } from '../../src/nbd/handshake-codec.ts';
import { settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import {
  bytesOf,
  chunk,
  contextsHex,
  errorChunkHex,
  field,
  optionHex,
  optionReplyHex,
  replyHex,
  requestHex,
  statusChunkHex,
  textHex,
  type WireClient,
} from './wire-client.ts';

const status = 7;
const reqOne = 8;
const [structuredReply, list, set, go] = [8, 9, 10, 7];
const [ack, metaContext] = [1, 4];
const [errorInvalid, errorUnknown] = [0x80000003, 0x80000006];
const [EIO, EINVAL, ESHUTDOWN] = [5, 22, 108];
const mebibyte = 1024 * 1024;
const allocation = 'base:allocation';
const remapState = 'dm-remap:state';

/** Says what it is told about itself, at most so many bytes at once. */
class MappedBytes extends FilterDevice {
  states: readonly (readonly [length: number, state: ExtentState])[] = [];
  bytesAtOnce: number = Number.POSITIVE_INFINITY;
  calls = 0;
  /** Bytes of the last call. */
  asked = 0;
  failure: 'suspect' | 'closed' | undefined;

  override extents(offset: number, length: number): Promise<readonly Extent[]> {
    this.calls += 1;
    this.asked = length;
    if (this.failure !== undefined) return Promise.reject(deviceError('disk', this.failure, offset, length));
    const extents: Extent[] = [];
    let at = 0;
    for (const [extentLength, state] of this.states) {
      const from = Math.max(at, offset);
      const to = Math.min(at + extentLength, offset + Math.min(length, this.bytesAtOnce));
      if (to > from) extents.push({ length: to - from, state });
      at += extentLength;
    }
    return Promise.resolve(extents);
  }
}

function mapped(states: MappedBytes['states'] = [[mebibyte, 'data']]): MappedBytes {
  const device = new MappedBytes(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  device.states = states;
  return device;
}

async function negotiating(wire: WireClient): Promise<void> {
  await wire.receive(18);
  await wire.send(`00000003${optionHex(structuredReply)}`);
  await wire.expect(optionReplyHex(structuredReply, ack));
}

function contextReply(option: number, id: number, name: string): string {
  return optionReplyHex(option, metaContext, field(id, 4) + textHex(name));
}

function goHex(name: string): string {
  return optionHex(go, `${field(name.length, 4)}${textHex(name)}0000`);
}

describe('negotiation of structured replies and contexts', () => {
  it('STRUCTURED_REPLY with data is invalid, without it is agreed on, as often as asked', async () => {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      await wire.receive(18);
      await wire.send(`00000003${optionHex(structuredReply, '00')}`);
      await wire.expect(
        optionReplyHex(structuredReply, errorInvalid, textHex('STRUCTURED_REPLY carries no data')),
      );
      await wire.send(optionHex(structuredReply) + optionHex(structuredReply));
      await wire.expect(optionReplyHex(structuredReply, ack).repeat(2));
    });
  });

  it('DF is offered with structured replies only, by INFO, GO and EXPORT_NAME alike', async () => {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      await wire.receive(18);
      await wire.send(`00000003${optionHex(6, '000000000000')}`);
      const info = (option: number, flags: string) =>
        optionReplyHex(option, 3, `0000${field(mebibyte, 8)}${flags}`);
      await wire.expect(info(6, '0d6d'));
      await wire.receive(20 + 14 + 20);
      await wire.send(optionHex(structuredReply));
      await wire.expect(optionReplyHex(structuredReply, ack));
      for (const option of [6, 7]) {
        await wire.send(optionHex(option, '000000000000'));
        await wire.expect(info(option, '0ded'));
        await wire.receive(20 + 14 + 20);
      }
      const old = fixture.wire();
      await negotiating(old);
      await old.send(optionHex(1));
      await old.expect(`${field(mebibyte, 8)}0ded`);
    });
  });

  it('LIST and SET come after structured replies', async () => {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      await wire.receive(18);
      await wire.send(`00000003${contextsHex(list, 'disk', [])}${contextsHex(set, 'disk', [allocation])}`);
      for (const option of [list, set]) {
        await wire.expect(optionReplyHex(option, errorInvalid, textHex('structured replies come first')));
      }
    });
  });

  const listed: readonly (readonly [readonly string[], readonly string[]])[] = [
    [[], [allocation, remapState]],
    [['base:'], [allocation]],
    [[allocation], [allocation]],
    [['dm-remap:'], [remapState]],
    [
      [remapState, 'base:', allocation],
      [allocation, remapState],
    ],
    [['qemu:dirty-bitmap:x', 'base:other', 'base', '', 'x-y:'], []],
  ];
  for (const [queries, names] of listed) {
    it(`LIST of ${JSON.stringify(queries)} names ${JSON.stringify(names)}, without ids`, async () => {
      await withServer({}, async (fixture) => {
        const wire = fixture.wire();
        await negotiating(wire);
        await wire.send(contextsHex(list, '', queries));
        await wire.expect(
          names.map((name) => contextReply(list, 0, name)).join('') + optionReplyHex(list, ack),
        );
      });
    });
  }

  const chosen: readonly (readonly [readonly string[], string])[] = [
    [[allocation], contextReply(set, 1, allocation)],
    [
      [remapState, allocation, allocation],
      contextReply(set, 1, allocation) + contextReply(set, 2, remapState),
    ],
    [['base:', 'dm-remap:'], ''],
    [['other:thing'], ''],
    [[], ''],
  ];
  for (const [queries, answer] of chosen) {
    it(`SET of ${JSON.stringify(queries)} chooses exact names only, each once`, async () => {
      await withServer({}, async (fixture) => {
        const wire = fixture.wire();
        await negotiating(wire);
        await wire.send(contextsHex(set, 'disk', queries));
        await wire.expect(answer + optionReplyHex(set, ack));
      });
    });
  }

  it('an unknown export, and lengths that do not fit, are refused, and the handshake goes on', async () => {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      await negotiating(wire);
      for (const option of [list, set]) {
        await wire.send(contextsHex(option, 'other', []));
        await wire.expect(optionReplyHex(option, errorUnknown, textHex('this server has the export "disk"')));
        for (const data of [
          '',
          '00000000',
          `${field(9, 4)}aa00000000`,
          '0000000000000001',
          '000000000000000000',
        ]) {
          await wire.send(optionHex(option, data));
          const message = textHex('the lengths in the option do not fit its data');
          await wire.expect(optionReplyHex(option, errorInvalid, message));
        }
        const long = `${field(0, 4)}${field(1, 4)}${field(4097, 4)}${'61'.repeat(4097)}`;
        await wire.send(optionHex(option, long));
        await wire.receive(20 + 45);
      }
      await wire.send(optionHex(2));
      await wire.expect(optionReplyHex(2, ack));
    });
  });

  /** What BLOCK_STATUS answers after these options and GO of the default export. */
  async function statusAfter(options: string, goName = ''): Promise<string> {
    let answer = '';
    await withServer({ moreExports: [{ name: 'raw', device: mapped() }] }, async (fixture) => {
      const wire = fixture.wire();
      await negotiating(wire);
      const before = fixture.server.counters[NbdCounter.blockStatuses]!;
      await wire.send(options);
      await settle();
      await wire.send(goHex(goName) + requestHex(status, 1, 0, 512));
      await settle();
      answer = fixture.server.counters[NbdCounter.blockStatuses]! > before ? 'told' : 'refused';
    });
    return answer;
  }

  it('contexts hold for the export they were set for, by any of its names', async () => {
    const chosenForDisk = contextsHex(set, 'disk', [allocation]);
    assert.equal(await statusAfter(chosenForDisk, 'disk'), 'told');
    assert.equal(await statusAfter(chosenForDisk, ''), 'told');
    assert.equal(await statusAfter(chosenForDisk, 'raw'), 'refused');
    assert.equal(await statusAfter(contextsHex(list, '', [allocation])), 'refused', 'LIST chooses nothing');
  });

  it('a later SET takes the place of the one before, also one that fails', async () => {
    const first = contextsHex(set, '', [allocation]);
    assert.equal(await statusAfter(first + contextsHex(set, '', ['base:'])), 'refused');
    assert.equal(await statusAfter(first + contextsHex(set, 'other', [allocation])), 'refused');
    assert.equal(await statusAfter(first + optionHex(set, '00')), 'refused');
    assert.equal(await statusAfter(contextsHex(set, '', []) + first), 'told');
    assert.equal(await statusAfter(first + contextsHex(list, 'other', [])), 'told', 'LIST changes nothing');
    assert.equal(await statusAfter(first + optionHex(structuredReply)), 'told');
  });

  it('what is encoded is decoded; any bytes are read or refused, never an exception', () => {
    const text = fc.string({ maxLength: 50, unit: 'binary-ascii' });
    fc.assert(
      fc.property(text, fc.array(text, { maxLength: 8 }), (name, queries) => {
        const data = encodeMetaContextRequest(new TextEncoder().encode(name), queries);
        const request = decodeMetaContextRequest(data);
        assert.equal(new TextDecoder().decode(request?.exportName), name);
        assert.deepEqual(request?.queries, queries);
        for (let length = 0; length < data.length; length += 1) {
          assert.equal(decodeMetaContextRequest(data.subarray(0, length)), undefined);
        }
      }),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (data) => void decodeMetaContextRequest(data)));
  });
});

const everyState: MappedBytes['states'] = [
  [4096, 'data'],
  [512, 'remapped'],
  [512, 'unreadable'],
  [512, 'gone'],
  [2560, 'data'],
  [8192, 'hole'],
  [8192, 'zero'],
  [mebibyte - 24576, 'data'],
];

describe('BLOCK_STATUS', () => {
  it('R29 base:allocation joins what is data to its client, and dm-remap:state tells it apart', async () => {
    const device = mapped(everyState);
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.structured([allocation]);
      await wire.send(requestHex(status, 1, 0, mebibyte));
      await wire.expect(
        statusChunkHex(1, 1, [
          [8192, 0],
          [8192, 3],
          [8192, 2],
          [mebibyte - 24576, 0],
        ]),
      );
      const other = await fixture.structured([remapState]);
      await other.send(requestHex(status, 2, 0, mebibyte));
      await other.expect(
        statusChunkHex(2, 2, [
          [4096, 0],
          [512, 1],
          [512, 2],
          [512, 4],
          [mebibyte - 5632, 0],
        ]),
      );
      const both = await fixture.structured([allocation, remapState]);
      await both.send(requestHex(status, 3, 4096, 4096));
      await both.expect(
        statusChunkHex(3, 1, [[4096, 0]], false) +
          statusChunkHex(3, 2, [
            [512, 1],
            [512, 2],
            [512, 4],
            [2560, 0],
          ]),
      );
    });
  });

  it('REQ_ONE is one descriptor, and none goes beyond the request', async () => {
    const device = mapped(everyState);
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.structured([allocation]);
      await wire.send(requestHex(status, 1, 0, mebibyte, { flags: reqOne }));
      await wire.expect(statusChunkHex(1, 1, [[8192, 0]]));
      await wire.send(requestHex(status, 2, 8704, 512, { flags: reqOne }));
      await wire.expect(statusChunkHex(2, 1, [[512, 3]]));
      await wire.send(requestHex(status, 3, 8704, 512));
      await wire.expect(statusChunkHex(3, 1, [[512, 3]]));
    });
  });

  it('REQ_ONE asks the device for little more than it answers', async () => {
    const short = 4096;
    const device = mapped([
      [short, 'hole'],
      [mebibyte / 2 - short, 'data'],
      [mebibyte / 2, 'hole'],
    ]);
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.structured([allocation]);
      await wire.send(requestHex(status, 1, 0, mebibyte, { flags: reqOne }));
      await wire.expect(statusChunkHex(1, 1, [[short, 3]]));
      assert.ok(device.asked <= 65536, `${device.asked} bytes`);
      await wire.send(requestHex(status, 2, short, mebibyte - short, { flags: reqOne }));
      await wire.expect(statusChunkHex(2, 1, [[mebibyte / 2 - short, 0]]));
      assert.equal(device.calls, 3, 'eight times as much each time');
    });
  });

  it('asks again where the device covers less than asked', async () => {
    const device = mapped(everyState);
    device.bytesAtOnce = 65536;
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.structured([allocation]);
      await wire.send(requestHex(status, 1, 16384, mebibyte - 16384));
      await wire.expect(
        statusChunkHex(1, 1, [
          [8192, 2],
          [mebibyte - 24576, 0],
        ]),
      );
      assert.equal(device.calls, 16);
      device.bytesAtOnce = 512;
      await wire.send(requestHex(status, 2, 24576, mebibyte - 24576));
      await wire.expect(statusChunkHex(2, 1, [[64 * 512, 0]]));
      assert.equal(device.calls, 16 + 64, 'a bounded number of times');
    });
  });

  it('is bounded by one page of memory, and the rest is asked for again', async () => {
    const device = mapped(
      Array.from({ length: 2048 }, (_, index) => [512, index % 2 === 0 ? 'data' : 'hole'] as const),
    );
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.structured([allocation]);
      let at = 0;
      let replies = 0;
      while (at < mebibyte) {
        await wire.send(requestHex(status, 1, at, mebibyte - at));
        const count = Math.min(509, 2048 - at / 512);
        const first = at / 512;
        await wire.expect(
          statusChunkHex(
            1,
            1,
            Array.from({ length: count }, (_, index) => [512, (first + index) % 2 === 0 ? 0 : 3] as const),
          ),
        );
        at += count * 512;
        replies += 1;
      }
      assert.equal(replies, 5);
    });
  });

  it('is refused without contexts, and outside the disk, by an ERROR chunk', async () => {
    await withServer({ device: mapped() }, async (fixture) => {
      const without = await fixture.structured();
      await without.send(requestHex(status, 1, 0, 512));
      await without.expect(errorChunkHex(1, EINVAL));
      const simple = await fixture.transmission();
      await simple.send(requestHex(status, 2, 0, 512));
      await simple.expect(replyHex(2, EINVAL));
      const wire = await fixture.structured([allocation]);
      await wire.send(requestHex(status, 3, mebibyte, 512) + requestHex(status, 4, 1, 512));
      await wire.expect(errorChunkHex(3, EINVAL) + errorChunkHex(4, EINVAL));
    });
  });

  it('answers what the device says when it fails', async () => {
    const device = mapped();
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.structured([allocation]);
      for (const [failure, errno] of [
        ['suspect', EIO],
        ['closed', ESHUTDOWN],
      ] as const) {
        device.failure = failure;
        await wire.send(requestHex(status, 1, 0, 512));
        await wire.expect(errorChunkHex(1, errno));
      }
      assert.equal(fixture.server.counters[NbdCounter.errors], 2);
    });
  });

  it('any map, any way of telling it: the replies together are the map', async () => {
    const state = fc.constantFrom<ExtentState>('data', 'zero', 'hole', 'remapped', 'unreadable', 'gone');
    const allocationFlags = { data: 0, zero: 2, hole: 3, remapped: 0, unreadable: 0, gone: 0 };
    const stateFlags = { data: 0, zero: 0, hole: 0, remapped: 1, unreadable: 2, gone: 4 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(state, { minLength: 2048, maxLength: 2048 }),
        fc.integer({ min: 1, max: 3000 }),
        fc.nat(2047),
        fc.boolean(),
        async (states, blocksAtOnce, first, one) => {
          const device = mapped(states.map((each) => [512, each] as const));
          device.bytesAtOnce = blocksAtOnce * 512;
          await withServer({ device }, async (fixture) => {
            const wire = await fixture.structured([allocation, remapState]);
            await wire.send(
              requestHex(status, 1, first * 512, (2048 - first) * 512, { flags: one ? reqOne : 0 }),
            );
            for (const [id, flags] of [
              [1, allocationFlags],
              [2, stateFlags],
            ] as const) {
              const header = Buffer.from(bytesOf(await wire.receive(20)));
              assert.equal(header.readUInt16BE(6), chunk.status);
              assert.equal(header.readUInt16BE(4), id === 2 ? 1 : 0, 'the last one is done');
              const payload = Buffer.from(bytesOf(await wire.receive(header.readUInt32BE(16))));
              assert.equal(payload.readUInt32BE(0), id);
              let block = first;
              let before = -1;
              for (let at = 4; at < payload.length; at += 8) {
                const blocks = payload.readUInt32BE(at) / 512;
                const told = payload.readUInt32BE(at + 4);
                assert.ok(blocks > 0);
                assert.notEqual(told, before, 'neighbours differ');
                before = told;
                for (let index = 0; index < blocks; index += 1) {
                  assert.equal(told, flags[states[block + index]!]);
                }
                block += blocks;
              }
              assert.ok(block > first && block <= 2048);
              if (one) assert.equal(payload.length, 12);
            }
          });
        },
      ),
      { numRuns: 40 },
    );
  });
});
