import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { AskError } from '../../../src/control/data-plane-client.ts';
import {
  firstLookMs,
  HealthWatch,
  lookIntervalMs,
  newsDelayMs,
  newsSpacingMs,
  smartFreshMs,
} from '../../../src/control/health/health-watch.ts';
import type { WholeDisk } from '../../../src/control/health/whole-disks.ts';
import type { DeviceEvent } from '../../../src/device/event-kinds.ts';
import { encodeEvent } from '../../../src/device/log/event-record.ts';
import type { DeviceStatus, HealthEvent, RemapSummary } from '../../../src/device/messages.ts';
import { HandClock } from '../../device/hand-clock.ts';
import { exampleStatus } from '../example-status.ts';
import { FakeSmartctl } from './fake-smartctl.ts';
import { ataDisk, sleepingDisk } from './smart-outputs.ts';

const uuid = '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11';
const well: Partial<RemapSummary> = {
  state: 'ok',
  health: 'ok',
  healthReasons: [],
  remappedGranules: 0,
  remappedSectors: 0,
  unreadableSectors: 0,
  freshZeroSectors: 0,
  goneSectors: 0,
  slotsTotal: 4096,
  slotsFree: 4096,
  slotsRetired: 0,
  spareUsedPercent: 0,
  replicasValid: 2,
  replicasTotal: 2,
  changedPolicies: {},
  counters: {},
};

/** A device that says what the test has it say, and a smartctl that does. */
class Rig {
  readonly fake: FakeSmartctl = new FakeSmartctl();
  readonly clock: HandClock = new HandClock();
  readonly told: HealthEvent[] = [];
  readonly asked: string[] = [];
  readonly folder: string = join(this.fake.folder, 'state', uuid);
  remap: Partial<RemapSummary> = well;
  map = 'cells 4096 sectors 128';
  forecast = 'none';
  spares = 'one spare in-use 4096 3 4093 0 33554432 /srv/spare.img';
  disks: readonly WholeDisk[] = [mainDisk];
  refusal: AskError | undefined;
  watch: HealthWatch;
  #sequence = 0;

  constructor() {
    mkdirSync(this.folder, { recursive: true });
    this.watch = this.newWatch();
  }

  newWatch(): HealthWatch {
    return new HealthWatch({
      device: {
        status: () => this.#ask('status', this.status()),
        message: (words) =>
          this.#ask(
            words[0]!,
            words[0] === 'map' ? this.map : `full-in-days ${this.forecast}\n${this.spares}`,
          ),
      },
      clock: this.clock,
      smartctl: this.fake.runner(this.clock),
      findDisks: (role, path) =>
        Promise.resolve(this.disks.filter((one) => one.role === role && one.device === path)),
      tell: (event) => this.told.push(event),
    });
  }

  status(): DeviceStatus {
    return {
      ...exampleStatus,
      main: { ...exampleStatus.main, path: '/dev/sda' },
      uuid,
      remap: { ...exampleStatus.remap, ...this.remap },
      hostState: { directory: join(this.fake.folder, 'state'), tableUnixSeconds: 0, trouble: '' },
      eventLog: { path: join(this.folder, 'events.jsonl'), trouble: '', dropped: 0, suppressed: 0 },
      health: null,
    };
  }

  happens(event: DeviceEvent): void {
    this.#sequence += 1;
    const line = encodeEvent(event, { device: 'disk', uuid, pid: 1 }, this.#sequence, this.clock.unixMs());
    appendFileSync(join(this.folder, 'events.jsonl'), line);
  }

  /** Time passes, and what begins by it comes to its end. */
  async passes(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.watch.settled();
  }

  #ask<T>(what: string, answer: T): Promise<T> {
    this.asked.push(what);
    return this.refusal === undefined ? Promise.resolve(answer) : Promise.reject(this.refusal);
  }

  async close(): Promise<void> {
    await this.watch.close();
    this.fake[Symbol.dispose]();
  }
}

const mainDisk: WholeDisk = {
  role: 'main',
  device: '/dev/sda',
  directory: '/sys/block/sda',
  key: 'main W1',
  underFile: false,
};

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
  rig.fake.says('/dev/sda', ataDisk({ 5: 8, 199: 3 }));
});

afterEach(() => rig.close());

