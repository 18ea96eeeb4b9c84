import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { connectNbd, type NbdClient, NbdRequestError } from '../../src/nbd/client.ts';
import { NbdProtocolError } from '../../src/nbd/codec.ts';
import { assembledPiecesMax, ReadAssembly } from '../../src/nbd/read-assembly.ts';
import { settle } from './manual-clock.ts';
import { memoryStreamPair } from './memory-stream.ts';
import {
  chunk,
  chunkHex,
  dataChunkHex,
  errorChunkHex,
  errorOffsetHex,
  field,
  optionReplyHex,
  replyHex,
  statusChunkHex,
  textHex,
  WireClient,
} from './wire-client.ts';

const hello = '4e42444d4147494349484156454f50540003';
const allocationId = 7;
/** HAS_FLAGS, TRIM, WRITE_ZEROES, FAST_ZERO and, when it is offered, DF. */
const flagsWithDf = '08e1';
const flagsWithoutDf = '0861';
const [EIO, EINVAL] = [5, 22];

/** A client, and the server's end of its wire: the handshake is over, everything is agreed on. */
async function connected(flags = flagsWithDf): Promise<{ client: NbdClient; server: WireClient }> {
  const pair = memoryStreamPair();
  const server = new WireClient(pair.server);
  const connecting = connectNbd(pair.client, '');
  await server.send(
    hello +
      optionReplyHex(8, 1) +
      optionReplyHex(10, 4, field(allocationId, 4) + textHex('base:allocation')) +
      optionReplyHex(10, 1) +
      optionReplyHex(7, 3, `0000${field(1024 * 1024, 8)}${flags}`) +
      optionReplyHex(7, 1),
  );
  const client = await connecting;
  // Flags, three options with the data of two.
  await server.receive(4 + 16 + 16 + 8 + 4 + 15 + 16 + 8);
  return { client, server };
}

