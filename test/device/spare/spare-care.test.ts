import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventText } from '../../../src/device/event-text.ts';
import { repairDelayMs, SpareCare } from '../../../src/device/spare/spare-care.ts';
import { heartbeatIntervalMs } from '../../../src/metadata/metadata-store.ts';
import {
  commit,
  granules,
  type OpenDevice,
  type TestSpare,
  withSpare,
} from '../../metadata/metadata-fixture.ts';

const host = {
  machineId: 'ab'.repeat(16),
  bootId: 'cd'.repeat(16),
  pid: 1,
  startTicks: 2,
  hostName: 'alpha',
  isRunning: () => false,
};

interface Cared {
  readonly care: SpareCare;
  readonly log: string[];
  taken: number;
  suspended: boolean;
}

function careFor(spare: TestSpare, { store }: OpenDevice): Cared {
  const cared: { care?: SpareCare; log: string[]; taken: number; suspended: boolean } = {
    log: [],
    taken: 0,
    suspended: false,
  };
  const care = new SpareCare({
    clock: spare.clock,
    store,
    suspended: () => cared.suspended,
    onTaken: () => {
      cared.taken += 1;
    },
    events: { append: (event) => cared.log.push(eventText(event)) },
  });
  return Object.assign(cared, { care });
}

function pass(spare: TestSpare, ms: number): Promise<void> {
  return new Promise((resolve) => {
    spare.clock.schedule(ms, resolve);
  });
}

describe('what a spare needs while it serves', () => {
  it('M11 looks once more at the end, for closing writes what a taken spare must not get', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host });
      const cared = careFor(spare, device);
      await spare.openSettled({ host: { ...host, pid: 9, hostName: 'beta' }, takeover: true });
      await cared.care.close();
      assert.equal(cared.taken, 1);
      assert.equal(cared.log.length, 1);
      assert.match(cared.log[0]!, /taken over by process 9 of beta/);
      assert.equal(device.store.state, 'failed');
    }));

  it('M11 a sign of life every ten seconds, and none after the end', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host });
      const { care, log } = careFor(spare, device);
      const beats = async (): Promise<number> => (await spare.open()).report.inUse!.heartbeat;
      const first = await beats();
      await pass(spare, 5 * heartbeatIntervalMs + heartbeatIntervalMs / 2);
      assert.equal((await beats()) - first, 5);
      await care.close();
      const { writes } = spare.disk.counts;
      await pass(spare, 5 * heartbeatIntervalMs);
      assert.equal(spare.disk.counts.writes, writes);
      assert.deepEqual(log, []);
    }));

  it('M11 tells its owner once when the spare was taken over, and stops', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host });
      const cared = careFor(spare, device);
      await spare.openSettled({
        host: { ...host, machineId: 'ef'.repeat(16), hostName: 'beta' },
        takeover: true,
      });
      await pass(spare, 4 * heartbeatIntervalMs);
      assert.equal(cared.taken, 1);
      assert.match(cared.log.join('\n'), /^[^\n]*taken over by process 1 of beta[^\n]*$/);
      await cared.care.close();
    }));

  it('M2 a replica that left the set is taken in again, later each time it fails', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host });
      const { care, log } = careFor(spare, device);
      const place = device.opened.layout.replicas[1]!;
      const bad = [...place.areaOffsets, ...place.journalOffsets];
      for (const offset of bad) {
        spare.disk.faults.addBadSectors(offset / 512, device.opened.layout.journalBlocks * 8, {
          on: 'write',
        });
      }
      await commit(device, [granules(1, 300)]);
      assert.equal(device.store.status().replicasInSync, 1);
      await pass(spare, repairDelayMs + 2 * heartbeatIntervalMs);
      assert.equal(device.store.status().replicasInSync, 1);
      const { writes } = spare.disk.counts;
      assert.ok(writes > 0);
      spare.disk.faults.removeBadSectors(0, spare.disk.geometry.sizeBytes / 512);
      await pass(spare, repairDelayMs);
      assert.equal(device.store.status().replicasInSync, 1, 'twice the time has not passed');
      await pass(spare, repairDelayMs + 2 * heartbeatIntervalMs);
      assert.equal(device.store.status().replicasInSync, 2);
      assert.match(log.at(-1)!, /2 of 2 replicas of the metadata are in sync again/);
      await care.close();
      await device.store.close();
    }));

  it('R30 while the device is suspended only the sign of life goes to the spare', () =>
    withSpare({}, async (spare) => {
      const device = await spare.createSettled({ host });
      const cared = careFor(spare, device);
      const place = device.opened.layout.replicas[1]!;
      for (const offset of [...place.areaOffsets, ...place.journalOffsets]) {
        spare.disk.faults.addBadSectors(offset / 512, device.opened.layout.journalBlocks * 8, {
          on: 'write',
        });
      }
      await commit(device, [granules(1, 300)]);
      spare.disk.faults.removeBadSectors(0, spare.disk.geometry.sizeBytes / 512);
      cared.suspended = true;
      const { generation } = device.store.status();
      const { writes } = spare.disk.counts;
      await pass(spare, 10 * repairDelayMs);
      assert.equal(device.store.status().generation, generation, 'no checkpoint');
      assert.ok(spare.disk.counts.writes > writes, 'signs of life');
      assert.equal(device.store.status().replicasInSync, 1);
      cared.suspended = false;
      await pass(spare, repairDelayMs + 2 * heartbeatIntervalMs);
      assert.equal(device.store.status().replicasInSync, 2);
      await cared.care.close();
      await device.store.close();
    }));
});
