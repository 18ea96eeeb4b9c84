import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { remapSummary } from '../../src/device/stack/remap-summary.ts';
import { assessHealth } from '../../src/health/assess-health.ts';
import type { DeviceFacts, DiskFacts, HealthFacts } from '../../src/health/health-facts.ts';
import { failingScore, isNews, scoreMax } from '../../src/health/health-score.ts';
import { smartCounterNames } from '../../src/health/smart-reading.ts';
import { healthOf } from '../../src/remap/message/health.ts';
import type { RemapStatus } from '../../src/remap/remap-status.ts';
import { makeStack } from '../remap/remap-stack.ts';
import { diskOf, noGrowth, wellDevice } from './health-examples.ts';

/** Around the steps of the rules, and far beyond. */
const faults = fc.oneof(
  fc.constantFrom(0, 1, 2, 7, 8, 63, 64, 512, 1024, 4096, 65_536),
  fc.nat({ max: 300_000 }),
);
const seldom = (arbitrary: fc.Arbitrary<number>) => fc.oneof(fc.constant(0), arbitrary);

const smartCounts = fc.record(Object.fromEntries(smartCounterNames.map((name) => [name, seldom(faults)])), {
  requiredKeys: [],
});

const disk: fc.Arbitrary<DiskFacts> = fc
  .record({
    role: fc.constantFrom('main' as const, 'spare' as const),
    counters: smartCounts,
    recent: smartCounts,
    flags: fc.record({ failing: fc.boolean(), belowThreshold: fc.boolean(), hot: fc.boolean() }),
  })
  .map(({ role, counters, recent, flags }) => diskOf(role, counters, recent, flags));

const device: fc.Arbitrary<DeviceFacts> = fc
  .record({
    state: fc.constantFrom('ok', 'ok', 'ok', 'spare-full', 'main-failed'),
    remappedSectors: seldom(faults),
    unreadableSectors: seldom(faults),
    freshZeroSectors: seldom(faults),
    goneSectors: seldom(faults),
    slotsFree: fc.nat({ max: 4096 }),
    slotsRetired: seldom(faults),
    spareUsedPercent: fc.nat({ max: 100 }),
    replicasValid: fc.nat({ max: 2 }),
    counters: fc.record({
      spareErrors: seldom(faults),
      verifyMismatches: seldom(faults),
      writesWithoutRoom: seldom(faults),
    }),
    growth: fc.record(
      Object.fromEntries(Object.keys(noGrowth).map((name) => [name, seldom(faults)])),
    ) as fc.Arbitrary<typeof noGrowth>,
    tenthsWithErrors: fc.nat({ max: 10 }),
    spareFullInDays: fc.option(fc.nat({ max: 1000 })),
  })
  .map((faulty) => ({ ...wellDevice, ...faulty }));

const facts: fc.Arbitrary<HealthFacts> = fc.record({ device, disks: fc.array(disk, { maxLength: 3 }) });

