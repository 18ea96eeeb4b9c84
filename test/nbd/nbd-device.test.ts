import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DeviceError, deviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { OpenError } from '../../src/io/open-error.ts';
import { DoubtfulWrites, doubtfulRangesMax } from '../../src/nbd/doubtful-writes.ts';
import { connectTimeoutMs } from '../../src/nbd/nbd-connector.ts';
import { openNbdDevice } from '../../src/nbd/open-nbd-device.ts';
import { replyTimeoutMs } from '../../src/nbd/remote-link.ts';
import { describeBlockDevice } from '../block/device-contract.ts';
import { FailingDevice, HeldDevice } from './controlled-devices.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { address, Lab } from './remote-lab.ts';
import { ServerFixture } from './server-fixture.ts';

const mebibyte = 1024 * 1024;
function memory(sizeBytes: number = mebibyte): MemoryDevice {
  return new MemoryDevice({ name: 'disk', sizeBytes });
}

async function gone(promise: Promise<unknown>, text: RegExp = /./): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof DeviceError, String(error));
    assert.equal(error.kind, 'path');
    assert.equal(error.errno, Errno.ENODEV);
    assert.match(error.message, text);
    assert.ok(!error.message.includes('\n'));
    return true;
  });
}

function followed(request: Promise<void>): { outcome: string } {
  const follow = { outcome: 'waits' };
  request.then(
    () => {
      follow.outcome = 'ok';
    },
    (error: unknown) => {
      follow.outcome = error instanceof DeviceError ? error.kind : String(error);
    },
  );
  return follow;
}

describeBlockDevice('NbdDevice', async () => {
  const lab = await Lab.open(memory());
  return { device: lab.disk, dispose: () => lab.end() };
});

describeBlockDevice('NbdDevice over a server that takes short requests', async () => {
  const lab = await Lab.open(
    new MemoryDevice({ name: 'disk', sizeBytes: mebibyte, logicalBlockBytes: 4096 }),
    {
      // The largest piece that its arena can give is what it advertises.
      arenaBytes: 640 * 1024,
      stream: { receiveBytesMax: 1000 },
    },
  );
  assert.ok(lab.disk.exported.maximumPayloadBytes <= 128 * 1024, `${lab.disk.exported.maximumPayloadBytes}`);
  return { device: lab.disk, dispose: () => lab.end() };
});

describe('NbdDevice: errors', () => {
  it('names what of a long request failed, from the first bad block to the end of its part, as suspect', async () => {
    const failing = new FailingDevice(memory(4 * mebibyte), 2.5 * mebibyte, 512);
    failing.kind = 'suspect';
    const lab = await Lab.open(failing);
    await assert.rejects(lab.disk.read(new Uint8Array(4 * mebibyte), 0), (error: unknown) => {
      assert.ok(error instanceof DeviceError);
      assert.deepEqual(error.ranges, [
        { offset: 2.5 * mebibyte, length: mebibyte / 2, kind: 'suspect', errno: Errno.EIO },
      ]);
      return true;
    });
    assert.equal(failing.failures, 1);
    await lab.end();
  });

  it('a server that is full is no bad disk', async () => {
    const failing = new FailingDevice(memory(), 0, 512);
    failing.kind = 'no-space';
    const lab = await Lab.open(failing);
    await assert.rejects(lab.disk.write(new Uint8Array(512), 0), (error: unknown) => {
      return error instanceof DeviceError && error.kind === 'no-space';
    });
    await lab.end();
  });

  it('a server that says nothing for its time is taken for gone', async () => {
    const held = new HeldDevice(memory());
    const lab = await Lab.open(held);
    const read = gone(lab.disk.read(new Uint8Array(512), 0));
    await settle();
    lab.fixture.clock.advance(replyTimeoutMs);
    await read;
    held.releaseAll();
    await lab.disk.reopen();
    await lab.disk.read(new Uint8Array(512), 0);
    await lab.end();
  });

  it('R36 a server that says nothing after a reconnection is dropped too, though nobody asks anything more', async () => {
    const held = new HeldDevice(memory());
    const lab = await Lab.open(held);
    const before = gone(lab.disk.read(new Uint8Array(512), 0));
    await settle();
    lab.fixture.clock.advance(replyTimeoutMs / 2);
    await lab.cut();
    await before;
    await lab.disk.reopen();
    const after = followed(lab.disk.read(new Uint8Array(512), 0));
    await settle();
    lab.fixture.clock.advance(replyTimeoutMs - 1);
    await settle();
    assert.equal(after.outcome, 'waits', 'the time of the old connection does not count');
    lab.fixture.clock.advance(1);
    await settle();
    assert.equal(after.outcome, 'path');
    held.releaseAll();
    await lab.end();
  });

  it('a server that answers slowly but answers is kept', async () => {
    const held = new HeldDevice(memory());
    const lab = await Lab.open(held);
    const reads = [0, 1, 2].map((at) => lab.disk.read(new Uint8Array(512), at * 512));
    for (const read of reads) {
      await settle();
      lab.fixture.clock.advance(replyTimeoutMs - 1);
      held.releaseOne();
      await read;
    }
    await lab.end();
  });

  it('an export that is not there, or read-only, is refused in one line', async () => {
    const fixture = new ServerFixture({ device: memory() });
    const open = (exportName: string) =>
      openNbdDevice({
        address: { ...address, exportName },
        clock: fixture.clock,
        readOnly: false,
        stream: () => Promise.resolve(fixture.connect().client),
      });
    await assert.rejects(open('other'), (error: unknown) => {
      assert.ok(error instanceof OpenError);
      assert.match(error.message, /^nbd:\/\/test\/disk: the NBD server refused the export "other"/);
      return true;
    });
    const clock = new ManualClock();
    const silent = openNbdDevice({
      address,
      clock,
      readOnly: false,
      stream: () => new Promise(() => undefined),
    });
    const refused = assert.rejects(silent, /no answer in 10 s/);
    clock.advance(connectTimeoutMs);
    await refused;
    assert.equal(clock.timerCount, 0);
    await fixture.end();
  });
});