describe('a device is watched', () => {
  it('first after ten seconds, then every half hour; disks are asked no oftener by themselves', async () => {
    assert.deepEqual(rig.asked, []);
    await rig.passes(firstLookMs);
    assert.deepEqual(rig.asked, ['status', 'spare', 'map']);
    assert.equal(rig.fake.calls().length, 1);
    rig.watch.news();
    await rig.passes(newsSpacingMs);
    assert.ok(rig.asked.length > 3, 'news is looked at');
    assert.equal(rig.fake.calls().length, 1, 'and the disks are left alone');
    for (let hour = 0; hour < 4; hour += 1) {
      await rig.passes(lookIntervalMs);
      await rig.passes(lookIntervalMs);
    }
    assert.equal(rig.fake.calls().length, 9);
    assert.deepEqual(
      [...new Set(rig.fake.calls())],
      ['--json=c --nocheck=standby --info --health --attributes --log=error /dev/sda'],
      'a disk that sleeps is never woken',
    );
  });

  it('soon after something happened, and once a minute however much happens', async () => {
    await rig.passes(firstLookMs);
    await rig.passes(newsSpacingMs);
    const before = rig.asked.length;
    rig.watch.news();
    await rig.passes(newsDelayMs - 1);
    assert.equal(rig.asked.length, before);
    await rig.passes(1);
    assert.ok(rig.asked.length > before);
    const looks = rig.asked.filter((what) => what === 'status').length;
    for (let at = 0; at < 59; at += 1) {
      rig.watch.news();
      await rig.passes(1000);
    }
    assert.equal(rig.asked.filter((what) => what === 'status').length, looks);
    await rig.passes(2000);
    assert.equal(rig.asked.filter((what) => what === 'status').length, looks + 1);
  });

  it('by hand at once, with what the disks said in the last minute', async () => {
    const health = await rig.watch.look();
    assert.equal(health?.score, 95);
    assert.deepEqual(health.disks[0]?.counters, { reallocatedSectors: 8, linkErrors: 3 });
    await rig.watch.look();
    assert.equal(rig.fake.calls().length, 1);
    await rig.passes(smartFreshMs);
    await rig.watch.look();
    assert.equal(rig.fake.calls().length, 2);
  });

  it('with what the device says now, between two looks', async () => {
    await rig.watch.look();
    rig.remap = { ...well, state: 'spare-full' };
    const now = await rig.watch.healthOf(rig.status());
    assert.ok(now !== null && now.score <= 39);
    assert.equal(now.reasons[0]?.rule, 'state');
  });

  it('with the disks of all its spares, each asked once', async () => {
    const spareDisk = (device: string): WholeDisk => ({
      ...mainDisk,
      role: 'spare',
      device,
      key: `spare ${device}`,
    });
    rig.disks = [mainDisk, spareDisk('/dev/sdb'), spareDisk('/dev/sdc')];
    rig.fake.says('/dev/sdb', ataDisk({ 5: 1 }));
    rig.fake.says('/dev/sdc', sleepingDisk, 2);
    rig.spares = [
      rig.spares,
      'one spare-1 available 100 0 100 0 1048576 /dev/sdb',
      'one spare-2 failed 100 3 97 0 0 /dev/sdc',
      'one spare-3 available 100 0 100 0 1048576 /dev/sdb',
      'last-spare added /dev/sdb',
    ].join('\n');
    const health = await rig.watch.look();
    assert.deepEqual(
      health?.disks.map(({ disk, device, smart }) => `${disk} ${device} ${smart}`),
      ['main /dev/sda read', 'spare /dev/sdb read', 'spare /dev/sdc asleep'],
    );
    assert.equal(rig.fake.calls().length, 3);
  });

  it('not at all with the policy off: nothing is asked, read, run or kept', async () => {
    rig.remap = { ...well, changedPolicies: { health: 'off' } };
    await rig.passes(firstLookMs);
    await rig.passes(lookIntervalMs);
    assert.equal(await rig.watch.look(), null);
    assert.equal(await rig.watch.healthOf(rig.status()), null);
    assert.deepEqual(rig.fake.calls(), []);
    assert.deepEqual([...new Set(rig.asked)], ['status'], 'but for whether it still is off');
    assert.equal(existsSync(join(rig.folder, 'health')), false);
    assert.deepEqual(rig.told, []);
    rig.remap = well;
    await rig.passes(lookIntervalMs);
    assert.equal(rig.fake.calls().length, 1, 'on again');
  });

  it('on, though the device does not answer: it is asked again', async () => {
    rig.refusal = new AskError({ code: 'TIMED_OUT', message: 'no answer' });
    await rig.passes(firstLookMs);
    await assert.rejects(rig.watch.look(), AskError);
    rig.refusal = undefined;
    await rig.passes(newsSpacingMs);
    assert.equal(rig.fake.calls().length, 1);
  });
});