/** One fault more: each of these makes exactly one thing worse. */
const worsenings: readonly ((facts: HealthFacts, by: number) => HealthFacts)[] = [
  ...(
    ['remappedSectors', 'unreadableSectors', 'freshZeroSectors', 'goneSectors', 'slotsRetired'] as const
  ).map((name) => (of: HealthFacts, by: number) => ({
    ...of,
    device: { ...of.device, [name]: of.device[name] + by },
  })),
  ...(['spareErrors', 'verifyMismatches', 'writesWithoutRoom'] as const).map(
    (name) => (of: HealthFacts, by: number) => ({
      ...of,
      device: {
        ...of.device,
        counters: { ...of.device.counters, [name]: (of.device.counters[name] ?? 0) + by },
      },
    }),
  ),
  ...(Object.keys(noGrowth) as (keyof typeof noGrowth)[]).map((name) => (of: HealthFacts, by: number) => ({
    ...of,
    device: { ...of.device, growth: { ...of.device.growth, [name]: of.device.growth[name] + by } },
  })),
  (of) => ({
    ...of,
    device: { ...of.device, state: of.device.state === 'ok' ? 'spare-full' : 'main-failed' },
  }),
  (of) => ({ ...of, device: { ...of.device, replicasValid: Math.max(0, of.device.replicasValid - 1) } }),
  (of, by) => ({ ...of, device: { ...of.device, slotsFree: Math.max(0, of.device.slotsFree - by) } }),
  (of, by) => ({
    ...of,
    device: { ...of.device, spareUsedPercent: Math.min(100, of.device.spareUsedPercent + by) },
  }),
  (of, by) => ({
    ...of,
    device: { ...of.device, tenthsWithErrors: Math.min(10, of.device.tenthsWithErrors + by) },
  }),
  (of, by) => ({
    ...of,
    device: { ...of.device, spareFullInDays: Math.max(0, (of.device.spareFullInDays ?? 1000) - by) },
  }),
  ...smartCounterNames.flatMap((name) => [
    (of: HealthFacts, by: number) => ({
      ...of,
      disks: of.disks.map((one) => ({
        ...one,
        reading: {
          ...one.reading,
          counters: { ...one.reading.counters, [name]: (one.reading.counters[name] ?? 0) + by },
        },
      })),
    }),
    (of: HealthFacts, by: number) => ({
      ...of,
      disks: of.disks.map((one) => ({
        ...one,
        recent: { ...one.recent, [name]: (one.recent[name] ?? 0) + by },
      })),
    }),
  ]),
  ...(['failing', 'belowThreshold', 'hot'] as const).map((name) => (of: HealthFacts) => ({
    ...of,
    disks: of.disks.map((one) => ({ ...one, reading: { ...one.reading, [name]: true } })),
  })),
];

describe('the score', () => {
  it('is 100 with nothing wrong, and has no reasons then', () => {
    const { score, reasons, advice } = assessHealth({
      device: wellDevice,
      disks: [diskOf('main'), diskOf('spare', { linkErrors: 4000, unsafeShutdowns: 12, wearPercent: 40 })],
    });
    assert.equal(score, scoreMax);
    assert.deepEqual(reasons, []);
    assert.deepEqual(advice, []);
  });

  it('never rises by a fault, whatever else is wrong', () => {
    let lowered = 0;
    fc.assert(
      fc.property(
        facts,
        fc.constantFrom(...worsenings),
        fc.integer({ min: 1, max: 5000 }),
        (before, worsen, by) => {
          const [now, then] = [assessHealth(worsen(before, by)).score, assessHealth(before).score];
          assert.ok(now <= then, `${now} after ${then}`);
          if (now < then) lowered += 1;
        },
      ),
      { numRuns: 2000 },
    );
    assert.ok(lowered > 50, `only ${lowered} faults lowered a score`);
  });

  it('is a whole number from 0 to 100, with a reason for each point that is missing', () => {
    fc.assert(
      fc.property(facts, (of) => {
        const { score, reasons } = assessHealth(of);
        assert.ok(Number.isInteger(score) && score >= 0 && score <= scoreMax);
        const held = Math.min(scoreMax, ...reasons.map(({ holdsAt }) => holdsAt ?? scoreMax));
        const points = reasons.reduce((sum, { lowersBy }) => sum + lowersBy, 0);
        assert.equal(score, Math.max(0, Math.min(held, scoreMax - points)));
        for (const { text } of reasons) assert.match(text, /^[^\n]+$/);
        for (const { text } of reasons) assert.doesNotMatch(text, /undefined|NaN|null/);
      }),
    );
  });

  it('agrees with the word of the device: failing is below 40, degraded is not 100, and 100 is ok', () => {
    const base = makeStack().device.status();
    const words = new Set<string>();
    fc.assert(
      fc.property(device, (faulty) => {
        const { counters, growth: _, tenthsWithErrors: _2, spareFullInDays: _3, ...counts } = faulty;
        const status = {
          ...base,
          ...counts,
          remappedGranules: Math.ceil(counts.remappedSectors / 8),
          state: counts.state as RemapStatus['state'],
          counters: { ...base.counters, ...counters },
          metadata: { ...base.metadata, replicasInSync: faulty.replicasValid, replicasTotal: 2 },
        };
        const seen = { growth: noGrowth, tenthsWithErrors: 0, spareFullInDays: null };
        const { score } = assessHealth({ device: { ...remapSummary(status), ...seen }, disks: [] });
        const { word } = healthOf(status);
        words.add(word);
        if (word === 'failing') assert.ok(score < failingScore, `failing, and ${score}`);
        if (word === 'degraded') assert.ok(score < scoreMax, `degraded, and ${score}`);
        if (word === 'ok') assert.equal(score, scoreMax);
      }),
      { numRuns: 500 },
    );
    assert.ok(words.has('degraded') && words.has('failing'), [...words].join());
  });

  it('is told when it differs by 5 from what was told, and when it is 100 again', () => {
    assert.deepEqual(
      [isNews(95, 99), isNews(94, 99), isNews(100, 99), isNews(100, 100)],
      [false, true, true, false],
    );
  });
});

