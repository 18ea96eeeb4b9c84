import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AskedDevice, DeviceWatch } from '../../../src/cli/top/device-watch.ts';
import { ControlError } from '../../../src/control/client.ts';
import type { DeviceStatus } from '../../../src/device/messages.ts';
import { exampleStatus } from '../../control/example-status.ts';

/** A device that counts what it is asked. */
class CountedDevice implements AskedDevice {
  statuses = 0;
  maps: string[] = [];
  answer: DeviceStatus = exampleStatus;
  /** While there is one, answers wait for it. */
  held: Promise<void> | undefined;

  async status(): Promise<DeviceStatus> {
    this.statuses += 1;
    await this.held;
    return this.answer;
  }

  message(_sector: number, words: readonly string[]): Promise<{ reply: string }> {
    this.maps.push(words.join(' '));
    return Promise.resolve({ reply: `cells ${words[1]} sectors 8` });
  }
}

function watchOf(devices: Readonly<Record<string, AskedDevice>>): DeviceWatch {
  return new DeviceWatch({ names: () => Object.keys(devices), find: (name) => devices[name]! });
}

test('a look is one question to each device; the map is asked for only when something has changed', async () => {
  const device = new CountedDevice();
  const watch = watchOf({ disk: device });
  for (let look = 1; look <= 5; look += 1) {
    await watch.look();
    await watch.lookAtMap('disk', 100);
    assert.equal(device.statuses, look);
  }
  assert.deepEqual(device.maps, ['map 100']);
  assert.equal(watch.views[0]?.map?.cellCount, 100);
  device.answer = { ...exampleStatus, remap: { ...exampleStatus.remap, goneSectors: 2 } };
  // A map that was dear is not asked for again for a while; this one took no time to speak of.
  while (device.maps.length < 2) {
    await watch.look();
    await watch.lookAtMap('disk', 100);
  }
  await watch.lookAtMap('disk', 0);
  assert.equal(device.maps.length, 2, 'no room, no map');
});

test('a device that hangs holds up no look for longer than a second, nor hides another one', async () => {
  const well = new CountedDevice();
  const hung = new CountedDevice();
  let release = (): void => undefined;
  hung.held = new Promise((resolve) => {
    release = resolve;
  });
  const watch = watchOf({ hung, well });
  await watch.look();
  assert.match(watch.views[0]?.silent ?? '', /^no answer for \d+ s$/);
  assert.equal(watch.views[0]?.status, undefined);
  assert.equal(watch.views[1]?.status, exampleStatus);
  release();
  while (watch.views[0]?.status === undefined) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(hung.statuses, 1, 'one question at a time');
  await watch.look();
  assert.equal(watch.views[0]?.silent, '');
  assert.equal(hung.statuses, 2);
});

test('an error of the world is shown, an error of ours ends top', async () => {
  const device = new CountedDevice();
  const watch = watchOf({ disk: device });
  await watch.look();
  device.held = Promise.reject(new ControlError('NOBODY', 'nobody answers\non its socket'));
  await watch.look();
  assert.equal(watch.views[0]?.silent, 'nobody answers on its socket');
  assert.equal(watch.views[0]?.status, exampleStatus, 'as it was seen last');
  device.held = Promise.reject(new TypeError('a bug'));
  await assert.rejects(watch.look(), TypeError);
});
