import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import { field, optionHex, optionReplyHex, replyHex, requestHex, textHex } from './wire-client.ts';

const hello = '4e42444d4147494349484156454f50540003';
/** HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, CACHE, FAST_ZERO. */
const flags = '0d6d';
const exportInfo = `0000${field(1024 * 1024, 8)}${flags}`;
/** 512, 4096 and the 4 MiB that are free in an arena of 8 MiB beside the connections' buffers. */
const blockSizes = `0003${field(512, 4)}${field(4096, 4)}${field(4 * 1024 * 1024, 4)}`;

function goHex(option: number, name: string, infoTypes: readonly number[]): string {
  const types = infoTypes.map((type) => field(type, 2)).join('');
  return optionHex(option, `${field(name.length, 4)}${textHex(name)}${field(infoTypes.length, 2)}${types}`);
}

test('EXPORT_NAME answers size, flags and 124 zeros', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send(`00000001${optionHex(1, textHex('disk'))}`);
    await wire.expect(`${field(1024 * 1024, 8)}${flags}${'00'.repeat(124)}`);
    await wire.send(requestHex(0, 7, 0, 512));
    await wire.expect(replyHex(7, 0, new Uint8Array(512)));
  });
});

test('EXPORT_NAME after NO_ZEROES has no padding, also without fixed newstyle', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send(`00000002${optionHex(1)}`);
    await wire.expect(`${field(1024 * 1024, 8)}${flags}`);
    await wire.send(requestHex(3, 7, 0, 0));
    await wire.expect(replyHex(7));
  });
});

test('EXPORT_NAME of an unknown name drops the connection with one note', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.send(`00000003${optionHex(1, textHex('other\n'))}`);
    assert.equal(await wire.receiveAll(), hello);
    await settle();
    assert.deepEqual(fixture.notes, [
      'nbd client memory: asked for the export "other?", this server has the export "disk"; connection closed',
    ]);
  });
});

for (const name of ['', 'disk']) {
  test(`GO of "${name}" answers INFO_EXPORT, block sizes and ACK, then serves`, async () => {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      await wire.expect(hello);
      await wire.send(`00000003${goHex(7, name, [3])}`);
      await wire.expect(
        optionReplyHex(7, 3, exportInfo) + optionReplyHex(7, 3, blockSizes) + optionReplyHex(7, 1),
      );
      await wire.send(requestHex(0, 7, 0, 512));
      await wire.expect(replyHex(7, 0, new Uint8Array(512)));
    });
  });
}

test('INFO answers as GO with the same parameters, and the handshake goes on', async () => {
  await withServer({ description: 'an old disk' }, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send('00000003');
    for (const option of [6, 7]) {
      await wire.send(goHex(option, 'disk', [1, 2, 3, 99]));
      await wire.expect(
        optionReplyHex(option, 3, exportInfo) +
          optionReplyHex(option, 3, blockSizes) +
          optionReplyHex(option, 3, `0001${textHex('disk')}`) +
          optionReplyHex(option, 3, `0002${textHex('an old disk')}`) +
          optionReplyHex(option, 1),
      );
    }
    await wire.send(requestHex(3, 7, 0, 0));
    await wire.expect(replyHex(7));
  });
});

test('INFO and GO of an unknown name are answered ERR_UNKNOWN, and the handshake goes on', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send('00000003');
    for (const option of [6, 7]) {
      await wire.send(goHex(option, 'disc', []));
      await wire.expect(optionReplyHex(option, 0x80000006, textHex('this server has the export "disk"')));
    }
    await wire.send(goHex(7, '', []));
    await wire.expect(optionReplyHex(7, 3, exportInfo));
  });
});

test('INFO whose lengths do not add up is answered ERR_INVALID, and the handshake goes on', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send(`00000003${optionHex(6, '0000000564690000')}${optionHex(3)}`);
    const message = textHex('the lengths in the option do not fit its data');
    await wire.expect(optionReplyHex(6, 0x80000003, message));
    await wire.expect(optionReplyHex(3, 2, `${field(4, 4)}${textHex('disk')}`) + optionReplyHex(3, 1));
  });
});

test('LIST with data is answered ERR_INVALID', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send(`00000003${optionHex(3, '00')}`);
    await wire.expect(optionReplyHex(3, 0x80000003, textHex('LIST carries no data')));
  });
});

