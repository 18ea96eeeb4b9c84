import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectNbd } from '../../src/nbd/client.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import { optionHex, optionReplyHex, textHex } from './wire-client.ts';

const errorPolicy = 0x80000002;

test('a client above the limit is told so in its handshake, and counted; a place that is left is taken again', async () => {
  await withServer({ limits: { connectionsMax: 2 } }, async (fixture) => {
    const first = await fixture.client();
    const second = await fixture.client();
    const usedBytes = fixture.arena.usedBytes;
    await assert.rejects(
      connectNbd(fixture.connect().client, ''),
      /the limit of 2 open connections is reached/,
    );
    assert.equal(fixture.arena.usedBytes, usedBytes, 'a refusal takes no memory of requests');
    assert.equal(fixture.server.counters[NbdCounter.connectionsRefused], 1);
    await second.disconnect();
    await settle();
    const third = await fixture.client();
    await Promise.all([first.flush(), third.flush()]);
    assert.equal(fixture.server.counters[NbdCounter.connections], 3);
  });
});

test('a client that was told so is answered as often as it asks, and cut off after 5 s', async () => {
  await withServer({ limits: { connectionsMax: 1 } }, async (fixture) => {
    const client = await fixture.client();
    const wire = fixture.wire();
    await wire.receive(18);
    await wire.send('00000003');
    const message = textHex('the limit of 1 open connections is reached');
    for (let count = 0; count < 3; count += 1) {
      await wire.send(optionHex(3));
      await wire.expect(optionReplyHex(3, errorPolicy, message));
    }
    fixture.clock.advance(4_999);
    await wire.send(optionHex(3));
    await wire.expect(optionReplyHex(3, errorPolicy, message));
    fixture.clock.advance(1);
    assert.equal(await wire.receiveAll(), '');
    await client.flush();
  });
});

test('of those above the limit only so many are told, the rest is closed at once; all end when the server closes', async () => {
  await withServer({ limits: { connectionsMax: 1, refusalsMax: 2 } }, async (fixture) => {
    const client = await fixture.client();
    const told = [fixture.wire(), fixture.wire()];
    for (const wire of told) assert.equal((await wire.receive(18)).length, 36);
    assert.equal(await fixture.wire().receiveAll(), '');
    assert.equal(fixture.server.counters[NbdCounter.connectionsRefused], 3);
    await client.flush();
    const closing = fixture.server.close(5_000);
    for (const wire of told) assert.equal(await wire.receiveAll(), '');
    await client.disconnect();
    assert.equal(await closing, 0);
  });
});
