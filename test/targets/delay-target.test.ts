import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DeviceError, deviceError } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../src/mapping/mapped-device.ts';
import { TargetRegistry } from '../../src/mapping/registry.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { standardTargets } from '../../src/targets/standard-targets.ts';

type Verb = 'read' | 'write' | 'flush' | 'discard' | 'zero';

/** Notes what arrives at a device, and when. */
class Arrivals extends FilterDevice {
  readonly noted: string[] = [];
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock, sectors: number) {
    super(new MemoryDevice({ sizeBytes: sectors * 512 }));
    this.#clock = clock;
  }

  override read(target: Uint8Array, offset: number): Promise<void> {
    this.#note(`read ${offset / 512}`);
    return super.read(target, offset);
  }

  override write(source: Uint8Array, offset: number): Promise<void> {
    this.#note(`write ${offset / 512}`);
    return super.write(source, offset);
  }

  override flush(): Promise<void> {
    this.#note('flush');
    return super.flush();
  }

  override discard(offset: number, length: number): Promise<void> {
    this.#note(`discard ${offset / 512}`);
    return super.discard(offset, length);
  }

  override writeZeroes(offset: number, length: number): Promise<void> {
    this.#note(`zero ${offset / 512}`);
    return super.writeZeroes(offset, length);
  }

  #note(what: string): void {
    this.noted.push(`${this.#clock.nowMs()} ${what}`);
  }
}

interface Lab {
  readonly clock: VirtualClock;
  readonly a: Arrivals;
  readonly b: Arrivals;
  readonly c: Arrivals;
  readonly device: MappedDevice;
}

async function lab(table: string): Promise<Lab> {
  const random = new SeededRandom(table);
  const clock = new VirtualClock(random.fork('clock'));
  const [a, b, c] = [new Arrivals(clock, 64), new Arrivals(clock, 64), new Arrivals(clock, 64)];
  const devices = new Map(Object.entries({ a, b, c }));
  const device = await createMappedDevice({
    name: 'mapped',
    table,
    registry: new TargetRegistry(standardTargets({ clock, random })),
    openDevice: (path) => Promise.resolve(devices.get(path) ?? assert.fail(path)),
  });
  return { clock, a, b, c, device };
}

function send(device: MappedDevice, verb: Verb, sector: number): Promise<void> {
  const buffer = new Uint8Array(512);
  switch (verb) {
    case 'read':
      return device.read(buffer, sector * 512);
    case 'write':
      return device.write(buffer, sector * 512);
    case 'flush':
      return device.flush();
    case 'discard':
      return device.discard(sector * 512, 512);
    case 'zero':
      return device.writeZeroes(sector * 512, 512);
  }
}

const verbs: readonly Verb[] = ['read', 'write', 'flush', 'discard', 'zero'];