for (const option of [4, 5, 11, 0xffffffff]) {
  test(`option ${option} is answered ERR_UNSUP, and the handshake goes on`, async () => {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      await wire.expect(hello);
      await wire.send(`00000003${optionHex(option, '0102')}${optionHex(2)}`);
      await wire.expect(optionReplyHex(option, 0x80000001, textHex('this server does not know the option')));
      await wire.expect(optionReplyHex(2, 1));
    });
  });
}

test('ABORT is acknowledged whatever its data, and the connection ends without a note', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send(`00000003${optionHex(2, '0102')}`);
    assert.equal(await wire.receiveAll(), optionReplyHex(2, 1));
    await settle();
    assert.deepEqual(fixture.notes, []);
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
  });
});

test('an option of 8192 bytes is read, one of 8193 bytes is passed over and answered ERR_TOO_BIG', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send(`00000003${optionHex(99, '00'.repeat(8192))}`);
    await wire.expect(optionReplyHex(99, 0x80000001, textHex('this server does not know the option')));
    await wire.send(optionHex(99, '00'.repeat(8193)));
    await wire.expect(optionReplyHex(99, 0x80000009, textHex('at most 8192 bytes are read')));
    await wire.send(optionHex(2));
    await wire.expect(optionReplyHex(2, 1));
  });
});

const dropped: readonly (readonly [string, string, RegExp])[] = [
  ['unknown client flags', '00000007', /set unknown client flags: 0x00000007/],
  ['an absurd option length', `00000003 49484156454f5054 00000063 00100001`, /option 99 with 1048577 bytes/],
  ['a long EXPORT_NAME', `00000003 49484156454f5054 00000001 00002001`, /option 1 with 8193 bytes/],
  ['an option without fixed newstyle', `00000002${optionHex(3)}`, /option 3 without the fixed newstyle flag/],
  ['an HTTP request', textHex('GET / HTTP/1.1\r\n\r\n'), /set unknown client flags: 0x47455420/],
  ['a wrong option magic', `00000003${'ab'.repeat(16)}`, /expected the option magic/],
  ['too many options', `00000003${optionHex(99).repeat(64)}`, /more than 64 options/],
];
for (const [what, sent, note] of dropped) {
  test(`${what} drops the connection with one note, and harms no other`, async () => {
    await withServer({}, async (fixture) => {
      const other = await fixture.client();
      const wire = fixture.wire();
      await wire.send(sent.replaceAll(' ', ''));
      await wire.receiveAll();
      await settle();
      assert.equal(fixture.notes.length, 1);
      assert.match(fixture.notes[0]!, note);
      assert.equal(fixture.server.counters[NbdCounter.protocolErrors], 1);
      await other.read(new Uint8Array(512), 0);
    });
  });
}

test('63 options before the last are still served', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.send(`00000003${optionHex(99).repeat(63)}${optionHex(2)}`);
    assert.ok((await wire.receiveAll()).endsWith(optionReplyHex(2, 1)));
  });
});

test('a client that leaves at any byte of the handshake leaves nothing behind', async () => {
  const whole = `00000003${goHex(7, 'disk', [3])}`;
  for (let length = 0; length < whole.length; length += 2) {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      if (length > 0) await wire.send(whole.slice(0, length));
      await wire.stream.close();
      await settle();
      assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
      assert.deepEqual(fixture.notes, []);
    });
  }
});

test('a handshake cut at every boundary is understood alike', async () => {
  const sent = `00000003${optionHex(99, '0102')}${goHex(6, 'disk', [])}${goHex(7, '', [3])}${requestHex(3, 1, 0, 0)}`;
  const answers = 18 + 20 + textHex('this server does not know the option').length / 2 + 2 * (60 + 26) + 16;
  for (let cut = 2; cut < sent.length; cut += 2) {
    await withServer({}, async (fixture) => {
      const wire = fixture.wire();
      await wire.send(sent.slice(0, cut));
      await settle();
      await wire.send(sent.slice(cut));
      const received = await wire.receive(answers);
      assert.ok(received.endsWith(optionReplyHex(7, 1) + replyHex(1)), `cut at ${cut / 2}`);
    });
  }
});

test('a handshake a byte at a time, with the first requests right behind it, is served', async () => {
  await withServer({ stream: { receiveBytesMax: 1 } }, async (fixture) => {
    const wire = fixture.wire();
    await wire.send(`00000003${optionHex(1)}${requestHex(3, 1, 0, 0)}${requestHex(3, 2, 0, 0)}`);
    await wire.expect(`${hello}${field(1024 * 1024, 8)}${flags}${replyHex(1)}${replyHex(2)}`);
  });
});

