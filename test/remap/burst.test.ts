import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { finish, makeStack, patternOf, remappedGranules, type Stack } from './remap-stack.ts';

const badGranules = 10_000;
const mainBytes = 64 << 20;
/** The slowest request of a simulated disk: one in 50 takes ten times as long. */
const mainLatencyMaxMs = 20;

/** Every granule below `badGranules` fails writes; the others are well. */
function burstStack(): Stack {
  const stack = makeStack({ mainBytes, spareBytes: mainBytes, remapBytes: 4 << 20 });
  for (let granule = 0; granule < badGranules; granule += 1) {
    stack.mainDisk.faults.addBadSectors(granule * 8, 1, { on: 'write' });
  }
  return stack;
}

/** One request on healthy granules: sent to main before the call returns, answered when main has answered it. */
async function healthyRequest(stack: Stack, turn: number): Promise<void> {
  const { clock, device, main } = stack;
  const granule = badGranules + turn;
  const before = main.operations.length;
  const sentMs = clock.nowMs();
  const request =
    turn % 2 === 0
      ? device.write(patternOf(granule * 8, 8), granule * 4096)
      : device.read(new Uint8Array(4096), granule * 4096);
  assert.equal(main.operations.length, before + 1, 'R36 sent in the same turn');
  const sent = main.operations[before]!;
  assert.equal(sent.offset, granule * 4096);
  await request;
  const answeredMs = clock.nowMs();
  const settled = main.operations.findLast((one) => one.submitSequence === sent.sequence)!;
  assert.equal(settled.phase, 'settle');
  assert(answeredMs - sentMs <= mainLatencyMaxMs, 'R36 answered with main’s own latency');
}

describe('I2 R36 a burst of ten thousand new bad granules', () => {
  it('never makes a healthy request wait for our locks, slots or queues', async () => {
    const stack = burstStack();
    let done = 0;
    const writes = Array.from({ length: badGranules }, (_, granule) =>
      stack.device.write(patternOf(granule * 8, 8), granule * 4096).then(() => {
        done += 1;
      }),
    );
    let turn = 0;
    let locksMax = 0;
    const healthy: Promise<void>[] = [];
    while (done < badGranules) {
      healthy.push(healthyRequest(stack, turn));
      turn += 1;
      locksMax = Math.max(locksMax, stack.core.locks.heldCount);
      await stack.clock.runFor(1);
    }
    await stack.clock.run(Promise.all([...writes, ...healthy]));
    assert(turn > 100, `${turn} healthy requests`);
    assert(locksMax > 100, `${locksMax} locks were held at once`);
    assert.equal(remappedGranules(stack).length, badGranules);
    await finish(stack);
  });
});
