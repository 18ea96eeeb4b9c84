import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Errno } from '../../src/block/errno.ts';
import { UringEngine } from '../../src/io/uring-engine.ts';
import { EngineFixture } from './engine-fixture.ts';
import { failureOf, laneOn } from './test-lane.ts';

const blockBytes = 4096;

/** What both engines do is in engine.test.ts. */
describe('the io_uring engine', { timeout: 20_000 }, () => {
  let fixture: EngineFixture<UringEngine>;
  let engine: UringEngine;

  beforeEach(() => {
    fixture = new EngineFixture((memory) => new UringEngine({ memory }));
    ({ engine } = fixture);
  });

  afterEach(() => fixture.dispose());

  it('submits first when the submission queue is full', async () => {
    const small = new UringEngine({ memory: fixture.memory, submissionEntries: 4, inFlightMax: 64 });
    const fd = fixture.openFile();
    writeSync(fd, new Uint8Array(blockBytes).fill(9), 0, blockBytes, blockBytes);
    const lane = laneOn(fd, 1000);
    const buffers = Array.from({ length: 1000 }, () => fixture.take(blockBytes));
    await Promise.all(buffers.map((buffer) => small.read(lane, buffer, blockBytes)));
    for (const buffer of buffers) {
      assert.ok(buffer.every((byte) => byte === 9));
      fixture.memory.arena.release(buffer);
    }
    await small.close();
  });

  it('cancels what the kernel has and what still waits', async () => {
    const lane = laneOn(fixture.openPipe(), 2);
    const buffer = fixture.take(1);
    const failures = Array.from({ length: 5 }, () => failureOf(engine.read(lane, buffer, 0)));
    await sleep(5);
    engine.cancelAll(lane);
    for (const failure of await Promise.all(failures)) assert.equal(failure.errno, Errno.ECANCELED);
    assert.equal(lane.inFlight, 0);
    fixture.memory.arena.release(buffer);
  });

  it('still wakes up after garbage collections: the poll handle is not garbage', async () => {
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    assert.ok(typeof collect === 'function');
    const fd = fixture.openPipe();
    const lane = laneOn(fd);
    for (let round = 0; round < 5; round += 1) {
      const buffer = fixture.take(1);
      const reading = engine.read(lane, buffer, 0, 2000);
      // Asleep: from here only the eventfd wakes the engine.
      await sleep(20);
      collect();
      await nextTurn();
      collect();
      await nextTurn();
      writeSync(fd, Uint8Array.of(round));
      await reading;
      assert.equal(buffer[0], round);
      fixture.memory.arena.release(buffer);
    }
  });
});
