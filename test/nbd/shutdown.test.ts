import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { NbdRequestError } from '../../src/nbd/client.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { ServerFixture } from './server-fixture.ts';
import { field, optionHex, optionReplyHex, replyHex, requestHex, textHex } from './wire-client.ts';

const [read, write, disconnect, flush] = [0, 1, 2, 3];
const eshutdown = 108;
const mebibyte = 1024 * 1024;
const errorShutdown = 0x80000007;

function heldDisk(): HeldDevice {
  return new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: mebibyte }));
}

function writeHex(cookie: number, payload: Uint8Array, offset = 0): string {
  return requestHex(write, cookie, offset, payload.length, { payload });
}

describe('I6 close', () => {
  it('answers what is in flight, and what comes after it ESHUTDOWN without asking the device', async () => {
    const held = heldDisk();
    const fixture = new ServerFixture({ device: held });
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 512) + writeHex(2, new Uint8Array(512), 512));
    await settle();
    const closing = fixture.server.close(5_000);
    await wire.send(
      requestHex(read, 3, 0, 512) +
        writeHex(4, new Uint8Array(512).fill(9)) +
        writeHex(5, new Uint8Array(200_000).fill(9)) +
        requestHex(flush, 6, 0, 0),
    );
    await wire.expect([3, 4, 5, 6].map((cookie) => replyHex(cookie, eshutdown)).join(''));
    assert.deepEqual(held.calls, ['read 0 512', 'write 512 512']);
    held.releaseAll();
    await settle();
    fixture.clock.advance(100);
    await settle();
    fixture.clock.advance(100);
    assert.equal(await wire.receiveAll(), replyHex(1, 0, new Uint8Array(512)) + replyHex(2));
    assert.equal(await closing, 0);
    assert.equal(fixture.arena.usedBytes, 0);
    assert.equal(fixture.clock.timerCount, 0);
  });

  it('ends an idle connection once it has been quiet, and refuses whoever connects then', async () => {
    const fixture = new ServerFixture();
    const wire = await fixture.transmission();
    const closing = fixture.server.close(5_000);
    await settle();
    fixture.clock.advance(99);
    await settle();
    assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 1);
    assert.equal(await fixture.wire().receiveAll(), '');
    fixture.clock.advance(1);
    assert.equal(await wire.receiveAll(), '');
    assert.equal(await closing, 0);
    assert.equal(fixture.server.counters[NbdCounter.connectionsRefused], 1);
    await fixture.end();
  });

  it('takes no time when nobody is connected', async () => {
    const fixture = new ServerFixture();
    assert.equal(await fixture.server.close(5_000), 0);
    assert.equal(fixture.clock.timerCount, 0);
  });

  it('reads from a client that goes on asking for 2 s, answers each time, and then ends the connection', async () => {
    const fixture = new ServerFixture();
    const wire = await fixture.transmission();
    const closing = fixture.server.close(5_000);
    for (let count = 0; count < 20; count += 1) {
      await wire.send(requestHex(read, count, 0, 512));
      await wire.expect(replyHex(count, eshutdown));
      fixture.clock.advance(100);
    }
    assert.equal(await wire.receiveAll(), '');
    assert.equal(await closing, 0);
    await fixture.end();
  });

  it('honours DISC meanwhile: no reply, and the connection ends at once', async () => {
    const fixture = new ServerFixture();
    const wire = await fixture.transmission();
    const closing = fixture.server.close(5_000);
    await wire.send(requestHex(read, 1, 0, 512) + requestHex(disconnect, 2, 0, 0));
    assert.equal(await wire.receiveAll(), replyHex(1, eshutdown));
    assert.equal(await closing, 0);
    await fixture.end();
  });

  it('answers every option but ABORT ERR_SHUTDOWN in a handshake', async () => {
    const fixture = new ServerFixture();
    const [wire, aborting, oldOption] = [fixture.wire(), fixture.wire(), fixture.wire()];
    for (const each of [wire, aborting, oldOption]) {
      await each.receive(18);
      await each.send('00000003');
    }
    await settle();
    const closing = fixture.server.close(5_000);
    const message = textHex('this server is shutting down');
    for (const option of [3, 6, 7, 8, 99]) {
      await wire.send(optionHex(option, `${field(0, 4)}${field(0, 2)}`));
      await wire.expect(optionReplyHex(option, errorShutdown, message));
    }
    await aborting.send(optionHex(2));
    assert.equal(await aborting.receiveAll(), optionReplyHex(2, 1));
    await oldOption.send(optionHex(1));
    assert.equal(await oldOption.receiveAll(), '', 'EXPORT_NAME has no error reply');
    await settle();
    fixture.clock.advance(200);
    assert.equal(await wire.receiveAll(), '');
    assert.equal(await closing, 0);
    assert.deepEqual(fixture.notes, []);
    await fixture.end();
  });

  for (const length of [512, 65536]) {
    it(`does not start a write of ${length} bytes whose payload was still on its way, and answers it`, async () => {
      const held = heldDisk();
      const fixture = new ServerFixture({ device: held });
      const wire = await fixture.transmission();
      const half = new Uint8Array(length / 2);
      await wire.send(requestHex(read, 1, 0, 512) + requestHex(write, 2, 0, length, { payload: half }));
      await settle();
      const closing = fixture.server.close(5_000);
      await wire.stream.send([half]);
      await wire.expect(replyHex(2, eshutdown));
      held.releaseAll();
      await wire.expect(replyHex(1, 0, new Uint8Array(512)));
      await settle();
      fixture.clock.advance(200);
      assert.equal(await closing, 0);
      assert.deepEqual(held.calls, ['read 0 512']);
      await fixture.end();
    });

    it(`ends a connection whose write of ${length} bytes never becomes whole`, async () => {
      const held = heldDisk();
      const fixture = new ServerFixture({ device: held });
      const wire = await fixture.transmission();
      await wire.send(requestHex(write, 2, 0, length, { payload: new Uint8Array(length / 2) }));
      await settle();
      assert.equal(await fixture.close(5_000), 0);
      assert.equal(await wire.receiveAll(), '');
      assert.deepEqual(held.calls, []);
      assert.equal(fixture.arena.usedBytes, 0);
    });
  }

  it('does not start a request that waited for memory, answers it, and gives the memory back', async () => {
    const held = heldDisk();
    // 1 MiB for requests, seven 16ths of it for one connection.
    const fixture = new ServerFixture({ device: held, arenaBytes: 1.5 * mebibyte });
    const wire = await fixture.transmission();
    const count = 12;
    await wire.send(Array.from({ length: count }, (_, at) => requestHex(read, at, 0, 65536)).join(''));
    await settle();
    assert.equal(held.inFlight, 7, 'the eighth waits');
    const closing = fixture.server.close(5_000);
    await wire.expect([7, 8, 9, 10, 11].map((cookie) => replyHex(cookie, eshutdown)).join(''));
    held.releaseAll();
    assert.equal((await wire.receive(7 * (16 + 65536))).length, 2 * 7 * (16 + 65536));
    await settle();
    fixture.clock.advance(200);
    assert.equal(await closing, 0);
    assert.equal(held.calls.length, 7);
    await fixture.end();
  });

  it('does not start a request that waited for its turn, and answers it when there is room', async () => {
    const held = heldDisk();
    const fixture = new ServerFixture({ device: held, limits: { requestsInFlightMax: 2 } });
    const wire = await fixture.transmission();
    await wire.send([1, 2, 3].map((cookie) => writeHex(cookie, new Uint8Array(512))).join(''));
    await settle();
    const closing = fixture.server.close(5_000);
    await settle();
    held.releaseAll();
    await wire.expect(replyHex(1) + replyHex(2) + replyHex(3, eshutdown));
    await settle();
    fixture.clock.advance(200);
    assert.equal(await closing, 0);
    assert.equal(held.calls.length, 2);
    await fixture.end();
  });

  it('takes no request after those 2 s, and still answers what is in flight then', async () => {
    const held = heldDisk();
    const fixture = new ServerFixture({ device: held });
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 512));
    await settle();
    const closing = fixture.server.close(5_000);
    await settle();
    fixture.clock.advance(2_000);
    await wire.send(requestHex(read, 2, 0, 512));
    await settle();
    held.releaseAll();
    // The loop was in a receive, so it still takes what that brings, and parses it no more.
    assert.equal(await wire.receiveAll(), replyHex(1, 0, new Uint8Array(512)));
    assert.equal(await closing, 0);
    assert.deepEqual(held.calls, ['read 0 512']);
    await fixture.end();
  });

  it('at its deadline drops clients and says how many requests the device still holds', async () => {
    const held = heldDisk();
    const fixture = new ServerFixture({ device: held });
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 512) + requestHex(read, 2, 512, 512));
    await settle();
    const closing = fixture.server.close(5_000);
    let done = false;
    void closing.then(() => {
      done = true;
    });
    fixture.clock.advance(4_999);
    await settle();
    assert.equal(done, false);
    fixture.clock.advance(1);
    await settle();
    assert.equal(await wire.receiveAll(), '');
    fixture.clock.advance(1_000);
    assert.equal(await closing, 2);
    assert.ok(fixture.arena.usedBytes > 0, 'I27 the device still writes into it');
    held.releaseAll();
    await settle();
    assert.equal(fixture.arena.usedBytes, 0);
  });

  it('at its deadline drops a client that takes no replies', async () => {
    const fixture = new ServerFixture();
    const wire = await fixture.transmission({ capacityBytes: 4096 });
    await wire.send(requestHex(read, 1, 0, 65536));
    await settle();
    assert.equal(await fixture.close(5_000), 0);
    assert.equal(fixture.arena.usedBytes, 0);
  });

  it('a client of ours sees ESHUTDOWN, not a broken connection', async () => {
    const fixture = new ServerFixture();
    const client = await fixture.client();
    const closing = fixture.server.close(5_000);
    await assert.rejects(client.read(new Uint8Array(512), 0), (error) => {
      return error instanceof NbdRequestError && error.errno === eshutdown;
    });
    await client.disconnect();
    assert.equal(await closing, 0);
    await fixture.end();
  });
});