test('requests that came with the handshake are served', async () => {
  await withServer({}, async (fixture) => {
    const wire = fixture.wire();
    await wire.send(`00000003${goHex(7, '', [])}${requestHex(0, 1, 0, 512)}`);
    const length = 18 + 3 * 20 + 12 + 14;
    await wire.receive(length);
    await wire.expect(replyHex(1, 0, new Uint8Array(512)));
  });
});

test('a client that does not finish its handshake in time is dropped', async () => {
  await withServer({ limits: { handshakeTimeoutMs: 30_000 } }, async (fixture) => {
    const wire = fixture.wire();
    await wire.send('00000003');
    fixture.clock.advance(25_000);
    await settle();
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 1);
    fixture.clock.advance(5_000);
    assert.equal(await wire.receiveAll(), hello);
    await settle();
    assert.match(fixture.notes[0]!, /did not finish its handshake in time/);
  });
});

test('flags and block sizes follow what the device can do', async () => {
  const device = new MemoryDevice({
    name: 'old',
    sizeBytes: 65536,
    logicalBlockBytes: 512,
    physicalBlockBytes: 8192,
  });
  Object.assign(device.capabilities, { write: false, flush: false, fua: false, rotational: true });
  await withServer({ device }, async (fixture) => {
    const { exported } = await fixture.client('old');
    assert.deepEqual(exported, {
      sizeBytes: 65536,
      readOnly: true,
      flush: false,
      fua: false,
      multiConn: false,
      rotational: true,
      trim: false,
      writeZeroes: false,
      fastZeroes: false,
      structuredReplies: true,
      onePiece: true,
      allocationId: 1,
      minimumBlockBytes: 512,
      preferredBlockBytes: 8192,
      maximumPayloadBytes: 4 * 1024 * 1024,
    });
  });
});

/** What a client reads after it has said `words`, from two devices that can be told apart. */
async function firstByteAfter(words: string, answer: string): Promise<{ whole: number; part: string }> {
  const device = new MemoryDevice({ name: 'disk', sizeBytes: 1024 * 1024, logicalBlockBytes: 4096 });
  device.bytes.fill(0x44);
  const unalignedDevice = new MemoryDevice({ name: 'disk', sizeBytes: 1024 * 1024 });
  unalignedDevice.bytes.fill(0x55);
  let result = { whole: 0, part: '' };
  await withServer({ device, unalignedDevice }, async (fixture) => {
    const wire = fixture.wire();
    await wire.expect(hello);
    await wire.send(`00000003${words}`);
    await wire.expect(answer);
    await wire.send(requestHex(0, 7, 0, 4096));
    const whole = await wire.receive(16 + 4096);
    await wire.send(requestHex(0, 8, 512, 512));
    const header = await wire.receive(16);
    const refused = header.slice(8, 16) !== '00000000';
    if (!refused) await wire.receive(512);
    result = { whole: Number.parseInt(whole.slice(32, 34), 16), part: refused ? 'refused' : 'served' };
  });
  return result;
}

test('R11 a client that asks for block sizes gets the device, one that does not gets it in sectors', async () => {
  const sizes = (minimum: number) => `0003${field(minimum, 4)}${field(4096, 4)}${field(4 * 1024 * 1024, 4)}`;
  const go = (minimum: number) =>
    optionReplyHex(7, 3, exportInfo) + optionReplyHex(7, 3, sizes(minimum)) + optionReplyHex(7, 1);
  const asked = await firstByteAfter(goHex(7, 'disk', [3]), go(4096));
  assert.deepEqual(asked, { whole: 0x44, part: 'refused' });
  const notAsked = await firstByteAfter(goHex(7, 'disk', []), go(512));
  assert.deepEqual(notAsked, { whole: 0x55, part: 'served' });
  const old = await firstByteAfter(optionHex(1, textHex('disk')), `${field(1024 * 1024, 8)}${flags}`);
  assert.deepEqual(old, { whole: 0x55, part: 'served' });
});

test('R11 who asked for block sizes with INFO has asked', async () => {
  const sizes = `0003${field(4096, 4)}${field(4096, 4)}${field(4 * 1024 * 1024, 4)}`;
  const answer = (option: number) =>
    optionReplyHex(option, 3, exportInfo) + optionReplyHex(option, 3, sizes) + optionReplyHex(option, 1);
  const asked = await firstByteAfter(
    `${goHex(6, 'disk', [3])}${goHex(7, 'disk', [])}`,
    answer(6) + answer(7),
  );
  assert.deepEqual(asked, { whole: 0x44, part: 'refused' });
});
