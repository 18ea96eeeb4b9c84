import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DeviceError } from '../../src/block/device-error.ts';
import { Errno } from '../../src/block/errno.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import type { Target } from '../../src/mapping/target.ts';
import { TargetError, type TargetErrorCode } from '../../src/mapping/target-error.ts';
import { OperationCounter } from '../../src/simulator/operation-counter.ts';
import { RecordingDevice } from '../../src/simulator/recording-device.ts';
import { dustTargetType } from '../../src/targets/dust-target.ts';

interface Setup {
  readonly memory: MemoryDevice;
  readonly recording: RecordingDevice;
  readonly target: Target;
  readonly say: (text: string) => Promise<string>;
}

async function dust(
  options: { offset?: number; blockBytes?: number; sectors?: number } = {},
): Promise<Setup> {
  const { offset = 0, blockBytes = 512, sectors = 64 } = options;
  const memory = new MemoryDevice({ sizeBytes: sectors * 512 });
  const recording = new RecordingDevice(memory, new OperationCounter());
  const context = {
    deviceName: 'mapped',
    startBytes: 0,
    lengthBytes: (sectors - offset) * 512,
    openDevice: () => Promise.resolve(recording),
  };
  const target = await dustTargetType.ctr(context, ['/dev/a', String(offset), String(blockBytes)]);
  return { memory, recording, target, say: (text) => target.message(text.split(' ')) };
}

/** Failed ranges in sectors, or [] when the request succeeds. */
async function failedSectors(promise: Promise<void>): Promise<[number, number][]> {
  try {
    await promise;
    return [];
  } catch (error) {
    assert.ok(error instanceof DeviceError, String(error));
    for (const range of error.ranges) {
      assert.equal(range.kind, 'suspect');
      assert.equal(range.errno, Errno.EIO);
    }
    return error.ranges.map((range) => [range.offset / 512, range.length / 512]);
  }
}

async function refuses(promise: Promise<string>, code: TargetErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof TargetError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.ok(!error.message.includes('\n'));
    return true;
  });
}

