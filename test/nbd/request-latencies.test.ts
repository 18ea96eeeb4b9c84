import assert from 'node:assert/strict';
import { test } from 'node:test';
import { latencyCount } from '../../src/block/latency-histogram.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import type { LatencyKind } from '../../src/nbd/request-latencies.ts';
import { HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { type ServerFixture, withServer } from './server-fixture.ts';
import { replyHex, requestHex } from './wire-client.ts';

const [read, write, flush, trim] = [0, 1, 3, 4];
const kibibyte = 1024;
const sector = new Uint8Array(512);

function heldDevice(): HeldDevice {
  return new HeldDevice(new MemoryDevice({ name: 'disk', sizeBytes: 1024 * kibibyte }));
}

/** `KIND COUNT SUM`, seconds. */
function took(fixture: ServerFixture): string[] {
  const { byKind } = fixture.server.latencies;
  return (Object.keys(byKind) as LatencyKind[])
    .map((kind) => [kind, latencyCount(byKind[kind].buckets()), byKind[kind].sumSeconds] as const)
    .filter(([, count]) => count > 0)
    .map((words) => words.join(' '));
}

test('a request took as long as from its bytes to its reply, by kind', async () => {
  const device = heldDevice();
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 4096, 512));
    await settle();
    fixture.clock.advance(2_000);
    await wire.send(requestHex(flush, 2, 0, 0) + requestHex(trim, 3, 0, 512));
    await settle();
    fixture.clock.advance(500);
    assert.deepEqual(took(fixture), [], 'nothing is counted before it is over');
    device.releaseAll();
    await settle();
    await wire.expect(replyHex(1, 0, sector) + replyHex(2) + replyHex(3));
    assert.deepEqual(took(fixture), ['read 1 2.5', 'flush 1 0.5', 'other 1 0.5']);
    assert.equal(fixture.server.latencies.byKind.read.longestSeconds, 2.5);
  });
});

test('what waits in the socket for room of its connection waits in its time too', async () => {
  const device = heldDevice();
  await withServer({ device, limits: { requestsInFlightMax: 1 } }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 0, 512) + requestHex(read, 2, 512, 512));
    await settle();
    fixture.clock.advance(3_000);
    device.releaseAll();
    await settle();
    await wire.expect(replyHex(1, 0, sector) + replyHex(2, 0, sector));
    assert.deepEqual(took(fixture), ['read 2 6'], 'both waited 3 s');
  });
});

test('a write whose payload comes late took as long as we had it', async () => {
  const device = heldDevice();
  await withServer({ device }, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(write, 1, 0, 512));
    await settle();
    fixture.clock.advance(5_000);
    await wire.send('00'.repeat(512));
    await settle();
    fixture.clock.advance(1_000);
    device.releaseAll();
    await settle();
    await wire.expect(replyHex(1));
    assert.deepEqual(took(fixture), ['write 1 1']);
  });
});

test('requests that fail are timed as those that succeed', async () => {
  await withServer({}, async (fixture) => {
    const wire = await fixture.transmission();
    await wire.send(requestHex(read, 1, 1024 * kibibyte, 512));
    await wire.expect(replyHex(1, 22));
    assert.deepEqual(took(fixture), ['read 1 0']);
  });
});
