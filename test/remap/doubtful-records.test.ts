import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sectorBytes } from '../../src/block/block-device.ts';
import { Errno } from '../../src/block/errno.ts';
import { makeStack, patternOf, type Stack, type StackOptions, writeSectors } from './remap-stack.ts';

/**
 * A read has salvaged sector 82 and moves it; its record waits for `letGo`, and is in doubt then. What is sent meanwhile to
 * the sector waits for the move's lock.
 */
async function moveInDoubt(options: StackOptions = {}): Promise<{ stack: Stack; letGo: () => void }> {
  const stack = makeStack(options);
  await writeSectors(stack, 80, patternOf(80, 8));
  stack.mainDisk.faults.failNext(3, { kinds: ['read'], sector: 82, errno: Errno.ENODATA });
  stack.metadata.failures.push('METADATA_FAILED');
  let letGo = (): void => {};
  stack.metadata.held = new Promise((resolve) => {
    letGo = resolve;
  });
  const reading = stack.device.read(new Uint8Array(8 * sectorBytes), 80 * sectorBytes);
  await stack.clock.runFor(50);
  assert.equal(stack.core.locks.heldCount, 1, 'the move is under way');
  void reading.catch(() => assert.fail('the reader has its bytes'));
  return { stack, letGo };
}

describe('M1 behind a move whose record is in doubt', () => {
  const bytes = patternOf(82, 1, 2);
  const requests: Readonly<Record<string, (stack: Stack) => Promise<void>>> = {
    write: ({ device }) => device.write(bytes, 82 * sectorBytes),
    'write of a part of a block': ({ device }) => device.writePart(bytes, 82 * sectorBytes, 0),
    'write-zeroes': ({ device }) => device.writeZeroes(82 * sectorBytes, sectorBytes),
  };
  for (const [name, send] of Object.entries(requests)) {
    it(`a ${name} that waited is refused: after a crash the record would shadow it`, async () => {
      const { stack, letGo } = await moveInDoubt();
      const { writes, writeZeroes } = stack.mainDisk.counts;
      const sending = send(stack).then(
        () => 'acknowledged',
        () => 'refused',
      );
      await stack.clock.runFor(50);
      letGo();
      assert.equal(await stack.clock.run(sending), 'refused');
      assert.equal(stack.metadata.failuresInjected, 1);
      assert.deepEqual(
        [stack.mainDisk.counts.writes, stack.mainDisk.counts.writeZeroes],
        [writes, writeZeroes],
      );
      stack.metadata.recoverable = true;
      await stack.clock.runFor(2000);
      await stack.clock.run(send(stack));
      await stack.clock.run(stack.device.close());
    });
  }
});

describe('M11 when somebody else has the spare', () => {
  it('no message writes to main or to a slot any more', async () => {
    const stack = makeStack();
    await writeSectors(stack, 0, patternOf(0, 200));
    await stack.clock.run(stack.device.message(['remap', '80', '8']));
    stack.device.refuseWrites();
    const before = [stack.mainDisk.counts.writes, stack.spareDisk.counts.writes];
    const reply = await stack.clock.run(stack.device.message(['unremap', '80', '8']));
    assert.match(reply, /home 0.*\nstopped: the record cannot be stored on the spare/);
    await assert.rejects(stack.clock.run(stack.device.message(['remap', '160', '8'])), /metadata-failed/);
    assert.deepEqual([stack.mainDisk.counts.writes, stack.spareDisk.counts.writes], before);
    await stack.clock.run(stack.device.close());
  });
});
