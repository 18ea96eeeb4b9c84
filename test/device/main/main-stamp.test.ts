import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { deviceError } from '../../../src/block/device-error.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import { RecordedState } from '../../../src/device/host/recorded-state.ts';
import {
  compareSamples,
  formatStamp,
  healthyIn,
  parseStamp,
  samplePlaces,
  samplesMax,
  takeSamples,
} from '../../../src/device/main/main-stamp.ts';
import type { ReadAt } from '../../../src/device/stack/bounded-read.ts';
import { boundedReader } from '../../../src/device/stack/bounded-read.ts';
import { noSlot } from '../../../src/metadata/mapping-state.ts';
import { HandClock } from '../hand-clock.ts';

const granuleBytes = 4096;
const granules = 1000;
const sizeBytes = granules * granuleBytes;
const all = (): boolean => true;

function readerOf(device: MemoryDevice): ReadAt {
  return async (offset, length) => {
    const bytes = new Uint8Array(length);
    await device.read(bytes, offset);
    return bytes;
  };
}

function filled(): MemoryDevice {
  const device = new MemoryDevice({ sizeBytes });
  for (let at = 0; at < sizeBytes; at += 1) device.bytes[at] = (at * 31 + at / granuleBytes) % 251;
  return device;
}

test('M15 samples lie in 64 parts of main, the first at its start, on whole healthy granules only', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 36 }),
      fc.nat(granuleBytes - 1),
      fc.integer({ min: 2, max: 9 }),
      (count, tailBytes, every) => {
        const healthy = (granule: number): boolean => granule % every !== 1;
        const places = samplePlaces(count * granuleBytes + tailBytes, granuleBytes, healthy);
        assert.ok(places.length <= samplesMax && places.length >= Math.min(count, samplesMax) / 2);
        assert.equal(places[0], 0);
        assert.ok(places.every((granule) => granule < count && healthy(granule)));
        assert.equal(new Set(places).size, places.length);
      },
    ),
  );
  assert.equal(samplePlaces(sizeBytes, granuleBytes, all).length, samplesMax);
});

test('M15 a part without a healthy granule is left out, and costs a bounded look', () => {
  let looks = 0;
  const places = samplePlaces(2 ** 40, granuleBytes, () => {
    looks += 1;
    return false;
  });
  assert.deepEqual(places, []);
  assert.equal(looks, 64 * 64);
});

test('M15 what the table names is not sampled', () => {
  const bits = { held: 0, unreadable: 1, gone: 0, flags: 0, cause: 2 as const, unixSeconds: 5 };
  const table = new RecordedState([{ type: 'granules', granule: 7, granuleCount: 2, slot: noSlot, ...bits }]);
  const healthy = healthyIn(table);
  assert.deepEqual([6, 7, 8, 9].map(healthy), [true, false, false, true]);
});

test('M15 a stamp survives as text, and what is none is refused', () => {
  const sample = fc
    .tuple(fc.nat(granules - 1), fc.integer({ min: 0, max: 0xffff_ffff }))
    .map(([granule, checksum]) => ({ granule, checksum }));
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: samplesMax }), (samples) => {
      const text = formatStamp(samples);
      assert.ok(text.length <= 860);
      assert.deepEqual(parseStamp(text, sizeBytes, granuleBytes), samples);
      assert.equal(parseStamp(text.replace('1 ', '2 '), sizeBytes, granuleBytes), undefined);
    }),
  );
  for (const text of [undefined, '', '1', '1 ', '1 AAAA', `1 ${'A'.repeat(2000)}`]) {
    assert.equal(parseStamp(text, sizeBytes, granuleBytes), undefined);
  }
  const outside = formatStamp([{ granule: granules, checksum: 0 }]);
  assert.equal(parseStamp(outside, sizeBytes, granuleBytes), undefined);
});

test('M15 one changed byte of a sampled granule is found, and named', async () => {
  const device = filled();
  const places = samplePlaces(sizeBytes, granuleBytes, all);
  const samples = await takeSamples(readerOf(device), granuleBytes, places);
  assert.equal(samples.length, samplesMax);
  const compare = (): ReturnType<typeof compareSamples> =>
    compareSamples(readerOf(device), granuleBytes, samples);
  assert.deepEqual(await compare(), { compared: samplesMax, unreadable: 0, different: [] });
  const changed = places[17]!;
  device.bytes[changed * granuleBytes + 4000]! ^= 1;
  assert.deepEqual((await compare()).different, [changed]);
});

test('M15 granules that cannot be read are neither stamped nor called different', async () => {
  const device = filled();
  const bad = samplePlaces(sizeBytes, granuleBytes, all)[5]!;
  const failing: ReadAt = (offset, length) =>
    offset === bad * granuleBytes
      ? Promise.reject(deviceError('main', 'medium', offset, length))
      : readerOf(device)(offset, length);
  const places = samplePlaces(sizeBytes, granuleBytes, all);
  assert.equal((await takeSamples(failing, granuleBytes, places)).length, samplesMax - 1);
  const samples = await takeSamples(readerOf(device), granuleBytes, places);
  const comparison = await compareSamples(failing, granuleBytes, samples);
  assert.deepEqual(comparison, { compared: samplesMax - 1, unreadable: 1, different: [] });
});

test('M15 a main whose reads hang is left out at the deadline, in one go', async () => {
  const clock = new HandClock();
  const device = filled();
  device.read = () => new Promise(() => undefined);
  const taking = takeSamples(boundedReader(device, clock, 5_000), granuleBytes, [1, 2, 3]);
  clock.advance(5_000);
  assert.deepEqual(await taking, []);
  assert.equal(clock.waitingCount, 0);
});
