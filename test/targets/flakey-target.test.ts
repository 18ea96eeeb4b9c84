import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IoFlags } from '../../src/block/block-device.ts';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createMappedDevice } from '../../src/mapping/create-mapped-device.ts';
import type { MappedDevice } from '../../src/mapping/mapped-device.ts';
import { TargetRegistry } from '../../src/mapping/registry.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { standardTargets } from '../../src/targets/standard-targets.ts';

const sectors = 32;

interface Lab {
  readonly clock: VirtualClock;
  readonly memory: MemoryDevice;
  readonly recording: RecordingDevice;
  readonly device: MappedDevice;
  readonly wait: (ms: number) => Promise<void>;
  readonly say: (text: string) => Promise<string>;
}

async function flakey(words: string, options: { seed?: string; blockBytes?: number } = {}): Promise<Lab> {
  const random = new SeededRandom(options.seed ?? 'flakey');
  const clock = new VirtualClock(random.fork('clock'));
  const memory = new MemoryDevice({
    sizeBytes: (sectors + 8) * 512,
    logicalBlockBytes: options.blockBytes ?? 512,
  });
  const recording = new RecordingDevice(memory, new OperationCounter());
  const device = await createMappedDevice({
    name: 'mapped',
    table: `0 ${sectors} flakey a 8 ${words}`,
    registry: new TargetRegistry(standardTargets({ clock, random })),
    openDevice: () => Promise.resolve(recording),
  });
  const wait = (ms: number) => clock.run(new Promise<void>((done) => void clock.schedule(ms, done)));
  return { clock, memory, recording, device, wait, say: (text) => device.message(0, text.split(' ')) };
}

/** What a request comes to: `ok`, or the failed range in sectors. */
async function outcome(request: Promise<void>): Promise<string> {
  try {
    await request;
    return 'ok';
  } catch (error) {
    assert.ok(error instanceof DeviceError, String(error));
    assert.equal(error.kind, 'suspect');
    assert.equal(error.errno, Errno.EIO);
    return error.ranges.map(({ offset, length }) => `${offset / 512}+${length / 512}`).join(' ');
  }
}

/** Outcomes of a read, a write, a flush, a discard and zeros, and what arrived below of them. */
async function outcomes({ device, recording }: Lab): Promise<{ said: string[]; arrived: number }> {
  const before = recording.operations.length;
  const said = [
    await outcome(device.read(new Uint8Array(512), 512)),
    await outcome(device.write(new Uint8Array(512), 1024)),
    await outcome(device.flush()),
    await outcome(device.discard(1536, 512)),
    await outcome(device.writeZeroes(2048, 512)),
  ];
  return { said, arrived: (recording.operations.length - before) / 2 };
}

const up = { said: ['ok', 'ok', 'ok', 'ok', 'ok'], arrived: 5 };
const all = `0+${sectors}`;

describe('flakey: the intervals', () => {
  it('works for UP seconds, fails everything for DOWN seconds, over and over', async () => {
    const lab = await flakey('5 1');
    const down = { said: ['1+1', '2+1', all, '3+1', '4+1'], arrived: 0 };
    for (let cycle = 0; cycle < 3; cycle += 1) {
      assert.deepEqual(await outcomes(lab), up);
      await lab.wait(4999);
      assert.deepEqual(await outcomes(lab), up);
      await lab.wait(1);
      assert.deepEqual(await outcomes(lab), down);
      await lab.wait(999);
      assert.deepEqual(await outcomes(lab), down);
      await lab.wait(1);
    }
  });

  it('with one interval of 0 is always up, or always down', async () => {
    const alwaysUp = await flakey('1 0');
    const alwaysDown = await flakey('0 1');
    for (let second = 0; second < 3; second += 1) {
      assert.deepEqual(await outcomes(alwaysUp), up);
      assert.equal((await outcomes(alwaysDown)).arrived, 0);
      await Promise.all([alwaysUp.wait(700), alwaysDown.wait(700)]);
    }
  });

  it('set begins a new cycle with other intervals and features, as a new table would', async () => {
    const lab = await flakey('5 1');
    await lab.wait(3000);
    assert.equal(await lab.say('set 2 2 1 error_writes'), '');
    await lab.wait(1999);
    assert.deepEqual(await outcomes(lab), up);
    await lab.wait(1);
    assert.deepEqual((await outcomes(lab)).said, ['ok', '2+1', all, '3+1', '4+1']);
    assert.deepEqual(lab.device.status('table'), [`0 ${sectors} flakey a 8 2 2 1 error_writes`]);
    await assert.rejects(lab.say('set 0 0'), /UP and DOWN are 0 seconds together/);
    await assert.rejects(lab.say('set 1'), /DOWN in seconds is missing/);
    await assert.rejects(lab.say('seed'), /seed has 0 arguments/);
    await assert.rejects(lab.say('seed x'), /seed is x, expected 0 to 4294967295/);
    await assert.rejects(lab.say('down'), /unknown message down, expected one of set UP DOWN/);
    assert.deepEqual(lab.device.status('table'), [`0 ${sectors} flakey a 8 2 2 1 error_writes`]);
  });
});

