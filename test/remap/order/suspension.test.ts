import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { sectorBytes } from '../../../src/block/block-device.ts';
import { delay } from '../../../src/block/clock.ts';
import { DeviceError } from '../../../src/block/device-error.ts';
import { Errno } from '../../../src/block/errno.ts';
import { MessageError } from '../../../src/remap/message/message-error.ts';
import { messageVerbs } from '../../../src/remap/message/remap-messages.ts';
import { resumeDeadlineMs, SuspendError, suspendDeadlineMs } from '../../../src/remap/order/suspension.ts';
import { finish, makeStack, patternOf, readSectors, type Stack, writeSectors } from '../remap-stack.ts';

/** Device operations submitted so far, on both disks. */
function submitted({ main, spare }: Stack): number {
  return [...main.operations, ...spare.operations].filter(({ phase }) => phase === 'submit').length;
}

/** Follows a request: what became of it, once. */
function follow(request: Promise<void>): { outcome: string; done: Promise<void> } {
  const followed = { outcome: 'waits', done: Promise.resolve() };
  followed.done = request.then(
    () => {
      followed.outcome = followed.outcome === 'waits' ? 'ok' : 'twice';
    },
    (error: unknown) => {
      assert.ok(error instanceof DeviceError, String(error));
      followed.outcome = followed.outcome === 'waits' ? error.kind : 'twice';
    },
  );
  return followed;
}

async function refused(promise: Promise<unknown>, code: SuspendError['code'], text: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof SuspendError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    assert.ok(!error.message.includes('\n'));
    return true;
  });
}

