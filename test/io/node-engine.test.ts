import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Apart } from '../../src/io/apart.ts';
import { NodeEngine, threadShares } from '../../src/io/node-engine.ts';
import { threadPoolSize } from '../../src/io/thread-pool.ts';
import { EngineFixture } from './engine-fixture.ts';
import { laneOn } from './test-lane.ts';

const blockBytes = 512;

describe('threads of libuv', () => {
  it('R36 leave two hung disks and others beside them room', () => {
    const { inFlightMax, laneDepthMax } = threadShares(64);
    assert.ok(laneDepthMax * 2 < inFlightMax, 'a third disk');
    assert.ok(inFlightMax < 64, 'everybody else');
  });

  it('are shared out whatever their number is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1024 }), (threads) => {
        const { inFlightMax, laneDepthMax } = threadShares(threads);
        assert.ok(laneDepthMax >= 1 && laneDepthMax <= inFlightMax);
        assert.ok(inFlightMax < threads || threads === 1);
      }),
    );
  });

  it('are as many as the environment says, by the rules of libuv', () => {
    const sizeFor = (value?: string): number =>
      threadPoolSize(value === undefined ? {} : { UV_THREADPOOL_SIZE: value });
    assert.deepEqual(
      [sizeFor(), sizeFor('64'), sizeFor('0'), sizeFor('many'), sizeFor('5000')],
      [4, 64, 1, 1, 1024],
    );
  });
});

/** What both engines do is in engine.test.ts. */
describe('the engine on libuv', { timeout: 20_000 }, () => {
  let fixture: EngineFixture<NodeEngine>;
  let engine: NodeEngine;
  let pipe: number;
  let buffer: Uint8Array;
  let reads: Promise<void>[];

  beforeEach(() => {
    fixture = new EngineFixture((memory) => new NodeEngine({ memory, threads: 64 }));
    ({ engine } = fixture);
    pipe = fixture.openPipe();
    buffer = fixture.take(blockBytes);
    reads = [];
  });

  afterEach(async () => {
    mock.restoreAll();
    writeSync(pipe, new Uint8Array(blockBytes * reads.length));
    await Promise.all(reads);
    fixture.memory.arena.release(buffer);
    await fixture.dispose();
  });

  /** Reads that nobody answers, as `even:0 odd:1`: how, and which block. Resolves to how many of them the kernel has. */
  async function startedOf(requests: string): Promise<number> {
    const lane = laneOn(pipe);
    for (const [, kind, block] of requests.matchAll(/(no|even|odd):(\d)/g)) {
      const apart = kind === 'even' ? Apart.even : kind === 'odd' ? Apart.odd : Apart.no;
      reads.push(engine.read(lane, buffer, Number(block) * blockBytes, undefined, apart));
    }
    await sleep(10);
    return engine.inFlight;
  }

  for (const [title, requests, started] of [
    ['neighbours that nobody keeps apart go together', 'no:0 no:1', 2],
    ['even and odd neighbours go one after the other', 'even:0 odd:1', 1],
    ['also the one before', 'odd:1 even:0', 1],
    ['a plain one waits for a neighbour that is kept apart', 'even:0 no:1', 1],
    ['and the other way round', 'no:0 odd:1', 1],
    ['who is no neighbour waits for nobody', 'even:0 odd:1 even:2', 2],
    ['nor who asks for the same block again', 'even:0 odd:0', 2],
  ] as const) {
    it(`I17 ${title}`, async () => {
      assert.equal(await startedOf(requests), started);
      assert.equal(reads.length, requests.split(' ').length);
    });
  }

  it('R36 a disk that hangs takes no more threads than it leaves free', async () => {
    const pipes = Array.from({ length: 6 }, () => fixture.openPipe());
    const perDisk = 30;
    const lanes = pipes.map((disk) => laneOn(disk));
    const hung = lanes.flatMap((lane) =>
      Array.from({ length: perDisk }, () => engine.read(lane, buffer.subarray(0, 1), 0)),
    );
    assert.deepEqual(
      lanes.map(({ threads }) => threads),
      [24, 16, 8, 4, 2, 1],
    );
    for (const disk of pipes) writeSync(disk, new Uint8Array(perDisk));
    await Promise.all(hung);
    assert.deepEqual(new Set(lanes.map(({ threads }) => threads)), new Set([0]));
  });

  it('R36 a neighbour that is not answered is waited for no longer than a disk would hold it back', async () => {
    const started = performance.now();
    assert.equal(await startedOf('even:0 odd:1'), 1);
    mock.timers.enable({ apis: ['setTimeout'] });
    const laterMs = performance.now() - started + 6000;
    mock.method(performance, 'now', () => started + laterMs);
    // Whoever comes next finds it free.
    reads.push(engine.read(laneOn(pipe), buffer, 9 * blockBytes));
    assert.equal(engine.inFlight, 3);
    mock.timers.reset();
  });
});
