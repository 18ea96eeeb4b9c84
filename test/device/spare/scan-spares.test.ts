import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BoundedLooks } from '../../../src/device/spare/scan-spares.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';

test('R36 a disk that hangs is asked once, however often somebody looks, and costs each look its deadline', async () => {
  const clock = new VirtualClock(new SeededRandom('looks'));
  const looks = new BoundedLooks<string>(clock, 5_000);
  let asked = 0;
  let answer: (text: string) => void = () => undefined;
  const hanging = (): Promise<string> => {
    asked += 1;
    return new Promise((resolve) => {
      answer = resolve;
    });
  };
  for (let look = 0; look < 3; look += 1) {
    const fromMs = clock.nowMs();
    await assert.rejects(clock.run(looks.run('/dev/sdx', hanging)), /\/dev\/sdx: no answer within 5 s/);
    assert.equal(clock.nowMs() - fromMs, 5_000);
  }
  assert.equal(asked, 1);
  const late = looks.run('/dev/sdx', hanging);
  answer('found');
  assert.equal(await clock.run(late), 'found');
  assert.equal(await clock.run(looks.run('/dev/sdx', () => Promise.resolve('again'))), 'again');
  await assert.rejects(clock.run(looks.run('/dev/sdy', () => Promise.reject(new Error('gone')))), /gone/);
});