describe('R30 suspend', () => {
  it('R30 waits for what is under way, makes it durable, and touches no disk until resume', async () => {
    const stack = makeStack();
    const { clock, device, mainDisk } = stack;
    mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    const writes = [0, 80, 160].map((sector) =>
      follow(device.write(patternOf(sector, 8), sector * sectorBytes)),
    );
    await clock.run(device.suspend({ flush: true }));
    assert.deepEqual(
      writes.map(({ outcome }) => outcome),
      ['ok', 'ok', 'ok'],
    );
    assert.equal(device.suspended, true);
    assert.equal(device.inFlight, 0);
    const flushes = stack.main.operations.filter(({ kind, phase }) => kind === 'flush' && phase === 'settle');
    const lastWrite = stack.main.operations.findLast(({ kind, ok }) => kind === 'write' && ok);
    assert.ok(flushes.at(-1)!.sequence > lastWrite!.sequence, 'main was flushed behind its last write');

    const before = submitted(stack);
    const target = new Uint8Array(8 * sectorBytes);
    const held = [
      device.write(patternOf(0, 8, 2), 0),
      device.read(target, 80 * sectorBytes),
      device.flush(),
      device.discard(800 * sectorBytes, 4096),
      device.writeZeroes(808 * sectorBytes, 4096),
    ].map(follow);
    await clock.runFor(10 * 60_000);
    assert.deepEqual(
      held.map(({ outcome }) => outcome),
      Array(5).fill('waits'),
    );
    assert.equal(submitted(stack), before);

    await clock.run(device.resume());
    await clock.run(Promise.all(held.map(({ done }) => done)));
    assert.deepEqual(
      held.map(({ outcome }) => outcome),
      Array(5).fill('ok'),
    );
    assert.deepEqual(target, patternOf(80, 8));
    assert.deepEqual(await readSectors(stack, 0, 8), patternOf(0, 8, 2));
    await finish(stack);
  });

  it('R30 what was acknowledged before survives a power cut while suspended', async () => {
    const stack = makeStack();
    const { clock, device, mainDisk } = stack;
    await writeSectors(stack, 8, patternOf(8, 16));
    await clock.run(device.suspend({ flush: true }));
    mainDisk.powerCut();
    const survivor = mainDisk.open();
    const target = new Uint8Array(16 * sectorBytes);
    await clock.run(survivor.read(target, 8 * sectorBytes));
    assert.deepEqual(target, patternOf(8, 16));
  });

  it('R30 without flush it stops admission at once, and what is under way goes on', async () => {
    const stack = makeStack();
    const { clock, device, mainDisk, main } = stack;
    mainDisk.faults.stickNext(1);
    const stuck = follow(device.write(patternOf(0, 8), 0));
    await clock.run(device.suspend({ flush: false }));
    assert.equal(clock.nowMs(), 0);
    const held = follow(device.write(patternOf(8, 8), 8 * sectorBytes));
    await clock.runFor(1000);
    assert.deepEqual([stuck.outcome, held.outcome], ['waits', 'waits']);
    mainDisk.releaseStuck();
    await clock.run(stuck.done);
    assert.equal(stuck.outcome, 'ok');
    assert.equal(main.operations.filter(({ kind }) => kind === 'flush').length, 0);
    await clock.run(device.resume());
    await clock.run(held.done);
    await finish(stack);
  });

  it('R30 a second suspend is no error, and flushes what the first did not', async () => {
    const stack = makeStack();
    const { clock, device, main } = stack;
    await writeSectors(stack, 0, patternOf(0, 8));
    await clock.run(device.suspend({ flush: false }));
    const flushes = () =>
      main.operations.filter(({ kind, phase }) => kind === 'flush' && phase === 'settle').length;
    assert.equal(flushes(), 0);
    await clock.run(device.suspend({ flush: true }));
    await clock.run(device.suspend({ flush: true }));
    assert.equal(flushes(), 1);
    await clock.run(device.resume());
    await clock.run(device.resume());
    await finish(stack);
  });

  it('R30 with a disk that does not answer it fails at its deadline, in one line, and serves on', async () => {
    const stack = makeStack();
    const { clock, device, mainDisk } = stack;
    mainDisk.faults.stickNext(1, { kinds: ['write'] });
    const stuck = follow(device.write(patternOf(0, 8), 0));
    await clock.runFor(1);
    const suspended = device.suspend({ flush: true });
    const held = follow(device.read(new Uint8Array(sectorBytes), 800 * sectorBytes));
    const startMs = clock.nowMs();
    await clock.run(refused(suspended, 'SUSPEND_TIMED_OUT', /not suspended, 1 requests have had no answer/));
    assert.equal(clock.nowMs() - startMs, suspendDeadlineMs);
    await clock.run(held.done);
    assert.equal(held.outcome, 'ok');
    assert.equal(device.suspended, false);
    mainDisk.releaseStuck();
    await clock.run(stuck.done);
    await finish(stack);
  });

  it('R7, R30 a flush that fails is told, and told once more to the next who flushes', async () => {
    const stack = makeStack();
    const { clock, device, mainDisk } = stack;
    await writeSectors(stack, 0, patternOf(0, 8));
    mainDisk.faults.failFlush('once');
    const epoch = device.flushEpoch;
    await clock.run(
      refused(
        device.suspend({ flush: true }),
        'SUSPEND_FLUSH_FAILED',
        /not suspended, its flush failed: main/,
      ),
    );
    assert.equal(device.suspended, false);
    assert.equal(device.flushEpoch, epoch + 1);
    const flush = follow(device.flush());
    await clock.run(flush.done);
    assert.equal(flush.outcome, 'path');
    await clock.run(device.flush());
    await finish(stack);
  });

  it('R30, I21 with a spare that is away and has something to flush it fails, and main is served on', async () => {
    const stack = makeStack();
    const { clock, device, mainDisk, spareDisk } = stack;
    mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    await writeSectors(stack, 80, patternOf(80, 8));
    await clock.run(device.flush());
    // Into the slot: what is not flushed is on the spare.
    await writeSectors(stack, 80, patternOf(80, 8, 2));
    spareDisk.faults.setPathError(Errno.EIO);
    await clock.run(
      refused(device.suspend({ flush: true }), 'SUSPEND_FLUSH_FAILED', /not suspended, its flush failed/),
    );
    assert.equal(device.suspended, false);
    await writeSectors(stack, 800, patternOf(800, 8));
    spareDisk.faults.setPathError(undefined);
    await clock.run(device.resume());
    assert.deepEqual(await readSectors(stack, 80, 8), patternOf(80, 8, 2));
    await clock.run(device.flush().catch(() => undefined));
    await clock.run(device.suspend({ flush: true }));
    await clock.run(device.resume());
    await finish(stack);
  });

  it('R30 removed while suspended, each held request is refused once', async () => {
    const stack = makeStack();
    const { clock, device } = stack;
    await clock.run(device.suspend({ flush: true }));
    const before = submitted(stack);
    const held = [
      device.write(patternOf(0, 8), 0),
      device.read(new Uint8Array(sectorBytes), 0),
      device.flush(),
      device.discard(0, 4096),
      device.writeZeroes(0, 4096),
    ].map(follow);
    device.refuseHeld();
    await clock.run(Promise.all(held.map(({ done }) => done)));
    await clock.run(device.flushAdmitted());
    await finish(stack);
    assert.deepEqual(
      held.map(({ outcome }) => outcome),
      Array(5).fill('closed'),
    );
    assert.equal(submitted(stack), before);
    await clock.run(refused(device.suspend({ flush: true }), 'SUSPEND_ENDED', /removed/));
  });

  it('R30 closed while it suspends, it says so and closes', async () => {
    const stack = makeStack();
    const { clock, device } = stack;
    const write = follow(device.write(patternOf(0, 8), 0));
    const suspended = refused(device.suspend({ flush: true }), 'SUSPEND_ENDED', /meanwhile/);
    const closed = device.close();
    await clock.run(Promise.all([suspended, closed, write.done]));
    assert.equal(write.outcome, 'ok');
    await finish(stack);
  });

  it('R30 messages that only look are answered, others refused with one line', async () => {
    const stack = makeStack();
    const { clock, device } = stack;
    await clock.run(device.suspend({ flush: true }));
    const looking = [
      'help',
      'list',
      'lost',
      'map',
      'stats',
      'spare',
      'health',
      'policy',
      'clear_stats',
      'query 0',
    ];
    for (const text of looking) await clock.run(device.message(text.split(' ')));
    await assert.rejects(device.message(['frob']), /unknown message 'frob'/);
    const before = submitted(stack);
    const changing = messageVerbs.filter(
      (verb) => verb !== 'scrub' && !looking.join(' ').split(' ').includes(verb),
    );
    assert.ok(changing.length >= 7, changing.join());
    for (const text of [...changing, 'lost zero 0 yes', 'policy main-cache off', 'scrub start']) {
      await assert.rejects(device.message(text.split(' ')), (error: unknown) => {
        assert.ok(error instanceof MessageError, text);
        assert.equal(error.code, 'MESSAGE_SUSPENDED');
        assert.equal(error.message, `the device is suspended: resume it before '${text.split(' ')[0]}'`);
        return true;
      });
    }
    assert.equal(submitted(stack), before);
    await clock.run(device.resume());
    await clock.run(device.message(['remap', '0']));
    await finish(stack);
  });

  it('R30 resume waits for a disk that does not answer only until its deadline, and admits at once', async () => {
    const stack = makeStack();
    const { clock, core, device, mainDisk } = stack;
    await writeSectors(stack, 0, patternOf(0, 64));
    core.paths.mainReads.noteFailed();
    mainDisk.faults.stickNext(1);
    const startMs = clock.nowMs();
    await clock.run(device.resume());
    assert.ok(clock.nowMs() - startMs <= resumeDeadlineMs);
    assert.equal(mainDisk.faults.counts.stuck, 1);
    mainDisk.releaseStuck();
    await clock.run(delay(clock, 60_000));
    assert.deepEqual(await readSectors(stack, 0, 8), patternOf(0, 8));
    await finish(stack);
  });

  it('R16, R30 resume leaves main-writes-failed when main writes again, and stays in it when not', async () => {
    const stack = makeStack();
    const { clock, core, device, mainDisk } = stack;
    await writeSectors(stack, 0, patternOf(0, 64));
    // As the storm breaker does.
    core.paths.mainWrites.refuse();
    assert.equal(device.status().state, 'main-writes-failed');
    mainDisk.faults.setPathError(Errno.EIO);
    await clock.run(device.resume());
    assert.notEqual(device.status().state, 'ok');
    mainDisk.faults.setPathError(undefined);
    await clock.run(device.resume());
    assert.equal(device.status().state, 'ok');
    await writeSectors(stack, 0, patternOf(0, 8, 2));
    assert.deepEqual(await readSectors(stack, 0, 8), patternOf(0, 8, 2));
    assert.equal(core.table.totals().remappedGranules, 0);
    await finish(stack);
  });

  it('R30 suspended and resumed at any moment, every request is answered once and the bytes are right', async () => {
    const step = fc.record({
      verb: fc.constantFrom(
        'write' as const,
        'read' as const,
        'flush' as const,
        'suspend' as const,
        'resume' as const,
      ),
      block: fc.nat(15),
      waitMs: fc.constantFrom(0, 0, 1, 5),
      flush: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.nat(), async (steps, seed) => {
        const stack = makeStack({ seed: `suspend ${seed}` });
        const { clock, device, mainDisk } = stack;
        mainDisk.faults.addBadSectors(24, 3, { on: 'write' });
        const busy = new Set<number>();
        const versions = new Map<number, number>();
        const all: { outcome: string; done: Promise<void> }[] = [];
        const suspends: Promise<unknown>[] = [];
        for (const [index, { verb, block, waitMs, flush }] of steps.entries()) {
          if (verb === 'suspend') {
            suspends.push(
              device.suspend({ flush }).catch((error: unknown) => assert.ok(error instanceof SuspendError)),
            );
          } else if (verb === 'resume') {
            await clock.run(device.resume());
          } else if (verb === 'flush') {
            all.push(follow(device.flush()));
          } else if (!busy.has(block)) {
            busy.add(block);
            const offset = block * 8 * sectorBytes;
            const target = new Uint8Array(8 * sectorBytes);
            const expected = versions.get(block);
            if (verb === 'write') versions.set(block, index + 1);
            const request =
              verb === 'write'
                ? device.write(patternOf(block * 8, 8, index + 1), offset)
                : device.read(target, offset).then(() => {
                    const bytes =
                      expected === undefined
                        ? new Uint8Array(target.length)
                        : patternOf(block * 8, 8, expected);
                    assert.deepEqual(target, bytes);
                  });
            all.push(follow(request.finally(() => busy.delete(block))));
          }
          await clock.run(delay(clock, waitMs));
        }
        await clock.run(device.resume());
        await clock.run(Promise.all([...all.map(({ done }) => done), ...suspends]));
        await clock.run(device.resume());
        assert.ok(all.every(({ outcome }) => outcome === 'ok'));
        for (const [block, version] of versions) {
          assert.deepEqual(await readSectors(stack, block * 8, 8), patternOf(block * 8, 8, version));
        }
        await finish(stack);
      }),
      { numRuns: 40 },
    );
  });
});
