import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { ServiceManager } from '../../../src/device/process/service-manager.ts';
import { abstractAddress, unixAddress } from '../../../src/linux/socket-address.ts';
import { DatagramReceiver } from '../../linux/datagram-receiver.ts';
import { HandClock } from '../hand-clock.ts';

let folder: string;
let place: string;
let receiver: DatagramReceiver;
let clock: HandClock;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-notify-'));
  place = join(folder, 'notify');
  receiver = new DatagramReceiver(unixAddress(place));
  clock = new HandClock();
});

afterEach(() => {
  receiver.close();
  rmSync(folder, { recursive: true, force: true });
  assert.equal(clock.waitingCount, 0, 'I24: no timer is left');
});

test('the manager hears that the device serves and that it ends, as sd_notify has it', () => {
  const manager = new ServiceManager(clock, { NOTIFY_SOCKET: place });
  assert.deepEqual(receiver.received(), [], 'not before it serves');
  manager.ready('disk: serving\nnbd');
  manager.stopping();
  manager.close();
  assert.deepEqual(receiver.received(), ['READY=1\nSTATUS=disk: serving nbd', 'STOPPING=1\nSTATUS=closing']);
});

test('R35 the watchdog is fed at half its time, from being ready until the very end', () => {
  const environment = { NOTIFY_SOCKET: place, WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(process.pid) };
  const manager = new ServiceManager(clock, environment);
  clock.advance(60_000);
  assert.deepEqual(receiver.received(), [], 'a start that hangs must look like one');
  manager.ready('disk');
  receiver.received();
  clock.advance(14_999);
  assert.deepEqual(receiver.received(), []);
  clock.advance(1);
  assert.deepEqual(receiver.received(), ['WATCHDOG=1']);
  manager.stopping();
  receiver.received();
  clock.advance(15_000);
  clock.advance(15_000);
  assert.deepEqual(receiver.received(), ['WATCHDOG=1', 'WATCHDOG=1'], 'closing takes its time');
  manager.close();
  clock.advance(60_000);
  assert.deepEqual(receiver.received(), []);
});

test('a watchdog of another process is not fed', () => {
  const manager = new ServiceManager(clock, {
    NOTIFY_SOCKET: place,
    WATCHDOG_USEC: '30000000',
    WATCHDOG_PID: '1',
  });
  manager.ready('disk');
  clock.advance(60_000);
  assert.equal(receiver.received().length, 1);
  manager.close();
});

test('what the manager gave to us is not handed on to processes that we start', () => {
  const environment: Record<string, string | undefined> = {
    ...{ NOTIFY_SOCKET: place, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' },
    HOME: '/root',
  };
  new ServiceManager(clock, environment).close();
  assert.deepEqual(environment, { HOME: '/root' });
});

test('a name of the abstract namespace is a place too', () => {
  const name = `dm-remap-test-${process.pid}`;
  const abstract = new DatagramReceiver(abstractAddress(name));
  const manager = new ServiceManager(clock, { NOTIFY_SOCKET: `@${name}` });
  manager.ready('disk');
  manager.close();
  assert.deepEqual(abstract.received(), ['READY=1\nSTATUS=disk']);
  abstract.close();
});

test('without a manager, with one that is gone, or with nonsense for one, nothing is said and nothing fails', () => {
  receiver.close();
  rmSync(place);
  for (const NOTIFY_SOCKET of [undefined, '', '@', 'relative', `/${'x'.repeat(200)}`, place, '/dev/null']) {
    const manager = new ServiceManager(clock, { NOTIFY_SOCKET, WATCHDOG_USEC: 'soon' });
    manager.ready('disk');
    manager.stopping();
    manager.close();
  }
  receiver = new DatagramReceiver(unixAddress(place));
});