describe('flakey: features while it is down', () => {
  it('error_reads fails reads and nothing else', async () => {
    const lab = await flakey('0 1 1 error_reads');
    assert.deepEqual(await outcomes(lab), { said: ['1+1', 'ok', 'ok', 'ok', 'ok'], arrived: 4 });
  });

  it('error_writes fails writes, flushes, discards and zeros', async () => {
    const lab = await flakey('0 1 1 error_writes');
    assert.deepEqual(await outcomes(lab), { said: ['ok', '2+1', all, '3+1', '4+1'], arrived: 1 });
  });

  it('drop_writes says that they succeeded, flushes too, and stores nothing', async () => {
    const lab = await flakey('0 1 1 drop_writes');
    lab.memory.bytes.fill(6);
    assert.deepEqual(await outcomes(lab), { said: ['ok', 'ok', 'ok', 'ok', 'ok'], arrived: 1 });
    assert.ok(lab.memory.bytes.every((byte) => byte === 6));
  });

  it('error_reads and drop_writes go together', async () => {
    const lab = await flakey('0 1 2 error_reads drop_writes');
    assert.deepEqual(await outcomes(lab), { said: ['1+1', 'ok', 'ok', 'ok', 'ok'], arrived: 0 });
  });

  it('corrupt_bio_byte r changes one byte of what a read got, and only while down', async () => {
    const lab = await flakey('1 1 5 corrupt_bio_byte 3 r 171 0');
    lab.memory.bytes.fill(6);
    const target = new Uint8Array(1024);
    await lab.device.read(target, 0);
    assert.ok(target.every((byte) => byte === 6));
    await lab.wait(1000);
    await lab.device.read(target, 0);
    assert.deepEqual(
      [...target.entries()].filter(([, byte]) => byte !== 6),
      [[2, 171]],
    );
    await lab.device.write(new Uint8Array(512).fill(8), 0);
    assert.ok(lab.memory.bytes.every((byte, at) => byte === (at >= 8 * 512 && at < 9 * 512 ? 8 : 6)));
  });

  it('I9 corrupt_bio_byte w changes one stored byte and never the client’s', async () => {
    const lab = await flakey('0 1 5 corrupt_bio_byte 515 w 7 0');
    const source = new Uint8Array(1024).fill(5);
    await lab.device.write(source, 0);
    assert.ok(source.every((byte) => byte === 5));
    const stored = lab.memory.bytes.subarray(8 * 512, 10 * 512);
    assert.deepEqual(
      [...stored.entries()].filter(([, byte]) => byte !== 5),
      [[514, 7]],
    );
    await lab.device.write(source.subarray(0, 512), 0);
    assert.ok(lab.memory.bytes.subarray(8 * 512, 9 * 512).every((byte) => byte === 5));
  });

  it('corrupts zeros as it corrupts a write of zeros, in the one block', async () => {
    const lab = await flakey('0 1 5 corrupt_bio_byte 4098 w 7 0', { blockBytes: 4096 });
    lab.memory.bytes.fill(5);
    await lab.device.writeZeroes(0, 3 * 4096);
    const stored = lab.memory.bytes.subarray(4096, 4 * 4096);
    assert.deepEqual(
      [...stored.entries()].filter(([, byte]) => byte !== 0),
      [[4097, 7]],
    );
    assert.ok(lab.memory.bytes.subarray(0, 4096).every((byte) => byte === 5));
  });

  it('corrupts only requests that have all the bits of FLAGS: writes 1, FUA 131072', async () => {
    const source = new Uint8Array(512);
    for (const [flags, plain, fua] of [
      [0, 7, 7],
      [1, 7, 7],
      [131_072, 0, 7],
      [131_073, 0, 7],
      [2_147_483_648, 0, 0],
      [4096, 0, 0],
    ] as const) {
      const lab = await flakey(`0 1 5 corrupt_bio_byte 1 w 7 ${flags}`);
      await lab.device.write(source, 0);
      await lab.device.write(source, 512, IoFlags.fua);
      assert.deepEqual(
        [lab.memory.bytes[8 * 512], lab.memory.bytes[9 * 512]],
        [plain, fua],
        `flags ${flags}`,
      );
    }
  });

  it('corrupts no read that failed', async () => {
    const lab = await flakey('0 1 5 corrupt_bio_byte 1 r 7 0');
    const target = new Uint8Array(512).fill(1);
    lab.recording.read = () => Promise.reject(new DeviceError('below', []));
    await assert.rejects(lab.device.read(target, 0));
    assert.ok(target.every((byte) => byte === 1));
  });

  it('random_write_corrupt and random_read_corrupt hit as often as they say, one byte each', async () => {
    for (const direction of ['read', 'write'] as const) {
      const lab = await flakey(`0 1 2 random_${direction}_corrupt 250000000`);
      let hits = 0;
      const requests = 400;
      for (let index = 0; index < requests; index += 1) {
        lab.memory.bytes.fill(0);
        const bytes = new Uint8Array(512);
        await (direction === 'read' ? lab.device.read(bytes, 0) : lab.device.write(bytes, 0));
        const changed = (direction === 'read' ? bytes : lab.memory.bytes).filter((byte) => byte !== 0);
        assert.ok(changed.length <= 1);
        hits += changed.length;
      }
      // 100 expected, less the 1 in 256 that draws the byte it was; five standard deviations are 43.
      assert.ok(hits > 55 && hits < 145, `${direction}: ${hits} of ${requests}`);
    }
  });

  it('a probability of 1000000000 hits each request, of 0 none and counts as no feature', async () => {
    const always = await flakey('0 1 2 random_write_corrupt 1000000000');
    let changed = 0;
    for (let index = 0; index < 50; index += 1) {
      always.memory.bytes.fill(0);
      await always.device.write(new Uint8Array(512), 0);
      changed += always.memory.bytes.filter((byte) => byte !== 0).length;
    }
    assert.ok(changed >= 45, `${changed}`);
    const never = await flakey('0 1 2 random_write_corrupt 0');
    assert.equal((await outcomes(never)).arrived, 0);
  });

  it('seed repeats the same corruption', async () => {
    const run = async (seed: number, world: string): Promise<Uint8Array> => {
      const lab = await flakey('0 1 2 random_write_corrupt 700000000', { seed: world });
      await lab.say(`seed ${seed}`);
      for (let sector = 0; sector < sectors; sector += 1) {
        await lab.device.write(new Uint8Array(512), sector * 512);
      }
      return lab.memory.bytes;
    };
    const first = await run(7, 'one world');
    assert.deepEqual(await run(7, 'another world'), first);
    assert.notDeepEqual(await run(8, 'one world'), first);
  });
});

