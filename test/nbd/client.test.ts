import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { StreamError } from '../../src/io/byte-stream.ts';
import { connectNbd, NbdRequestError } from '../../src/nbd/client.ts';
import { NbdProtocolError } from '../../src/nbd/codec.ts';
import { FailingDevice, HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { memoryStreamPair } from './memory-stream.ts';
import { withServer } from './server-fixture.ts';
import { optionReplyHex, replyHex, textHex, WireClient } from './wire-client.ts';

const mebibyte = 1024 * 1024;
const hello = '4e42444d4147494349484156454f50540003';
/** And its refusal of structured replies. */
const simpleHello = hello + optionReplyHex(8, 0x80000001);
const exportReply = optionReplyHex(7, 3, '000000000000001000000001');

test('the client learns the export, writes, reads and flushes, many at once', async () => {
  await withServer({}, async (fixture) => {
    const client = await fixture.client('disk');
    assert.equal(client.exported.sizeBytes, mebibyte);
    assert.equal(client.exported.minimumBlockBytes, 512);
    const written = Array.from({ length: 64 }, (_, at) => new Uint8Array(4096).fill(at + 1));
    await Promise.all(written.map((bytes, at) => client.write(bytes, at * 4096, { fua: at % 2 === 0 })));
    await client.flush();
    const targets = written.map(() => new Uint8Array(4096));
    await Promise.all(targets.map((target, at) => client.read(target, at * 4096)));
    assert.deepEqual(targets, written);
    await client.disconnect();
  });
});

test('the client understands replies a byte at a time', async () => {
  await withServer({ stream: { receiveBytesMax: 1 } }, async (fixture) => {
    const client = await fixture.client();
    await client.write(new Uint8Array(1024).fill(7), 512);
    const target = new Uint8Array(1024);
    await Promise.all([client.read(target, 512), client.flush()]);
    assert.equal(
      target.every((byte) => byte === 7),
      true,
    );
  });
});

test('an error of the server rejects only its own request', async () => {
  const failing = new FailingDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }), 4096, 512);
  await withServer({ device: failing }, async (fixture) => {
    const client = await fixture.client();
    const bad = client.read(new Uint8Array(512), 4096);
    const good = client.read(new Uint8Array(512), 0);
    await assert.rejects(bad, (error) => error instanceof NbdRequestError && error.errno === 5);
    await good;
    await assert.rejects(client.write(new Uint8Array(512), mebibyte), {
      message: 'nbd write at 1048576: ENOSPC',
    });
  });
});

test('disconnect waits for what is in flight', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held }, async (fixture) => {
    const client = await fixture.client();
    const pending = client.write(new Uint8Array(512), 0);
    const leaving = client.disconnect();
    await settle();
    assert.equal(held.inFlight, 1);
    held.releaseAll();
    await pending;
    await leaving;
    await assert.rejects(client.flush(), StreamError);
  });
});

test('a server that goes away rejects every pending request', async () => {
  const held = new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
  await withServer({ device: held }, async (fixture) => {
    const pair = fixture.connect();
    const client = await connectNbd(pair.client, '');
    const pending = [client.write(new Uint8Array(512), 0), client.flush()];
    const outcome = Promise.allSettled(pending);
    await settle();
    await pair.server.close();
    assert.deepEqual(
      (await outcome).map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    held.releaseAll();
    await settle();
  });
});

test('an unknown export is refused with what the server said', async () => {
  await withServer({}, async (fixture) => {
    await assert.rejects(fixture.client('other'), {
      name: 'NbdProtocolError',
      message:
        'the NBD server refused the export "other" with reply 0x80000006: this server has the export "disk"',
    });
  });
});

test('what a server says of its refusal is one line of ours, without commands for a terminal', async () => {
  const said = `no\r\n\u001b[2Jdm-remap: all is well ${'x'.repeat(900)}`;
  const error = await outcomeOf(simpleHello + optionReplyHex(7, 0x80000006, textHex(said)));
  assert.ok(error instanceof NbdProtocolError, String(error));
  assert.doesNotMatch(error.message, /\p{Cc}/u);
  assert.match(error.message, /: no \[2Jdm-remap: all is well x+…$/);
  assert.ok(error.message.length < 400, `${error.message.length} characters`);
});

/** What the client makes of a server that sends these bytes and closes. */
async function outcomeOf(hexText: string): Promise<unknown> {
  const pair = memoryStreamPair();
  const server = new WireClient(pair.server);
  const outcome = connectNbd(pair.client, '')
    .then((client) => client.flush())
    .catch((error: unknown) => error);
  await server.send(hexText);
  await settle();
  await server.stream.close();
  return await outcome;
}

const nonsense: readonly (readonly [string, string, RegExp])[] = [
  [
    'a server that is no NBD server',
    '535348 2d322e302d4f70656e5353485f392e32700d0a',
    /expected the hello of an NBD server/,
  ],
  ['an oldstyle server', '4e42444d41474943 0000420281861253 0000', /expected a newstyle server/],
  [
    'a server without fixed newstyle',
    '4e42444d41474943 49484156454f5054 0002',
    /does not speak fixed newstyle/,
  ],
  ['a server that closes after its hello', hello, /closed during the handshake/],
  ['a GO without INFO_EXPORT', simpleHello + optionReplyHex(7, 1), /without INFO_EXPORT/],
  ['a reply to another option', simpleHello + optionReplyHex(6, 1), /to option 6, expected one to option 7/],
  ['endless information', simpleHello + exportReply.repeat(64), /more than 64 replies/],
  [
    'an export above 2^53 bytes',
    simpleHello + optionReplyHex(7, 3, '000000200000000000000001') + optionReplyHex(7, 1),
    /at most 9007199254740991/,
  ],
  [
    'a reply nobody asked for',
    `${simpleHello}${exportReply}${optionReplyHex(7, 1)}${replyHex(99)}`,
    /unknown cookie 99/,
  ],
  [
    'a reply that is none',
    `${simpleHello}${exportReply}${optionReplyHex(7, 1)}${'ab'.repeat(16)}`,
    /expected the reply magic/,
  ],
];
for (const [what, hexText, message] of nonsense) {
  test(`${what} is refused`, async () => {
    const error = await outcomeOf(hexText);
    assert.ok(error instanceof NbdProtocolError, String(error));
    assert.match(error.message, message);
  });
}
