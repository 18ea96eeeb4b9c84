import assert from 'node:assert/strict';
import test from 'node:test';
import { fioArguments, parseFio } from '../../bench/fio.ts';
import { workload } from '../../bench/workload.ts';

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
  assert.deepEqual(parseFio(report(0, 2469)), figures);
  assert.deepEqual(parseFio(`note: both iodepth >= 1\n${report(0, 2469)}`), figures);
});

test('a run with an error, without operations or without a report is no figure', () => {
  assert.throws(() => parseFio(report(5, 10)), /fio failed with error 5/);
  assert.throws(() => parseFio(report(0, 0)), /did no operation/);
  assert.throws(() => parseFio('fio: engine nbd not loadable'), /printed no result: fio: engine nbd/);
});

test('the seed and the work are on the command line', () => {
  const words = fioArguments({
    target: { kind: 'nbd', uri: 'nbd+unix:///?socket=/s' },
    workload: workload('randread', 4096, 32),
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

test('reads and writes of one run are added up', () => {
  const part = (iops: number, median: number): object => ({
    iops,
    total_ios: iops * 2,
    clat_ns: { percentile: { '50.000000': median, '99.000000': median * 5 } },
  });
  const jobs = [{ error: 0, usr_cpu: 60, sys_cpu: 35, read: part(700, 2000), write: part(300, 9000) }];
  assert.deepEqual(parseFio(JSON.stringify({ jobs })), {
    operationsPerSecond: 1000,
    operations: 2000,
    medianLatencyUs: 2,
    latency99Us: 10,
    clientCoreShare: 0.95,
  });
});

test('connections, the mix, flushes and the raw file are on the command line', () => {
  const run = { sizeBytes: 8192, runtimeSeconds: 2, seed: 7 };
  const mixed = fioArguments({
    ...run,
    target: { kind: 'file', path: '/image', direct: true },
    workload: workload('randrw', 4096, 8, { connections: 4, flushEach: true }),
  });
  for (const word of [
    '--ioengine=io_uring',
    '--filename=/image',
    '--direct=1',
    '--rwmixread=70',
    '--numjobs=4',
    '--fsync=1',
  ]) {
    assert.ok(mixed.includes(word), word);
  }
});