describe('operators are told', () => {
  it('of each count of SMART that grew, once, over a restart too; not of what was there', async () => {
    await rig.watch.look();
    assert.deepEqual(
      rig.told.map(({ kind }) => kind),
      ['health-changed'],
      'the score, as it is not 100',
    );
    rig.fake.says('/dev/sda', ataDisk({ 5: 8, 199: 9 }));
    await rig.watch.close();
    rig.watch = rig.newWatch();
    await rig.watch.look();
    const increased = { kind: 'smart-increased', disk: 'main', device: '/dev/sda', counter: 'linkErrors' };
    assert.deepEqual(rig.told.slice(1), [
      { ...increased, from: 3, to: 9 },
      {
        kind: 'health-changed',
        score: 90,
        before: 95,
        reasons: [
          'main, /dev/sda: 8 sectors that the disk itself has replaced',
          'main, /dev/sda: 6 checksum errors on its cable in 7 days',
        ],
        advice: [
          'check the cable, the connector and the power of main: its link fails, and its sectors do not',
        ],
      },
    ]);
    await rig.passes(smartFreshMs);
    await rig.watch.look();
    assert.equal(rig.told.length, 3, 'told once');
  });

  it('when the score changes by what the device has seen, with reasons', async () => {
    rig.fake.says('/dev/sda', ataDisk({ 5: 0 }));
    await rig.watch.look();
    assert.equal(rig.told.length, 0);
    const span = { sectors: 600, firstSector: 1000, lastSector: 1599 };
    rig.happens({ kind: 'remapped', granules: 75, ...span, causes: { writeError: 75 } });
    rig.remap = { ...well, remappedSectors: 600 };
    rig.map =
      'cells 4096 sectors 128\n7 moved 24 unreadable 0 fresh-zero 0 gone 0\n8 moved 576 unreadable 0 fresh-zero 0 gone 0';
    rig.forecast = '12';
    rig.watch.news();
    await rig.passes(newsSpacingMs);
    const [told] = rig.told;
    assert.ok(told?.kind === 'health-changed');
    assert.equal(told.before, 100);
    assert.equal(told.score, 65);
    assert.match(told.reasons.join(), /85.7|86 new bad sectors a day in the last 7 days/);
    assert.match(told.advice.join(), /larger one.*plan to replace main/s);
    assert.match(told.reasons.join(), /the spare is full in 12 days/);
    const health = await rig.watch.look();
    assert.equal(health?.growth.badSectorsLastDay, 600);
    assert.deepEqual(health.places?.hotSpot, { first: 896, last: 1151, sectors: 600 });
  });
});

describe('the first look', () => {
  const first = async (): Promise<[number | null, number] | undefined> => {
    await rig.watch.look();
    const [told] = rig.told;
    return told?.kind === 'health-changed' ? [told.before, told.score] : undefined;
  };

  it('is quiet over a healthy disk, and from then on everything is news', async () => {
    rig.fake.says('/dev/sda', ataDisk({ 5: 0 }));
    assert.equal(await first(), undefined);
    assert.match(readFileSync(join(rig.folder, 'health'), 'utf8'), /"toldScore":100/);
  });

  it('tells what a disk says of itself as what was there before', async () => {
    assert.deepEqual(await first(), [null, 95]);
  });

  it('tells what the device has seen as news, whatever the disk says', async () => {
    rig.remap = { ...well, unreadableSectors: 100 };
    assert.deepEqual(await first(), [95, 80]);
  });
});

describe('what is kept', () => {
  it('lets a disk that sleeps, or does not answer, be judged by what it last said', async () => {
    rig.fake.says('/dev/sda', ataDisk({ 5: 2000 }));
    const awake = await rig.watch.look();
    await rig.watch.close();
    rig.watch = rig.newWatch();
    rig.fake.says('/dev/sda', sleepingDisk, 2);
    const asleep = await rig.watch.look();
    assert.equal(asleep?.score, awake?.score);
    assert.equal(asleep?.disks[0]?.smart, 'asleep');
    assert.deepEqual(asleep?.disks[0]?.counters, { reallocatedSectors: 2000 });
  });

  it('is written only when something changed, and begins anew when it is damaged', async () => {
    await rig.watch.look();
    const path = join(rig.folder, 'health');
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, 'not looked at again');
    await rig.passes(smartFreshMs);
    await rig.watch.look();
    assert.equal(readFileSync(path, 'utf8'), 'not looked at again');
    await rig.watch.close();
    rig.watch = rig.newWatch();
    assert.match((await rig.watch.healthOf(rig.status()))?.trouble ?? '', /damaged/);
    await rig.watch.look();
    assert.deepEqual(Object.keys(JSON.parse(readFileSync(path, 'utf8'))), Object.keys(JSON.parse(text)));
  });
});
