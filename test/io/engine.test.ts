import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { afterEach, beforeEach, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AssertionFailure } from '../../src/block/assert.ts';
import { Errno } from '../../src/block/errno.ts';
import type { ArenaMemory } from '../../src/io/arena-memory.ts';
import type { IoEngine } from '../../src/io/io-engine.ts';
import { threadShares } from '../../src/io/node-engine.ts';
import { laneWaitingMax } from '../../src/io/request-scheduler.ts';
import { threadPoolSize } from '../../src/io/thread-pool.ts';
import { describeOnEngines, type EngineFixture, engineFixture, testFileBytes } from './engine-fixture.ts';
import { failureOf, laneOn } from './test-lane.ts';
import { leastLateMs } from './timer-lateness.ts';

const blockBytes = 4096;

describeOnEngines('an engine', (choice) => {
  let fixture: EngineFixture<IoEngine>;
  let engine: IoEngine;
  let memory: ArenaMemory;

  beforeEach(() => {
    fixture = engineFixture(choice);
    ({ engine, memory } = fixture);
  });

  afterEach(() => fixture.dispose());

  const take = (length: number): Uint8Array => fixture.take(length);
  const openFile = (): number => fixture.openFile();
  const openPipe = (): number => fixture.openPipe();

  const mixedRequests = choice === 'uring' ? 100_000 : 20_000;
  it(`I8 answers each of ${mixedRequests} mixed requests once, with the right bytes`, async () => {
    const lane = laneOn(openFile());
    const workers = 64;
    const perWorker = Math.ceil(mixedRequests / workers);
    const blocksPerWorker = testFileBytes / blockBytes / workers;
    let answers = 0;
    await Promise.all(
      Array.from({ length: workers }, async (_, worker) => {
        // Each worker has blocks of its own, and knows what is in them.
        const content = new Uint8Array(blocksPerWorker);
        const buffer = take(blockBytes);
        for (let count = 0; count < perWorker; count += 1) {
          const index = (count * 7 + worker) % blocksPerWorker;
          const offset = (worker * blocksPerWorker + index) * blockBytes;
          if (count % 300 === 299) {
            await engine.syncData(lane);
          } else if (count % 8 === 0) {
            const value = (count + worker) & 0xff;
            buffer.fill(value);
            await engine.write(lane, buffer, offset, false);
            content[index] = value;
          } else {
            buffer[0] = 0xaa;
            buffer[blockBytes - 1] = 0xaa;
            await engine.read(lane, buffer, offset);
            assert.equal(buffer[0], content[index]);
            assert.equal(buffer[blockBytes - 1], content[index]);
          }
          answers += 1;
        }
        memory.arena.release(buffer);
      }),
    );
    assert.equal(answers, workers * perWorker);
    assert.equal(engine.inFlight, 0);
    assert.equal(lane.inFlight, 0);
  });

  it('keeps requests above the limit of their lane waiting, first come, first served', async () => {
    const fd = openPipe();
    const lane = laneOn(fd, 1);
    const order: number[] = [];
    const reads = Array.from({ length: 6 }, async (_, index) => {
      const target = new Uint8Array(1);
      const buffer = take(1);
      await engine.read(lane, buffer, 0);
      target.set(buffer);
      memory.arena.release(buffer);
      order.push(index);
      return target[0];
    });
    await sleep(20);
    assert.equal(engine.inFlight, 1);
    assert.equal(lane.inFlight, 6);
    for (let value = 0; value < 6; value += 1) {
      writeSync(fd, Uint8Array.of(value));
      await reads[value];
    }
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(await Promise.all(reads), [0, 1, 2, 3, 4, 5]);
  });

  it('serves other lanes while one is full of requests that are never answered (R36)', async () => {
    const pipe = openPipe();
    const stuck = laneOn(pipe, 256);
    const buffer = take(1);
    const hung = Array.from({ length: 400 }, () => engine.read(stuck, buffer, 0));
    const settled = Promise.allSettled(hung);
    await sleep(5);
    const lane = laneOn(openFile());
    const target = take(blockBytes);
    await engine.read(lane, target, 0);
    const stuckMax = choice === 'uring' ? 256 : threadShares(threadPoolSize()).laneDepthMax;
    assert.equal(engine.inFlight, stuckMax);
    writeSync(pipe, new Uint8Array(hung.length));
    await settled;
    memory.arena.release(buffer);
    memory.arena.release(target);
  });

  it('refuses a request when too many wait already', async () => {
    const pipe = openPipe();
    const lane = laneOn(pipe, 1);
    const buffer = take(1);
    const waiting = Array.from({ length: laneWaitingMax + 1 }, () => engine.read(lane, buffer, 0));
    const settled = Promise.allSettled(waiting);
    assert.equal((await failureOf(engine.read(lane, buffer, 0))).errno, Errno.EBUSY);
    writeSync(pipe, new Uint8Array(waiting.length));
    const outcomes = await settled;
    assert.ok(outcomes.every(({ status }) => status === 'fulfilled'));
    memory.arena.release(buffer);
  });

  it('R15 continues a short count', async () => {
    const fd = openPipe();
    const lane = laneOn(fd);
    const buffer = take(10);
    const reading = engine.read(lane, buffer, 0);
    for (let part = 0; part < 5; part += 1) {
      writeSync(fd, Uint8Array.of(part * 2, part * 2 + 1));
      await sleep(2);
    }
    await reading;
    assert.deepEqual([...buffer], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    memory.arena.release(buffer);
  });

  it('says how much is good when a transfer ends early', async () => {
    const lane = laneOn(openFile());
    const buffer = take(blockBytes * 2);
    const failure = await failureOf(engine.read(lane, buffer, testFileBytes - blockBytes));
    assert.equal(failure.errno, Errno.ENXIO);
    assert.equal(failure.done, blockBytes);
    assert.equal(failure.length, blockBytes * 2);
    memory.arena.release(buffer);
  });

  it('R36 I27 fires the deadline of a hung request within 50 ms, and holds its buffer until the kernel answers', async () => {
    const fd = openPipe();
    const lane = laneOn(fd);
    const buffer = take(4);
    const started = performance.now();
    const failure = await failureOf(engine.read(lane, buffer, 0, 100));
    const elapsedMs = performance.now() - started;
    assert.ok(elapsedMs >= 100 && elapsedMs < 150, `${elapsedMs} ms`);
    assert.ok(failure.timedOut);
    assert.equal(engine.zombies, 1);
    assert.equal(lane.zombies, 1);

    // The caller gives its buffer back; the kernel still has it.
    memory.arena.release(buffer);
    assert.equal(memory.arena.usedBytes, 4096);
    const next = take(4);
    assert.notEqual(next.byteOffset, buffer.byteOffset, 'nobody else gets that memory');
    memory.arena.release(next);

    // The late answer goes into memory that is nobody else's, and frees it.
    writeSync(fd, Uint8Array.of(1, 2, 3, 4));
    const drained = lane.close();
    await drained;
    assert.equal(engine.zombies, 0);
    assert.equal(memory.arena.usedBytes, 0);
  });

  it('fires the deadlines of requests that wait behind a hung one', async () => {
    const pipe = openPipe();
    const lane = laneOn(pipe, 1);
    const buffer = take(4);
    const failures = await Promise.all([
      failureOf(engine.read(lane, buffer, 0, 60)),
      failureOf(engine.read(lane, buffer, 0, 20)),
      failureOf(engine.read(lane, buffer, 0, 40)),
    ]);
    assert.ok(failures.every(({ timedOut }) => timedOut));
    assert.equal(engine.zombies, 1, 'only the first ever reached the kernel');
    memory.arena.release(buffer);
    writeSync(pipe, new Uint8Array(4));
    await lane.close();
  });

  it('does not reject a request that was answered in time', async () => {
    const fd = openPipe();
    const lane = laneOn(fd);
    const buffer = take(1);
    const reading = engine.read(lane, buffer, 0, 30);
    writeSync(fd, Uint8Array.of(7));
    await reading;
    await sleep(50);
    assert.equal(buffer[0], 7);
    assert.equal(engine.zombies, 0);
    memory.arena.release(buffer);
  });

  it('I27 close waits for zombies', async () => {
    const fd = openPipe();
    const lane = laneOn(fd);
    const buffer = take(1);
    // Threads ask a pipe once for a place; on a busy machine the deadline would pass before that answer.
    writeSync(fd, Uint8Array.of(1));
    await engine.read(lane, buffer, 0);
    await failureOf(engine.read(lane, buffer, 0, 10));
    memory.arena.release(buffer);
    let closed = false;
    const closing = engine.close().then(() => {
      closed = true;
    });
    await sleep(50);
    assert.equal(closed, false);
    assert.equal(memory.arena.usedBytes, 4096);
    writeSync(fd, Uint8Array.of(1));
    await closing;
    assert.equal(memory.arena.usedBytes, 0);
  });

  it('treats a request after close as our own bug', async () => {
    const lane = laneOn(openFile());
    await lane.close();
    const buffer = take(1);
    assert.throws(() => engine.read(lane, buffer, 0), AssertionFailure);
    memory.arena.release(buffer);
  });

  it('burns no CPU while it is idle, not even with a request in the kernel', async () => {
    const pipe = openPipe();
    const lane = laneOn(pipe);
    const buffer = take(1);
    const settled = Promise.allSettled([engine.read(lane, buffer, 0)]);
    await sleep(50);
    const { submissions } = engine;
    const before = process.cpuUsage();
    await sleep(1000);
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 50_000, `${user + system} µs of CPU in a second of nothing`);
    assert.equal(engine.submissions, submissions);
    writeSync(pipe, new Uint8Array(1));
    await settled;
    memory.arena.release(buffer);
  });

  it('lets timers fire while it is busy', async () => {
    const lane = laneOn(openFile());
    let busy = true;
    const workers = Array.from({ length: 32 }, async () => {
      const buffer = take(blockBytes);
      while (busy) await engine.read(lane, buffer, 0);
      memory.arena.release(buffer);
    });
    const lateMs = await leastLateMs(100);
    busy = false;
    await Promise.all(workers);
    assert.ok(lateMs < 50, `${lateMs} ms late`);
  });
});
