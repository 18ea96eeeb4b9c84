import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { HealthService } from '../../../src/control/health/health-service.ts';
import type {
  ControlAnswers,
  ControlAsk,
  DeviceStatus,
  WorkerMessage,
} from '../../../src/device/messages.ts';
import { formatDeviceNumber } from '../../../src/io/system-files.ts';
import { MachineDescription } from '../../io/machine-description.ts';
import { exampleStatus } from '../example-status.ts';
import { FakeSmartctl } from './fake-smartctl.ts';
import { ataDisk, scterc } from './smart-outputs.ts';

/** Any block device of this machine; nothing but its number is looked at, and sysfs is the test's. */
const blockDevice: string | undefined = readdirSync('/dev')
  .map((name) => join('/dev', name))
  .find((path) => statSync(path, { throwIfNoEntry: false })?.isBlockDevice());
const skip: string | false = blockDevice === undefined ? 'needs a block device' : false;

const pathBefore: string = process.env['PATH'] ?? '';
let fake: FakeSmartctl;
let machine: MachineDescription;

beforeEach(() => {
  fake = new FakeSmartctl();
  machine = new MachineDescription();
  process.env['PATH'] = `${fake.folder}:${pathBefore}`;
});

afterEach(() => {
  process.env['PATH'] = pathBefore;
  fake[Symbol.dispose]();
  machine[Symbol.dispose]();
});

/** A service over a device whose main is the first partition of a disk `sdq`. */
function serviceOver(main: string): { service: HealthService; told: WorkerMessage[] } {
  const number = formatDeviceNumber(statSync(main, { bigint: true }).rdev);
  machine.addBlock('sdq', '300:0', { 'device/wwid': 'naa.5000c500\n', 'device/timeout': '30\n' });
  machine.addBlock('sdq/sdq1', number, { partition: '1\n' });
  const status: DeviceStatus = {
    ...exampleStatus,
    main: { ...exampleStatus.main, path: main },
    spare: null,
    hostState: { ...exampleStatus.hostState, directory: '' },
    eventLog: { ...exampleStatus.eventLog, path: join(fake.folder, 'events.jsonl') },
    health: null,
  };
  const told: WorkerMessage[] = [];
  const service = new HealthService({
    asker: { ask: (ask) => Promise.resolve(answerOf(ask, status)) },
    tell: (message) => told.push(message),
    roots: machine,
  });
  return { service, told };
}

function answerOf(ask: ControlAsk, status: DeviceStatus): ControlAnswers[ControlAsk['type']] {
  if (ask.type === 'status') return status;
  assert.equal(ask.type, 'message');
  return { reply: '' };
}

test('the disk under a partition is set up and asked, and what it says is in the status', {
  skip,
}, async () => {
  const { service, told } = serviceOver(blockDevice!);
  fake.says('/dev/sdq', scterc(undefined), 4);
  await service.tune();
  assert.deepEqual(told, [
    {
      kind: 'tuned',
      notes: [
        'main, /dev/sdq: cannot be told when to give up a sector (no SCT ERC); the kernel waits 180 s for it now, was 30',
      ],
    },
  ]);
  const timeout = join(machine.sysfs, 'block', 'sdq', 'device', 'timeout');
  assert.equal(readFileSync(timeout, 'utf8').trim(), '180');
  fake.says('/dev/sdq', ataDisk({ 5: 8, 197: 2 }));
  const health = await service.health();
  assert.deepEqual(
    health?.disks.map(({ device, smart, counters }) => [device, smart, counters]),
    [['/dev/sdq', 'read', { reallocatedSectors: 8, pendingSectors: 2 }]],
  );
  const status = await service.ask({ type: 'status' });
  assert.ok('hostState' in status);
  assert.deepEqual(status.health, health);
  assert.equal(told[1]?.kind, 'health-event');
  service.close();
});

test('every other answer is the data plane’s own', async () => {
  const service = new HealthService({
    asker: { ask: () => Promise.resolve({ name: 'disk', state: 'serving', pid: 7 }) },
    tell: () => assert.fail('nothing to tell'),
    roots: machine,
  });
  assert.deepEqual(await service.ask({ type: 'ping' }), { name: 'disk', state: 'serving', pid: 7 });
  service.close();
});