describe('advice', () => {
  const kinds = (of: Partial<HealthFacts>): string[] =>
    assessHealth({ device: wellDevice, disks: [], ...of }).advice.map(({ kind, disk }) => `${kind} ${disk}`);

  it('says to replace within days what says of itself that it fails, and holds the score below 10', () => {
    const failing = { disks: [diskOf('main', {}, {}, { failing: true })] };
    assert.deepEqual(kinds(failing), ['replace-now main']);
    const { score, advice } = assessHealth({ device: wellDevice, ...failing });
    assert.ok(score < 10);
    assert.match(advice[0]!.text, /replace main within days/);
    assert.deepEqual(kinds({ disks: [diskOf('spare', {}, {}, { failing: true })] }), ['replace-now spare']);
  });

  it('says to check the cable where the link fails and the sectors do not, and only there', () => {
    const link = { linkErrors: 900 };
    assert.deepEqual(kinds({ disks: [diskOf('main', link, { linkErrors: 40 })] }), ['check-cable main']);
    assert.deepEqual(kinds({ disks: [diskOf('spare', link, { linkErrors: 40 })] }), ['check-cable spare']);
    assert.deepEqual(
      kinds({ disks: [diskOf('main', link)] }),
      [],
      'errors of a cable that was replaced long ago',
    );
    assert.deepEqual(
      kinds({ disks: [diskOf('main', { ...link, pendingSectors: 9 }, { linkErrors: 40 })] }),
      [],
      'the sectors fail too',
    );
    const lost = { ...wellDevice, growth: { ...noGrowth, mainPathLossesLastWeek: 3 } };
    assert.deepEqual(kinds({ device: lost }), ['check-cable main'], 'without SMART, by what dm-remap saw');
    const both = { ...lost, growth: { ...lost.growth, badSectorsLastWeek: 8 } };
    assert.deepEqual(kinds({ device: both }), []);
    const old = { reallocatedSectors: 4 };
    assert.deepEqual(
      kinds({ device: lost, disks: [diskOf('main', old)] }),
      ['check-cable main'],
      'sectors that were replaced long ago say nothing of today',
    );
  });

  it('is said once, the most urgent first, and "now" instead of "soon"', () => {
    const device = { ...wellDevice, unreadableSectors: 2000, spareUsedPercent: 95, slotsFree: 100 };
    const disks = [
      diskOf('main', { reallocatedSectors: 2000, pendingSectors: 200 }, { reallocatedSectors: 500 }),
      diskOf('spare', { wearPercent: 120 }),
    ];
    assert.deepEqual(kinds({ device, disks }), [
      'replace-now main',
      'larger-spare spare',
      'replace-soon spare',
      'restore-lost main',
    ]);
  });
});