describe('delay', () => {
  it('with 3 arguments delays everything alike', async () => {
    const { clock, a, device } = await lab('0 16 delay a 8 100');
    await clock.run(Promise.all(verbs.map((verb) => send(device, verb, 2))));
    assert.deepEqual(a.noted.toSorted(), [
      '100 discard 10',
      '100 flush',
      '100 read 10',
      '100 write 10',
      '100 zero 10',
    ]);
    assert.deepEqual(device.status('table'), ['0 16 delay a 8 100']);
    assert.deepEqual(device.status('info'), ['0 16 delay 0 0 0']);
  });

  it('with 6 sends writes and flushes elsewhere, with 9 flushes too', async () => {
    const six = await lab('0 16 delay a 8 100 b 16 20');
    await six.clock.run(Promise.all(verbs.map((verb) => send(six.device, verb, 2))));
    assert.deepEqual(six.a.noted, ['100 read 10']);
    assert.deepEqual(six.b.noted.toSorted(), ['20 discard 18', '20 flush', '20 write 18', '20 zero 18']);
    assert.deepEqual(six.device.status('table'), ['0 16 delay a 8 100 b 16 20']);

    const nine = await lab('0 16 delay a 8 100 b 16 20 c 0 7');
    await nine.clock.run(Promise.all(verbs.map((verb) => send(nine.device, verb, 2))));
    assert.deepEqual(nine.a.noted, ['100 read 10']);
    assert.deepEqual(nine.c.noted, ['7 flush']);
    // A flush that left out the device with the writes would be a lie.
    assert.deepEqual(nine.b.noted.toSorted(), ['20 discard 18', '20 write 18', '20 zero 18', '7 flush']);
    assert.deepEqual(nine.device.status('table'), ['0 16 delay a 8 100 b 16 20 c 0 7']);
  });

  it('passes on at once what has no delay', async () => {
    const { a, device } = await lab('0 16 delay a 0 0');
    await device.write(new Uint8Array(512).fill(4), 0);
    assert.deepEqual(a.noted, ['0 write 0']);
  });

  it('counts what waits: reads, writes, flushes', async () => {
    const { clock, device } = await lab('0 16 delay a 0 100 a 0 200 a 0 300');
    const all = [send(device, 'read', 0), send(device, 'read', 1), send(device, 'write', 2), device.flush()];
    assert.deepEqual(device.status('info'), ['0 16 delay 2 1 1']);
    await clock.run(Promise.all(all.slice(0, 2)));
    assert.deepEqual(device.status('info'), ['0 16 delay 0 1 1']);
    await clock.run(Promise.all(all));
    assert.equal(clock.nowMs(), 300);
    assert.deepEqual(device.status('info'), ['0 16 delay 0 0 0']);
  });

  it('names a failure by its own bytes', async () => {
    const { clock, a, device } = await lab('0 4 delay a 8 5\n4 4 delay a 8 5');
    a.read = (_target, offset) => Promise.reject(deviceError('below', 'medium', offset, 512));
    const error = await clock.run(
      device.read(new Uint8Array(512), 5 * 512).then(
        () => assert.fail('it succeeded'),
        (reason: unknown) => reason,
      ),
    );
    assert.ok(error instanceof DeviceError);
    assert.equal(error.ranges[0]?.offset, 5 * 512);
  });

  it('I6 closing sends on what waits, at once, and answers it all', async () => {
    const { clock, a, device } = await lab('0 8 zero\n8 8 delay a 0 3600000');
    const answered: string[] = [];
    const reads = [9, 10].map((sector) =>
      send(device, 'read', sector).then(() => answered.push(`read ${sector}`)),
    );
    const spanning = device.write(new Uint8Array(4 * 512), 6 * 512).then(() => answered.push('write'));
    await clock.run(Promise.all([...reads, spanning, device.close().then(() => answered.push('closed'))]));
    assert.equal(clock.nowMs(), 0);
    assert.equal(answered.length, 4);
    assert.equal(answered.at(-1), 'closed');
    assert.deepEqual(a.noted.toSorted(), ['0 read 1', '0 read 2', '0 write 0']);
  });

  it('set changes the delays of requests to come, and the table line with them', async () => {
    const { clock, a, device } = await lab('0 16 delay a 0 100');
    const before = send(device, 'read', 0);
    assert.equal(await device.message(0, ['set', '10', '30']), '');
    await clock.run(Promise.all([before, send(device, 'read', 1), send(device, 'write', 2), device.flush()]));
    assert.deepEqual(a.noted.toSorted(), ['10 read 1', '100 read 0', '30 flush', '30 write 2']);
    assert.deepEqual(device.status('table'), ['0 16 delay a 0 10 a 0 30']);
    await device.message(0, ['SET', '0']);
    assert.deepEqual(device.status('table'), ['0 16 delay a 0 0 a 0 0']);
    await assert.rejects(device.message(0, ['set']), /set has 0 arguments, expected set DELAY/);
    await assert.rejects(
      device.message(0, ['set', 'x']),
      /DELAY in milliseconds is x, expected 0 to 4294967295/,
    );
    await assert.rejects(device.message(0, ['go']), /unknown message go, expected one of set DELAY/);
  });

  it('refuses what the kernel refuses, one line each', async () => {
    for (const [words, expected] of [
      ['a 0', /2 arguments, expected delay DEVICE/],
      ['a 0 1 b', /delay: 4 arguments, expected 3, 6 or 9/],
      ['a 0 1 b 0 1 c 0', /delay: 8 arguments, expected 3, 6 or 9/],
      ['a x 1', /OFFSET is x/],
      ['a 0 1.5', /DELAY in milliseconds is 1.5/],
      ['a 0 4294967296', /DELAY in milliseconds is 4294967296/],
      ['a 56 1', /a has 64 sectors, the segment needs 72/],
      ['a 0 1 b 60 1', /b has 64 sectors, the segment needs 76/],
    ] as const) {
      await assert.rejects(lab(`0 16 delay ${words}`), (error: unknown) => {
        assert.ok(error instanceof Error);
        assert.match(error.message, expected);
        assert.ok(!error.message.includes('\n'));
        return true;
      });
    }
  });

  it('agrees with a model: what comes at one moment arrives that lane’s delay later', async () => {
    const step = fc.record({
      afterMs: fc.nat(20),
      verb: fc.constantFrom(...verbs),
      sector: fc.nat(15),
      set: fc.option(fc.tuple(fc.nat(50), fc.nat(50), fc.nat(50)), { freq: 4, nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        const { clock, a, device } = await lab('0 16 delay a 0 5 a 16 11 a 32 0');
        let [read, write, flush] = [5, 11, 0];
        let nowMs = 0;
        const expected: string[] = [];
        const all: Promise<void>[] = [];
        for (const { afterMs, verb, sector, set } of steps) {
          await clock.run(new Promise<void>((resolve) => void clock.schedule(afterMs, resolve)));
          nowMs += afterMs;
          if (set !== undefined) {
            await device.message(0, ['set', ...set.map(String)]);
            [read, write, flush] = set;
          }
          all.push(send(device, verb, sector));
          if (verb === 'read') expected.push(`${nowMs + read} read ${sector}`);
          else if (verb === 'flush') expected.push(`${nowMs + flush} flush`);
          else expected.push(`${nowMs + write} ${verb} ${sector + 16}`);
        }
        await clock.run(Promise.all(all));
        assert.deepEqual(a.noted.toSorted(), expected.toSorted());
      }),
      { numRuns: 60 },
    );
  });
});