describe('flakey: the table line', () => {
  it('is printed as the kernel prints it, and makes the same target again', async () => {
    for (const [words, printed] of [
      ['5 1', '5 1 2 error_reads error_writes'],
      ['5 1 0', '5 1 2 error_reads error_writes'],
      ['5 1 1 DROP_WRITES', '5 1 1 drop_writes'],
      ['5 1 2 error_writes error_reads', '5 1 2 error_reads error_writes'],
      ['5 1 5 corrupt_bio_byte 32 R 1 0', '5 1 5 corrupt_bio_byte 32 r 1 0'],
      ['5 1 6 corrupt_bio_byte 224 w 0 32 error_reads', '5 1 6 error_reads corrupt_bio_byte 224 w 0 32'],
      [
        '0 3 9 random_write_corrupt 1 random_read_corrupt 2 corrupt_bio_byte 1 w 255 4294967295',
        '0 3 9 corrupt_bio_byte 1 w 255 4294967295 random_read_corrupt 2 random_write_corrupt 1',
      ],
    ] as const) {
      const lab = await flakey(words);
      assert.deepEqual(lab.device.status('table'), [`0 ${sectors} flakey a 8 ${printed}`]);
      assert.deepEqual(lab.device.status('info'), [`0 ${sectors} flakey`]);
      const again = await flakey(printed);
      assert.deepEqual(again.device.status('table'), lab.device.status('table'));
    }
  });

  it('is refused where the kernel refuses it, one line each', async () => {
    for (const [words, expected] of [
      ['5', /3 arguments, expected flakey DEVICE OFFSET UP DOWN/],
      ['x 1', /UP in seconds is x/],
      ['1 4294967296', /DOWN in seconds is 4294967296/],
      ['0 0', /UP and DOWN are 0 seconds together, expected 1 to 4294967295/],
      ['4294967295 1', /UP and DOWN are 4294967296 seconds together/],
      ['5 1 12', /number of feature words is 12, expected 0 to 11/],
      ['5 1 2 drop_writes', /1 feature words follow, the line says 2/],
      ['5 1 1 drop_reads', /unknown feature drop_reads/],
      ['5 1 2 drop_writes drop_writes', /drop_writes is given twice/],
      ['5 1 2 error_reads error_reads', /error_reads is given twice/],
      ['5 1 2 drop_writes error_writes', /drop_writes and error_writes exclude each other/],
      ['5 1 4 corrupt_bio_byte 1 w 0', /corrupt_bio_byte has 3 words behind it/],
      ['5 1 5 corrupt_bio_byte 0 w 0 0', /Nth byte of corrupt_bio_byte is 0, expected 1/],
      ['5 1 5 corrupt_bio_byte 1 x 0 0', /direction of corrupt_bio_byte is x, expected r or w/],
      ['5 1 5 corrupt_bio_byte 1 r 256 0', /value of corrupt_bio_byte is 256, expected 0 to 255/],
      ['5 1 5 corrupt_bio_byte 1 r 0 -1', /flags of corrupt_bio_byte is -1/],
      ['5 1 10 corrupt_bio_byte 1 r 0 0 corrupt_bio_byte 1 w 0 0', /corrupt_bio_byte is given twice/],
      ['5 1 6 drop_writes corrupt_bio_byte 1 w 0 0', /drop_writes excludes random_write_corrupt and/],
      ['5 1 3 error_writes random_write_corrupt 1', /error_writes excludes random_write_corrupt and/],
      ['5 1 6 error_reads corrupt_bio_byte 1 r 0 0', /error_reads excludes random_read_corrupt and/],
      ['5 1 1 random_read_corrupt', /probability of random_read_corrupt is missing/],
      ['5 1 2 random_read_corrupt 1000000001', /is 1000000001, expected 0 to 1000000000/],
    ] as const) {
      await assert.rejects(flakey(words), (error: unknown) => {
        assert.ok(error instanceof Error);
        assert.match(error.message, expected);
        assert.ok(!error.message.includes('\n'));
        return true;
      });
    }
  });

  it('agrees with a model of the kernel, request by request', async () => {
    const features = [
      '',
      ' 1 drop_writes',
      ' 1 error_writes',
      ' 1 error_reads',
      ' 2 error_reads drop_writes',
    ];
    const step = fc.record({
      afterMs: fc.nat(2500),
      verb: fc.constantFrom('read' as const, 'write' as const),
      sector: fc.nat(sectors - 4),
      count: fc.integer({ min: 1, max: 4 }),
    });
    const plan = fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 3 }), fc.constantFrom(...features));
    await fc.assert(
      fc.asyncProperty(plan, fc.array(step, { maxLength: 25 }), async ([upS, downS, words], steps) => {
        const lab = await flakey(`${upS} ${downS}${words}`);
        const model = new Uint8Array(sectors);
        let nowMs = 0;
        for (const [index, { afterMs, verb, sector, count }] of steps.entries()) {
          await lab.wait(afterMs);
          nowMs += afterMs;
          const down = Math.floor(nowMs / 1000) % (upS + downS) >= upS;
          const drops = words.includes('drop_writes');
          const failsRead = words === '' || words.includes('error_reads');
          const failsWrite = words === '' || words.includes('error_writes');
          const buffer = new Uint8Array(count * 512).fill(index + 1);
          const request =
            verb === 'read' ? lab.device.read(buffer, sector * 512) : lab.device.write(buffer, sector * 512);
          const fails = down && (verb === 'read' ? failsRead : failsWrite);
          assert.equal(await outcome(request), fails ? `${sector}+${count}` : 'ok');
          if (fails) continue;
          if (verb === 'write') {
            if (!(down && drops)) model.fill(index + 1, sector, sector + count);
            continue;
          }
          for (let at = 0; at < count; at += 1) assert.equal(buffer[at * 512], model[sector + at]);
        }
        const stored = model.map((_, sector) => lab.memory.bytes[(sector + 8) * 512]!);
        assert.deepEqual(stored, model);
      }),
      { numRuns: 100 },
    );
  });
});
