import assert from 'node:assert/strict';
import test from 'node:test';
import { childProcessorSeconds, copyArguments } from '../../bench/nbdcopy.ts';
import { workload } from '../../bench/workload.ts';

test("what nbdcopy used of the processor is the second line of the shell's times", () => {
  assert.equal(childProcessorSeconds('0m0.010000s 0m0.020000s\n0m0.250000s 1m0.500000s\n'), 60.75);
  assert.throws(() => childProcessorSeconds('nothing'), /times are not understood: nothing/);
});

test('a stream is read to nowhere, and written from the image, in requests of one size', () => {
  const run = { uri: 'nbd+unix:///?socket=/s', imagePath: '/image', sizeBytes: 8192 };
  const read = copyArguments({ ...run, workload: workload('read', 65_536, 16, { client: 'nbdcopy' }) });
  assert.deepEqual(read.slice(-2), ['nbd+unix:///?socket=/s', 'null:']);
  assert.ok(read.includes('--request-size=65536'));
  assert.ok(read.includes('--requests=16'));
  const written = copyArguments({ ...run, workload: workload('write', 65_536, 16, { client: 'nbdcopy' }) });
  assert.deepEqual(written.slice(-2), ['/image', 'nbd+unix:///?socket=/s']);
});