describe('dust: requests', () => {
  it('starts in bypass: bad blocks fail nothing until enable, and again after disable', async () => {
    const { target, say } = await dust();
    await say('addbadblock 3');
    const buffer = new Uint8Array(8 * 512);
    assert.deepEqual(await failedSectors(target.read(buffer, 0)), []);
    await say('enable');
    assert.deepEqual(await failedSectors(target.read(buffer, 0)), [[3, 1]]);
    await say('disable');
    assert.deepEqual(await failedSectors(target.read(buffer, 0)), []);
    assert.equal(await say('countbadblocks'), 'countbadblocks: 1 badblock(s) found');
  });

  it('in bypass a write does not heal', async () => {
    const { target, say } = await dust();
    await say('addbadblock 3');
    await target.write(new Uint8Array(512), 3 * 512);
    assert.equal(await say('queryblock 3'), 'dust_query_block: block 3 found in badblocklist');
  });

  it('a write heals the blocks it touches and succeeds', async () => {
    const { memory, target, say } = await dust();
    await say('enable');
    await say('addbadblock 3');
    await say('addbadblock 9');
    await target.write(new Uint8Array(4 * 512).fill(5), 2 * 512);
    assert.deepEqual(await failedSectors(target.read(new Uint8Array(16 * 512), 0)), [[9, 1]]);
    assert.ok(memory.bytes.subarray(2 * 512, 6 * 512).every((byte) => byte === 5));
    assert.equal(await say('listbadblocks'), '9\n');
  });

  it('addbadblock with a write fail count fails that many writes, the next one heals', async () => {
    const { memory, target, say } = await dust();
    await say('enable');
    await say('addbadblock 3 2');
    const source = new Uint8Array(3 * 512).fill(8);
    for (let round = 0; round < 2; round += 1) {
      assert.deepEqual(await failedSectors(target.write(source, 2 * 512)), [[3, 1]]);
      assert.deepEqual(await failedSectors(target.read(new Uint8Array(512), 3 * 512)), [[3, 1]]);
      assert.equal(memory.bytes[2 * 512], 8);
      assert.equal(memory.bytes[3 * 512], 0);
      assert.equal(memory.bytes[4 * 512], 8);
    }
    assert.deepEqual(await failedSectors(target.write(source, 2 * 512)), []);
    assert.equal(memory.bytes[3 * 512], 8);
    assert.equal(await say('countbadblocks'), 'countbadblocks: 0 badblock(s) found');
  });

  it('zeroing and discarding count as writes', async () => {
    const { target, say } = await dust();
    await say('enable');
    await say('addbadblock 3 1');
    assert.deepEqual(await failedSectors(target.writeZeroes(0, 8 * 512)), [[3, 1]]);
    assert.deepEqual(await failedSectors(target.discard(0, 8 * 512)), []);
    assert.deepEqual(await failedSectors(target.read(new Uint8Array(512), 3 * 512)), []);
  });

  it('fails whole blocks inside the request, delivers the rest in as few requests as can be', async () => {
    const { memory, recording, target, say } = await dust({ blockBytes: 2048 });
    memory.bytes.fill(6);
    await say('enable');
    await say('addbadblock 2');
    const buffer = new Uint8Array(16 * 512).fill(1);
    assert.deepEqual(await failedSectors(target.read(buffer, 2 * 512)), [[8, 4]]);
    assert.ok(buffer.subarray(0, 6 * 512).every((byte) => byte === 6));
    assert.ok(buffer.subarray(6 * 512, 10 * 512).every((byte) => byte === 1));
    assert.ok(buffer.subarray(10 * 512).every((byte) => byte === 6));
    assert.equal(recording.operations.filter(({ phase }) => phase === 'submit').length, 2);
    assert.deepEqual(await failedSectors(target.read(buffer.subarray(0, 512), 9 * 512)), [[9, 1]]);
  });

  it('numbers blocks from the start of the device, not of the segment, as the kernel does', async () => {
    const { target, say } = await dust({ offset: 16 });
    await say('enable');
    await say('addbadblock 20');
    assert.deepEqual(await failedSectors(target.read(new Uint8Array(32 * 512), 0)), [[4, 1]]);
  });

  it('agrees with a model of the kernel, request by request', async () => {
    const sectors = 24;
    const step = fc.oneof(
      fc.record({ verb: fc.constant('add' as const), at: fc.nat(sectors - 1), count: fc.nat(2) }),
      fc.record({
        verb: fc.constantFrom('read' as const, 'write' as const),
        at: fc.nat(sectors - 1),
        count: fc.integer({ min: 1, max: 10 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { memory, target, say } = await dust({ sectors });
        await say('enable');
        const model = new Map<number, number>();
        const bytes = new Uint8Array(sectors);
        for (const [index, { verb, at, count }] of steps.entries()) {
          if (verb === 'add') {
            if (model.has(at)) await refuses(say(`addbadblock ${at}`), 'MESSAGE_ARGUMENT', /already/);
            else await say(`addbadblock ${at} ${count}`);
            if (!model.has(at)) model.set(at, count);
            continue;
          }
          const length = Math.min(count, sectors - at);
          const expected: number[] = [];
          for (let sector = at; sector < at + length; sector += 1) {
            const remaining = model.get(sector);
            const fails = verb === 'read' ? remaining !== undefined : (remaining ?? 0) > 0;
            if (fails) expected.push(sector);
            if (verb === 'write') {
              if (remaining === 0) model.delete(sector);
              else if (remaining !== undefined) model.set(sector, remaining - 1);
              if (!fails) bytes[sector] = index + 1;
            }
          }
          const buffer = new Uint8Array(length * 512).fill(index + 1);
          const request = verb === 'read' ? target.read(buffer, at * 512) : target.write(buffer, at * 512);
          const failed = (await failedSectors(request)).flatMap(([start, run]) =>
            Array.from({ length: run }, (_, offset) => start + offset),
          );
          assert.deepEqual(failed, expected);
          if (verb === 'read') {
            for (let sector = at; sector < at + length; sector += 1) {
              if (!model.has(sector)) assert.equal(buffer[(sector - at) * 512], bytes[sector]);
            }
          }
        }
        const firstBytes = Uint8Array.from(bytes, (_, sector) => memory.bytes[sector * 512]!);
        assert.deepEqual(firstBytes, bytes);
        const listed = (await say('listbadblocks')).split('\n').filter((line) => /^\d+$/.test(line));
        assert.deepEqual(
          listed.map(Number),
          [...model.keys()].sort((left, right) => left - right),
        );
      }),
      { numRuns: 100 },
    );
  });
});

describe('dust: messages', () => {
  it("answers in the kernel's words, and with nothing where the kernel does", async () => {
    const { say } = await dust();
    assert.equal(await say('countbadblocks'), 'countbadblocks: 0 badblock(s) found');
    assert.equal(await say('listbadblocks'), 'No blocks in badblocklist');
    assert.equal(await say('clearbadblocks'), 'dust_clear_badblocks: no badblocks found');
    assert.equal(await say('addbadblock 60'), '');
    assert.equal(await say('addbadblock 7 255'), '');
    assert.equal(await say('queryblock 60'), 'dust_query_block: block 60 found in badblocklist');
    assert.equal(await say('queryblock 61'), 'dust_query_block: block 61 not found in badblocklist');
    assert.equal(await say('listbadblocks'), '7\n60\n');
    assert.equal(await say('countbadblocks'), 'countbadblocks: 2 badblock(s) found');
    assert.equal(await say('removebadblock 60'), '');
    assert.equal(await say('clearbadblocks'), 'dust_clear_badblocks: badblocks cleared');
    assert.equal(await say('enable'), '');
    assert.equal(await say('disable'), '');
    assert.equal(await say('quiet'), '');
  });

  it('does not mind the case of a message', async () => {
    const { say } = await dust();
    await say('AddBadBlock 1');
    assert.equal(await say('CountBadBlocks'), 'countbadblocks: 1 badblock(s) found');
  });

  it('refuses what the kernel answers with EINVAL, one line each', async () => {
    const { say } = await dust();
    await say('addbadblock 5');
    await refuses(say('addbadblock 5'), 'MESSAGE_ARGUMENT', /block 5 already in badblocklist/);
    await refuses(say('removebadblock 6'), 'MESSAGE_ARGUMENT', /block 6 not found in badblocklist/);
    await refuses(say('addbadblock'), 'MESSAGE_ARGUMENT', /addbadblock requires an additional argument/);
    await refuses(say('addbadblock x'), 'MESSAGE_ARGUMENT', /block is x, expected 0 to 64/);
    await refuses(say('addbadblock -1'), 'MESSAGE_ARGUMENT', /block is -1/);
    await refuses(say('addbadblock 65'), 'MESSAGE_ARGUMENT', /block is 65, expected 0 to 64/);
    await refuses(say('addbadblock 6 256'), 'MESSAGE_ARGUMENT', /write fail count is 256, expected 0 to 255/);
    await refuses(say('removebadblock 5 1'), 'MESSAGE_UNKNOWN', /unknown message removebadblock 5 1/);
    await refuses(say('addbadblock 1 2 3'), 'MESSAGE_ARGUMENT', /invalid number of arguments '4'/);
    await refuses(
      say('frobnicate'),
      'MESSAGE_UNKNOWN',
      /unknown message frobnicate, expected one of addbadblock/,
    );
    await refuses(say('frobnicate 1'), 'MESSAGE_UNKNOWN', /unknown message/);
    assert.equal(await say('listbadblocks'), '5\n');
  });

  it('shows its mode in the status line, and its arguments in the table line', async () => {
    const { target, say } = await dust({ offset: 8, blockBytes: 4096 });
    assert.equal(target.status('table'), '/dev/a 8 4096');
    assert.equal(target.status('info'), '/dev/a bypass verbose');
    await say('enable');
    await say('quiet');
    assert.equal(target.status('info'), '/dev/a fail_read_on_bad_block quiet');
    await say('quiet');
    await say('disable');
    assert.equal(target.status('info'), '/dev/a bypass verbose');
  });

  it('refuses block sizes that the kernel refuses', async () => {
    for (const blockBytes of [0, 256, 513, 1000, 2 ** 31, 64 * 1024]) {
      await assert.rejects(
        dust({ blockBytes, sectors: 64 }),
        /dust: BLKSZ is .*expected a power of two from 512/,
      );
    }
  });

  it('refuses blocks smaller than the logical block of the device', async () => {
    const below = new MemoryDevice({ sizeBytes: 64 * 512, logicalBlockBytes: 4096 });
    const context = {
      deviceName: 'mapped',
      startBytes: 0,
      lengthBytes: 64 * 512,
      openDevice: () => Promise.resolve(below),
    };
    await assert.rejects(dustTargetType.ctr(context, ['/dev/a', '0', '512']), /expected at least 4096/);
  });
});
