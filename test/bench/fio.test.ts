import assert from 'node:assert/strict';
import test from 'node:test';
import { fioArguments, parseFio } from '../../bench/fio.ts';

/** The fields we read, as fio 3.33 prints them; a real report has some hundred more. */
function report(error: number, totalIos: number): string {
  const direction = {
    iops: 1234.5,
    total_ios: totalIos,
    clat_ns: { percentile: { '50.000000': 2000, '99.000000': 9500 } },
  };
  const idle = { iops: 0, total_ios: 0, clat_ns: {} };
  const jobs = [{ error, usr_cpu: 20.5, sys_cpu: 30, read: direction, write: idle }];
  return JSON.stringify({ 'fio version': 'fio-3.33', jobs });
}

test("fio's report is read, behind lines of notes too", () => {
  const figures = {
    operationsPerSecond: 1234.5,
    operations: 2469,
    medianLatencyUs: 2,
    latency99Us: 9.5,
    clientCoreShare: 0.505,
  };
  assert.deepEqual(parseFio(report(0, 2469), 'randread'), figures);
  assert.deepEqual(parseFio(`note: both iodepth >= 1\n${report(0, 2469)}`, 'randread'), figures);
});

test('a run with an error, without operations or without a report is no figure', () => {
  assert.throws(() => parseFio(report(5, 10), 'randread'), /fio failed with error 5/);
  assert.throws(() => parseFio(report(0, 0), 'randread'), /did no operation/);
  assert.throws(() => parseFio(report(0, 10), 'randwrite'), /did no operation/);
  assert.throws(
    () => parseFio('fio: engine nbd not loadable', 'randread'),
    /printed no result: fio: engine nbd/,
  );
});

test('the seed and the work are on the command line', () => {
  const workload = { pattern: 'randread', blockBytes: 4096, queueDepth: 32 } as const;
  const words = fioArguments({
    uri: 'nbd+unix:///?socket=/s',
    workload,
    sizeBytes: 8192,
    runtimeSeconds: 2,
    seed: 7,
  });
  for (const word of [
    '--ioengine=nbd',
    '--rw=randread',
    '--bs=4096',
    '--iodepth=32',
    '--randseed=7',
    '--runtime=2',
  ]) {
    assert.ok(words.includes(word), word);
  }
});