function bytes(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

/** What became of a read of 4096 bytes from 8192, answered with these chunks; all but the failed ranges must be `value`. */
async function readAnswered(chunksHex: string): Promise<{ error: unknown; target: Uint8Array }> {
  const { client, server } = await connected();
  const target = bytes(4096, 0xee);
  const outcome = client.read(target, 8192).then(
    () => undefined,
    (error: unknown) => error,
  );
  await server.receive(28);
  await server.send(chunksHex);
  const error = await outcome;
  await client.close();
  return { error, target };
}

describe('a client with structured replies', () => {
  it('asks for one piece where the server offers it, for the sake of servers that hang up on the second', async () => {
    for (const [flags, wanted] of [
      [flagsWithDf, '0004'],
      [flagsWithoutDf, '0000'],
    ] as const) {
      const { client, server } = await connected(flags);
      const read = client.read(bytes(512, 0), 0);
      const request = await server.receive(28);
      assert.equal(request.slice(8, 16), `${wanted}0000`);
      await server.send(dataChunkHex(1, 0, bytes(512, 3)));
      await read;
      await client.close();
    }
  });

  it('puts data and holes where they belong, in any order, among the replies to others', async () => {
    const { client, server } = await connected();
    const [first, second] = [bytes(4096, 0xee), bytes(1024, 0xee)];
    const reads = [client.read(first, 8192), client.read(second, 0)];
    const flush = client.flush();
    await server.receive(3 * 28);
    await server.send(
      dataChunkHex(1, 10240, bytes(2048, 3), false) +
        dataChunkHex(2, 512, bytes(512, 9), false) +
        chunkHex(1, chunk.hole, field(8192, 8) + field(1024, 4), false) +
        replyHex(3) +
        dataChunkHex(1, 9216, bytes(1024, 2), false) +
        chunkHex(1, chunk.none, '') +
        dataChunkHex(2, 0, bytes(512, 8)),
    );
    await Promise.all([...reads, flush]);
    assert.deepEqual(first, new Uint8Array([...bytes(1024, 0), ...bytes(1024, 2), ...bytes(2048, 3)]));
    assert.deepEqual(second, new Uint8Array([...bytes(512, 8), ...bytes(512, 9)]));
    await client.close();
  });

  it('names what is missing, and keeps what came', async () => {
    const { error, target } = await readAnswered(
      dataChunkHex(1, 8192, bytes(1024, 5), false) +
        errorOffsetHex(1, EIO, 9216, 'lost', false) +
        dataChunkHex(1, 10240, bytes(2048, 6)),
    );
    assert.ok(error instanceof NbdRequestError);
    assert.deepEqual(error.failures, [{ offset: 9216, length: 1024, errno: EIO }]);
    assert.deepEqual(target.subarray(0, 1024), bytes(1024, 5));
    assert.deepEqual(target.subarray(2048), bytes(2048, 6));
  });

  it('believes nothing of a chunk from the place of an error on', async () => {
    const { error } = await readAnswered(
      dataChunkHex(1, 8192, bytes(4096, 5), false) + errorOffsetHex(1, EIO, 9000, ''),
    );
    assert.ok(error instanceof NbdRequestError);
    assert.deepEqual(error.failures, [{ offset: 9000, length: 3288, errno: EIO }]);
  });

  it('believes nothing at all after an error without a place, or of a kind that it does not know', async () => {
    const unknown = chunkHex(1, 0x8077, `${field(EINVAL, 4)}0002${textHex('no')}abcd`);
    for (const [errorHex, errno] of [
      [errorChunkHex(1, EIO), EIO],
      [unknown, EINVAL],
      [replyHex(1, EIO), EIO],
    ] as const) {
      const { error } = await readAnswered(dataChunkHex(1, 8192, bytes(4096, 5), false) + errorHex);
      assert.ok(error instanceof NbdRequestError, String(error));
      assert.equal(error.errno, errno);
      assert.equal(error.failures, undefined);
    }
  });

  const nonsense: readonly (readonly [string, string, RegExp])[] = [
    [
      'a success without all bytes',
      dataChunkHex(1, 8192, bytes(512, 1)),
      /a good reply without the bytes at 8704/,
    ],
    ['a success without any', chunkHex(1, chunk.none, ''), /a good reply without the bytes at 8192/],
    ['bytes before those asked for', dataChunkHex(1, 8000, bytes(512, 1)), /which were not asked for/],
    ['bytes behind those asked for', dataChunkHex(1, 12000, bytes(512, 1)), /which were not asked for/],
    [
      'bytes twice',
      dataChunkHex(1, 8192, bytes(512, 1), false) + dataChunkHex(1, 8500, bytes(512, 1)),
      /two chunks with the bytes at 8500/,
    ],
    ['a hole of nothing', chunkHex(1, chunk.hole, field(8192, 8) + field(0, 4)), /a chunk of 0 bytes/],
    ['a chunk without data', chunkHex(1, chunk.data, field(8192, 8)), /a chunk of type 1 with 8 bytes/],
    ['an unknown chunk', chunkHex(1, 77, '00'), /a chunk of type 77/],
    ['a block status nobody asked for', statusChunkHex(1, 7, [[512, 0]]), /a block status nobody asked for/],
    ['an error at another place', errorOffsetHex(1, EIO, 0, ''), /an error at 0, which was not asked for/],
    ['an error that is none', errorChunkHex(1, 0), /fields do not fit/],
    [
      'an error whose message is too long',
      chunkHex(1, chunk.error, `${field(5, 4)}ffff`),
      /fields do not fit/,
    ],
    ['an error of a megabyte', `668e33ef00018001${field(1, 8)}00100000`, /an error of 1048576 bytes/],
    ['a simple reply with data', replyHex(1), /a simple reply to a read/],
  ];
  for (const [what, hexText, message] of nonsense) {
    it(`gives up the connection for ${what}`, async () => {
      const { error } = await readAnswered(hexText);
      assert.ok(error instanceof NbdProtocolError, String(error));
      assert.match(error.message, message);
    });
  }

  it('data in the reply to a write is nonsense', async () => {
    const { client, server } = await connected();
    const writing = assert.rejects(
      client.write(bytes(512, 1), 0),
      /data in the reply to a request that reads nothing/,
    );
    await server.receive(28 + 512);
    await server.send(dataChunkHex(1, 0, bytes(512, 1)));
    await writing;
    await client.close();
  });

  it('takes structured answers to commands that have no data', async () => {
    const { client, server } = await connected();
    const trim = client.trim(512, 1024);
    const zero = client.writeZeroes(0, 4096, { fua: true, noHole: true, fast: true });
    const requests = (await server.receive(56)).match(/.{56}/g);
    assert.deepEqual(requests, [
      `25609513 0000 0004 ${field(1, 8)} ${field(512, 8)} ${field(1024, 4)}`.replaceAll(' ', ''),
      `25609513 0013 0006 ${field(2, 8)} ${field(0, 8)} ${field(4096, 4)}`.replaceAll(' ', ''),
    ]);
    await server.send(chunkHex(1, chunk.none, '') + errorChunkHex(2, 95));
    await trim;
    await assert.rejects(zero, { message: 'nbd write-zeroes at 0: EOPNOTSUPP' });
    await client.close();
  });

  it('asks for the allocation, and passes over the chunks of other contexts', async () => {
    const { client, server } = await connected();
    const status = client.allocation(0, 65536);
    assert.equal((await server.receive(28)).slice(8, 16), '00000007');
    await server.send(
      statusChunkHex(1, 9, [[65536, 1]], false) +
        statusChunkHex(1, allocationId, [
          [4096, 3],
          [1 << 20, 0],
        ]),
    );
    assert.deepEqual(await status, [
      { length: 4096, flags: 3 },
      { length: 1 << 20, flags: 0 },
    ]);
    const refused = client.allocation(0, 512);
    await server.receive(28);
    await server.send(errorChunkHex(2, EINVAL));
    await assert.rejects(refused, NbdRequestError);
    const empty = assert.rejects(client.allocation(0, 512), /without a descriptor/);
    await server.receive(28);
    await server.send(chunkHex(3, chunk.none, ''));
    await empty;
    await client.close();
  });

  it('understands a reply a byte at a time', async () => {
    const pair = memoryStreamPair({ receiveBytesMax: 1 });
    const server = new WireClient(pair.server);
    const connecting = connectNbd(pair.client, '');
    await server.send(
      hello +
        optionReplyHex(8, 1) +
        optionReplyHex(10, 0x80000001) +
        optionReplyHex(7, 3, `0000${field(1024 * 1024, 8)}${flagsWithDf}`) +
        optionReplyHex(7, 1),
    );
    const client = await connecting;
    assert.equal(client.exported.allocationId, undefined);
    const target = bytes(512, 0xee);
    const read = client.read(target, 512);
    await settle();
    await server.send(errorOffsetHex(1, EIO, 600, 'a message', false) + dataChunkHex(1, 512, bytes(88, 4)));
    await assert.rejects(read, NbdRequestError);
    assert.deepEqual(target.subarray(0, 88), bytes(88, 4));
    await client.close();
  });
});

describe('ReadAssembly', () => {
  it('bounds the pieces of one reply', () => {
    const assembly = new ReadAssembly(0, 1 << 20);
    for (let index = 0; index < assembledPiecesMax; index += 1) assembly.addContent(index * 2, 1);
    assert.throws(() => assembly.addContent(assembledPiecesMax * 2, 1), /more than 4096 pieces/);
  });

  it('any chunks and errors: good is what came and has no error at or before it in its chunk', () => {
    const size = 64;
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(size), { minLength: 1, maxLength: 10 }),
        fc.array(fc.nat(size - 1), { maxLength: 6 }),
        fc.nat(1000),
        (cuts, errors, base) => {
          const places = [...new Set([0, ...cuts, size])].sort((a, b) => a - b);
          const assembly = new ReadAssembly(base, size);
          const good = new Array<boolean>(size).fill(false);
          const chunks = places.slice(1).map((end, index) => ({ from: places[index]!, end }));
          // Every second one comes, the last first.
          for (const { from, end } of chunks.filter((_, index) => index % 2 === 0).toReversed()) {
            assembly.addContent(base + from, end - from);
            const firstError = errors.filter((at) => at >= from && at < end).sort((a, b) => a - b)[0] ?? end;
            good.fill(true, from, firstError);
          }
          for (const at of errors) assembly.addError(base + at, EIO);
          if (errors.length === 0) {
            if (good.every(Boolean)) assert.deepEqual(assembly.failures(), []);
            else assert.throws(() => assembly.failures(), NbdProtocolError);
            return;
          }
          const named = new Array<boolean>(size).fill(false);
          let before = -1;
          for (const { offset, length } of assembly.failures()) {
            assert.ok(offset > before && length > 0);
            before = offset + length - 1;
            named.fill(true, offset - base, offset - base + length);
          }
          assert.deepEqual(
            named,
            good.map((each) => !each),
          );
        },
      ),
    );
  });
});
