import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { type ServerFixture, withServer } from './server-fixture.ts';
import { replyHex, requestHex } from './wire-client.ts';

const [read, write, flush] = [0, 1, 3];
const kibibyte = 1024;

function heldDevice(): HeldDevice {
  return new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: 1024 * kibibyte }));
}

/** `PHASE COMMAND OFFSET LENGTH AGE`, oldest first. */
function unanswered(fixture: ServerFixture, minAgeSeconds = 0): string[] {
  const { count, oldest } = fixture.server.unanswered(minAgeSeconds, 8);
  assert.equal(count, oldest.length);
  return oldest.map(
    ({ phase, command, offset, length, ageSeconds }) =>
      `${phase} ${command} ${offset} ${length} ${ageSeconds}`,
  );
}

async function seconds(fixture: ServerFixture, count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    fixture.clock.advance(1_000);
    await settle();
  }
}

test('I22 a request at the device is known with its age until it is answered, and the server then has no timer of it', async () => {
  const device = heldDevice();
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 4096, 512));
    await settle();
    await seconds(fixture, 3);
    await wire.send(requestHex(flush, 2, 0, 0));
    await settle();
    await seconds(fixture, 7);
    assert.deepEqual(unanswered(fixture), [`device ${read} 4096 512 10`, `device ${flush} 0 0 7`]);
    assert.deepEqual(unanswered(fixture, 8), [`device ${read} 4096 512 10`]);
    assert.equal(fixture.busySeconds, 10);
    device.releaseAll();
    await settle();
    await wire.expect(replyHex(1, 0, new Uint8Array(512)) + replyHex(2));
    assert.deepEqual(unanswered(fixture), []);
    await seconds(fixture, 60);
    assert.equal(fixture.busySeconds, 11, 'one look after the last answer, then none');
  });
});

test('I22 counted are all, listed the oldest', async () => {
  const device = heldDevice();
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission();
    for (let cookie = 0; cookie < 12; cookie += 1) {
      await wire.send(requestHex(read, cookie, cookie * 512, 512));
      await settle();
      await seconds(fixture, 1);
    }
    const { count, oldest } = fixture.server.unanswered(2, 3);
    assert.equal(count, 11);
    assert.deepEqual(
      oldest.map(({ offset, ageSeconds }) => [offset, ageSeconds]),
      [
        [0, 12],
        [512, 11],
        [1024, 10],
      ],
    );
    device.releaseAll();
    await settle();
    await wire.receive(12 * (16 + 512));
  });
});

test('I22 what waits for suspension, memory, an earlier write or its client is told apart', async () => {
  const device = heldDevice();
  await withServer({ device, limits: { requestsInFlightMax: 2 } }, async (fixture) => {
    const [first, second] = [await fixture.transmission(), await fixture.transmission()];
    const payload = new Uint8Array(512).fill(1);
    await first.send(requestHex(write, 1, 0, 512, { payload }));
    await settle();
    await second.send(requestHex(write, 2, 0, 512, { payload }) + requestHex(read, 3, 8192, 512));
    await second.send(requestHex(read, 4, 1024, 512));
    await settle();
    await seconds(fixture, 1);
    assert.deepEqual(
      unanswered(fixture).sort(),
      [
        `connection-limit ${read} 1024 512 1`,
        `device ${read} 8192 512 1`,
        `device ${write} 0 512 1`,
        `earlier-write ${write} 0 512 1`,
      ].sort(),
    );
    fixture.server.suspend();
    assert.ok(unanswered(fixture).includes(`suspended ${read} 1024 512 1`));
    fixture.server.resume();
    device.releaseAll();
    await settle();
    await first.expect(replyHex(1));
    await second.receive(2 * (16 + 512) + 16);
    assert.deepEqual(unanswered(fixture), []);
  });
});

test('I22 a reply that its client does not take is told as one', async () => {
  await withServer({ stream: { capacityBytes: 4 * kibibyte } }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 64 * kibibyte));
    await settle();
    await seconds(fixture, 2);
    assert.deepEqual(unanswered(fixture), [`reply ${read} 0 ${64 * kibibyte} 2`]);
    await wire.receive(16 + 64 * kibibyte);
    await settle();
    assert.deepEqual(unanswered(fixture), []);
  });
});

test('I22 a request for which the pool has no memory waits for that', async () => {
  const device = heldDevice();
  await withServer({ device, arenaBytes: 640 * kibibyte }, async (fixture) => {
    const [first, second] = [await fixture.transmission(), await fixture.transmission()];
    const large = fixture.server.exports.all[0]!.aligned.exported.maximumPayloadBytes;
    await first.send(requestHex(read, 1, 0, large));
    await settle();
    await second.send(requestHex(read, 2, 0, large) + requestHex(read, 3, 0, large));
    await settle();
    await seconds(fixture, 1);
    assert.ok(
      unanswered(fixture).some((line) => line.startsWith(`memory ${read} 0 ${large} `)),
      unanswered(fixture).join(),
    );
    device.releaseAll();
    await settle();
    for (const [wire, replies] of [
      [first, 1],
      [second, 2],
    ] as const) {
      await wire.receive(replies * (16 + large));
    }
  });
});

test('a client that has left is no client any more, while the device still has requests of it', async () => {
  const device = heldDevice();
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 512));
    await settle();
    assert.equal(fixture.server.clients, 1);
    await wire.send(requestHex(2, 2, 0, 0));
    await settle();
    assert.equal(fixture.server.clients, 0);
    assert.equal(unanswered(fixture).length, 1);
    device.releaseAll();
    await settle();
  });
});