describe('R33 a connection that is lost', () => {
  it('R33 fails what is under way and what comes with ENODEV, until it is opened again', async () => {
    const held = new HeldDevice(memory());
    const lab = await Lab.open(held);
    const requests = [
      lab.disk.read(new Uint8Array(512), 0),
      lab.disk.write(new Uint8Array(512), 512),
      lab.disk.flush(),
    ];
    const all = requests.map((request) => gone(request));
    await settle();
    assert.equal(await lab.disk.identityTrouble(), undefined);
    await lab.cut();
    await Promise.all(all);
    assert.equal(await lab.disk.identityTrouble(), 'the connection to its NBD server is lost');
    await gone(lab.disk.read(new Uint8Array(512), 0), /the connection is lost/);
    lab.server = undefined;
    await gone(lab.disk.reopen(), /nobody listens/);
    lab.server = lab.fixture;
    held.releaseAll();
    await Promise.all([lab.disk.reopen(), lab.disk.reopen()]);
    await lab.disk.read(new Uint8Array(512), 0);
    await lab.end();
  });

  it('R33 a write without an answer, sent again, is answered only when a flush behind it has succeeded', async () => {
    const before = new HeldDevice(memory());
    const lab = await Lab.open(before);
    const lost = gone(lab.disk.write(new Uint8Array(4096).fill(1), 8192));
    await settle();
    await lab.cut();
    await lost;
    // A server of ours lets nothing overtake what the lost connection left behind.
    before.releaseOne();
    await lab.disk.reopen();
    before.calls.length = 0;
    const replays = [2, 3].map((value) => followed(lab.disk.write(new Uint8Array(4096).fill(value), 8192)));
    const elsewhere = followed(lab.disk.write(new Uint8Array(512).fill(9), 0));
    await settle();
    assert.deepEqual(before.calls, ['write 0 512', 'write 8192 4096'], 'the second one waits for its lock');
    before.releaseNewest();
    await settle();
    assert.deepEqual(before.calls, ['write 0 512', 'write 8192 4096', 'flush']);
    assert.deepEqual(
      replays.map(({ outcome }) => outcome),
      ['waits', 'waits'],
    );
    before.releaseNewest();
    await settle();
    assert.deepEqual(
      replays.map(({ outcome }) => outcome),
      ['ok', 'waits'],
    );
    before.releaseAll();
    await settle();
    assert.deepEqual(before.calls, ['write 0 512', 'write 8192 4096', 'flush', 'write 8192 4096']);
    assert.deepEqual(
      [...replays, elsewhere].map(({ outcome }) => outcome),
      ['ok', 'ok', 'ok'],
    );
    const target = new Uint8Array(4096);
    await lab.disk.read(target, 8192);
    assert.ok(target.every((byte) => byte === 3));
    await lab.end();
  });

  it('R33 a replay whose flush fails is not answered well, and the range stays in doubt', async () => {
    let failures = 1;
    class FlushFails extends FilterDevice {
      flushes = 0;
      override flush(): Promise<void> {
        this.flushes += 1;
        if (failures === 0) return super.flush();
        failures -= 1;
        return Promise.reject(deviceError(this.name, 'suspect', 0, 512));
      }
    }
    const held = new HeldDevice(memory());
    const flushing = new FlushFails(held);
    const lab = await Lab.open(flushing);
    const lost = gone(lab.disk.write(new Uint8Array(512), 0));
    await settle();
    await lab.cut();
    await lost;
    held.releaseAll();
    await lab.disk.reopen();
    await assert.rejects(lab.disk.write(new Uint8Array(512), 0), /EIO/);
    await lab.disk.write(new Uint8Array(512), 0);
    assert.equal(flushing.flushes, 2);
    await lab.disk.write(new Uint8Array(512), 0);
    assert.equal(flushing.flushes, 2, 'the doubt is over');
    await lab.end();
  });

  it('R33 any flush on the new connection ends the doubt', async () => {
    const held = new HeldDevice(memory());
    const lab = await Lab.open(held);
    const lost = gone(lab.disk.write(new Uint8Array(512), 0));
    await settle();
    await lab.cut();
    await lost;
    held.releaseAll();
    await lab.disk.reopen();
    await lab.disk.flush();
    held.calls.length = 0;
    await lab.disk.write(new Uint8Array(512), 0);
    assert.deepEqual(held.calls, ['write 0 512']);
    await lab.end();
  });

  it('R32, R33 another export in its place is refused', async () => {
    const lab = await Lab.open(memory());
    const smaller = new ServerFixture({ device: memory(mebibyte / 2) });
    const withoutFlush = memory();
    Object.assign(withoutFlush.capabilities, { flush: false });
    const noFlush = new ServerFixture({ device: withoutFlush });
    for (const [server, text] of [
      [smaller, /the export has 524288 bytes, had 1048576/],
      [noFlush, /offers no flush any more/],
    ] as const) {
      await lab.cut();
      lab.server = server;
      await gone(lab.disk.reopen(), text);
      await server.end();
    }
    lab.server = lab.fixture;
    await lab.disk.reopen();
    await lab.disk.read(new Uint8Array(512), 0);
    await lab.end();
  });

  it('R33 connections cut at any time: what was answered and not overwritten is there', async () => {
    const step = fc.record({
      verb: fc.constantFrom('write' as const, 'write' as const, 'flush' as const, 'cut' as const),
      block: fc.nat(7),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const disk = memory();
        const lab = await Lab.open(disk);
        const possible = Array.from({ length: 8 }, () => new Set([0]));
        for (const [index, { verb, block }] of steps.entries()) {
          if (verb === 'cut') {
            const under = lab.disk.write(new Uint8Array(512).fill(index + 1), block * 512);
            const outcome = under.then(
              () => possible[block]!.clear(),
              () => undefined,
            );
            await lab.cut();
            await outcome;
            possible[block]!.add(index + 1);
            await lab.disk.reopen();
          } else if (verb === 'flush') {
            await lab.disk.flush();
          } else {
            await lab.disk.write(new Uint8Array(512).fill(index + 1), block * 512);
            possible[block] = new Set([index + 1]);
          }
        }
        for (const [block, values] of possible.entries()) {
          const target = new Uint8Array(512);
          await lab.disk.read(target, block * 512);
          assert.ok(values.has(target[0]!), `block ${block}: ${target[0]} of ${[...values].join()}`);
        }
        await lab.end();
      }),
      { numRuns: 40 },
    );
  });
});

describe('DoubtfulWrites', () => {
  it('knows what overlaps, and is too wide rather than too narrow at its limit', () => {
    const doubtful = new DoubtfulWrites();
    for (let index = 0; index <= doubtfulRangesMax; index += 1) doubtful.add(index * 1024, 512);
    assert.equal(doubtful.count, 1);
    assert.ok(doubtful.overlaps(512, 512), 'joined');
    assert.equal(doubtful.overlaps(doubtfulRangesMax * 1024 + 512, 512), false);
    doubtful.clear();
    doubtful.add(1024, 512);
    assert.equal(doubtful.overlaps(512, 512), false);
    assert.equal(doubtful.overlaps(1536, 512), false);
    assert.ok(doubtful.overlaps(0, 1025));
  });
});
