import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DeviceError, type FailedRange } from '../../src/block/device-error.ts';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { failedRangesToldMax } from '../../src/nbd/read-reply.ts';
import { FailingDevice, HeldDevice } from './controlled-devices.ts';
import { settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import {
  bytesOf,
  chunk,
  dataChunkHex,
  errorChunkHex,
  errorOffsetHex,
  replyHex,
  requestHex,
  type WireClient,
} from './wire-client.ts';

const [read, write, flush] = [0, 1, 3];
const [EIO, EINVAL, EOVERFLOW, ESHUTDOWN] = [5, 22, 75, 108];
const df = 4;
const mebibyte = 1024 * 1024;

/** Every byte tells its place, so that no wrong one passes for a right one. */
function placedBytes(sizeBytes: number): MemoryDevice {
  const device = new MemoryDevice({ name: 'disk', sizeBytes });
  for (let at = 0; at < sizeBytes; at += 1) device.bytes[at] = (at >> 9) * 7 + at * 13 + 1;
  return device;
}

/** Fills what is good, fails the ranges given, and leaves poison in them, as a disk that read something. */
class RangesFail extends FilterDevice {
  ranges: readonly FailedRange[] = [];
  reads = 0;

  override async read(target: Uint8Array, offset: number): Promise<void> {
    this.reads += 1;
    await this.below.read(target, offset);
    const end = offset + target.length;
    const hit = this.ranges.filter((range) => range.offset < end && range.offset + range.length > offset);
    for (const range of hit) {
      target.fill(
        0xee,
        Math.max(0, range.offset - offset),
        Math.min(target.length, range.offset + range.length - offset),
      );
    }
    if (hit.length > 0) throw new DeviceError(this.name, hit);
  }
}

function lost(offset: number, length: number): FailedRange {
  return { offset, length, kind: 'lost', errno: EIO };
}

interface Chunk {
  readonly type: number;
  readonly done: boolean;
  readonly cookie: number;
  readonly payload: Buffer;
}

/** All chunks of one reply. */
async function receiveReply(wire: WireClient): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for (;;) {
    const header = Buffer.from(bytesOf(await wire.receive(20)));
    assert.equal(header.readUInt32BE(0), 0x668e33ef);
    const flags = header.readUInt16BE(4);
    const payload = Buffer.from(bytesOf(await wire.receive(header.readUInt32BE(16))));
    const cookie = Number(header.readBigUInt64BE(8));
    chunks.push({ type: header.readUInt16BE(6), done: (flags & 1) !== 0, cookie, payload });
    if ((flags & 1) !== 0) return chunks;
  }
}

describe('structured replies', () => {
  it('a good read is one chunk of data, other commands stay simple', async () => {
    const device = placedBytes(mebibyte);
    await withServer({ device }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 4096, 1024));
      await wire.expect(dataChunkHex(1, 4096, device.bytes.slice(4096, 5120)));
      await wire.send(requestHex(write, 2, 0, 512, { payload: new Uint8Array(512) }));
      await wire.expect(replyHex(2));
      await wire.send(requestHex(flush, 3, 0, 0) + requestHex(read, 4, 0, 512, { flags: df }));
      await wire.expect(replyHex(3) + dataChunkHex(4, 0, new Uint8Array(512)));
      await wire.send(requestHex(0xff, 5, 0, 512));
      await wire.expect(replyHex(5, EINVAL));
    });
  });

  it('replies of all kinds that leave in one send keep their order and their bytes', async () => {
    const device = placedBytes(mebibyte);
    const held = new HeldDevice(device);
    await withServer({ device: held }, async (fixture) => {
      const wire = await fixture.structured();
      const payload = new Uint8Array(512).fill(3);
      await wire.send(
        requestHex(read, 1, 0, 512) +
          requestHex(write, 2, 65536, 512, { payload }) +
          requestHex(flush, 3, 0, 0) +
          requestHex(read, 4, 1, 512) +
          requestHex(read, 5, 1024, 1024) +
          requestHex(read, 6, 2048, 512) +
          requestHex(write, 7, 65536, 512, { payload }),
      );
      await settle();
      held.releaseAll();
      await wire.expect(
        errorChunkHex(4, EINVAL) +
          dataChunkHex(1, 0, device.bytes.slice(0, 512)) +
          replyHex(2) +
          replyHex(3) +
          dataChunkHex(5, 1024, device.bytes.slice(1024, 2048)) +
          dataChunkHex(6, 2048, device.bytes.slice(2048, 2560)) +
          replyHex(7),
      );
    });
  });

  it('a refused read is an ERROR chunk, and EOVERFLOW is for DF alone', async () => {
    await withServer({}, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, mebibyte, 512));
      await wire.expect(errorChunkHex(1, EINVAL));
      await wire.send(requestHex(read, 2, 0, 8 * mebibyte));
      await wire.expect(errorChunkHex(2, EINVAL));
      await wire.send(requestHex(read, 3, 0, 8 * mebibyte, { flags: df }));
      await wire.expect(errorChunkHex(3, EOVERFLOW));
    });
  });

  it('a stream a byte at a time is answered alike', async () => {
    const device = placedBytes(mebibyte);
    await withServer({ device, stream: { receiveBytesMax: 1 } }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 512, 512) + requestHex(read, 2, mebibyte - 512, 512));
      await wire.expect(
        dataChunkHex(1, 512, device.bytes.slice(512, 1024)) +
          dataChunkHex(2, mebibyte - 512, device.bytes.slice(mebibyte - 512)),
      );
    });
  });
});

describe('a read that meets lost sectors', () => {
  it('delivers the good parts as data and ERROR_OFFSET for each bad one', async () => {
    const device = placedBytes(mebibyte);
    const failing = new RangesFail(device);
    failing.ranges = [lost(1024, 512), { offset: 4096, length: 1024, kind: 'medium', errno: 61 }];
    await withServer({ device: failing }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 0, 8192));
      await wire.expect(
        dataChunkHex(1, 0, device.bytes.slice(0, 1024), false) +
          errorOffsetHex(1, EIO, 1024, '512 bytes: lost', false) +
          dataChunkHex(1, 1536, device.bytes.slice(1536, 4096), false) +
          errorOffsetHex(1, EIO, 4096, '1024 bytes: medium', false) +
          dataChunkHex(1, 5120, device.bytes.slice(5120, 8192)),
      );
      assert.equal(fixture.server.counters[NbdCounter.errors], 1);
      assert.equal(fixture.server.counters[NbdCounter.partialReads], 1);
      assert.equal(fixture.server.counters[NbdCounter.bytesRead], 0);
      await wire.send(requestHex(read, 2, 8192, 512));
      await wire.expect(dataChunkHex(2, 8192, device.bytes.slice(8192, 8704)));
    });
  });

  it('ends with the error when it ends bad, and has no data when all is bad', async () => {
    const device = placedBytes(mebibyte);
    const failing = new RangesFail(device);
    failing.ranges = [lost(1024, 1024)];
    await withServer({ device: failing }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 0, 2048));
      await wire.expect(
        dataChunkHex(1, 0, device.bytes.slice(0, 1024), false) +
          errorOffsetHex(1, EIO, 1024, '1024 bytes: lost'),
      );
      await wire.send(requestHex(read, 2, 1024, 512));
      await wire.expect(errorOffsetHex(2, EIO, 1024, '512 bytes: lost'));
      await settle();
      assert.equal(fixture.server.counters[NbdCounter.partialReads], 1);
    });
  });

  it('fails as a whole with simple replies', async () => {
    const failing = new RangesFail(placedBytes(mebibyte));
    failing.ranges = [lost(1024, 512)];
    await withServer({ device: failing }, async (fixture) => {
      const wire = await fixture.transmission();
      await wire.send(requestHex(read, 1, 0, 8192));
      await wire.expect(replyHex(1, EIO));
      await wire.send(requestHex(flush, 2, 0, 0));
      await wire.expect(replyHex(2));
    });
  });

  it('with DF sends one chunk: what is good before the first bad sector', async () => {
    const device = placedBytes(mebibyte);
    const failing = new RangesFail(device);
    failing.ranges = [lost(4096, 512), lost(1024, 512)];
    await withServer({ device: failing }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 0, 8192, { flags: df }));
      await wire.expect(
        dataChunkHex(1, 0, device.bytes.slice(0, 1024), false) +
          errorOffsetHex(1, EIO, 1024, '7168 bytes: lost'),
      );
    });
  });

  it('an error that names nothing of the request is about all of it', async () => {
    class NamesNothing extends FilterDevice {
      override read(): Promise<void> {
        return Promise.reject(new DeviceError('disk', [lost(mebibyte - 512, 512)]));
      }
    }
    await withServer({ device: new NamesNothing(placedBytes(mebibyte)) }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 0, 8192));
      await wire.expect(errorOffsetHex(1, EIO, 0, '8192 bytes: lost'));
    });
  });

  it('an error of one part of a split read never vouches for another part', async () => {
    /** The second part names sectors of the first one only. */
    class NamesOthers extends FilterDevice {
      override async read(target: Uint8Array, offset: number): Promise<void> {
        if (offset === 0) await this.below.read(target, offset);
        else throw new DeviceError('disk', [lost(512, 512)]);
      }
    }
    const device = placedBytes(mebibyte);
    const limits = { deviceRequestBytesMax: 4096 };
    await withServer({ device: new NamesOthers(device), limits }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 0, 8192));
      await wire.expect(
        dataChunkHex(1, 0, device.bytes.slice(0, 4096), false) +
          errorOffsetHex(1, EIO, 4096, '4096 bytes: lost'),
      );
    });
  });

  it('a device that is closed answers ESHUTDOWN for the place', async () => {
    const failing = new FailingDevice(placedBytes(mebibyte), 0, 512);
    failing.kind = 'closed';
    await withServer({ device: failing }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 0, 512));
      await wire.expect(errorOffsetHex(1, ESHUTDOWN, 0, '512 bytes: closed'));
    });
  });

  it(`tells ${failedRangesToldMax} ranges apart, and delivers nothing behind the last of more`, async () => {
    const device = placedBytes(mebibyte);
    const failing = new RangesFail(device);
    failing.ranges = Array.from({ length: 300 }, (_, index) => lost(index * 1024 + 512, 512));
    await withServer({ device: failing, arenaBytes: 16 * mebibyte }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 0, mebibyte));
      const chunks = await receiveReply(wire);
      const errors = chunks.filter(({ type }) => type === chunk.errorOffset);
      const data = chunks.filter(({ type }) => type === chunk.data);
      assert.equal(errors.length, failedRangesToldMax);
      assert.equal(data.length, failedRangesToldMax);
      const last = errors.at(-1)!.payload;
      assert.equal(Number(last.readBigUInt64BE(last.length - 8)), 255 * 1024 + 512);
      await wire.send(requestHex(flush, 2, 0, 0));
      await wire.expect(replyHex(2));
    });
  });

  it('a client that goes away before its partial reply leaves nothing behind', async () => {
    const failing = new RangesFail(placedBytes(mebibyte));
    failing.ranges = [lost(1024, 512)];
    const held = new HeldDevice(failing);
    await withServer({ device: held }, async (fixture) => {
      const wire = await fixture.structured();
      await wire.send(requestHex(read, 1, 0, 65536));
      await settle();
      await wire.stream.close();
      held.releaseAll();
      await settle();
      assert.equal(fixture.server.counters[NbdCounter.connectionsOpen], 0);
      assert.equal(fixture.server.counters[NbdCounter.partialReads], 1);
    });
  });

  it('I27 any failed ranges: no byte of them is sent, every other byte is, and each is told once', async () => {
    const blocks = 64;
    const failure = fc.record({
      block: fc.nat(blocks - 1),
      blocks: fc.integer({ min: 1, max: 6 }),
      kind: fc.constantFrom('lost' as const, 'medium' as const, 'timed-out' as const),
    });
    const device = placedBytes(blocks * 512);
    await fc.assert(
      fc.asyncProperty(
        fc.array(failure, { minLength: 1, maxLength: 12 }),
        fc.nat(blocks - 1),
        fc.integer({ min: 1, max: blocks }),
        fc.boolean(),
        async (failures, first, count, inOnePiece) => {
          const failing = new RangesFail(device);
          failing.ranges = failures.map(({ block, blocks: length, kind }) => ({
            offset: block * 512,
            length: Math.min(length, blocks - block) * 512,
            kind,
            errno: EIO,
          }));
          const start = first * 512;
          const length = Math.min(count, blocks - first) * 512;
          const bad = new Uint8Array(blocks).fill(0);
          for (const range of failing.ranges)
            bad.fill(1, range.offset / 512, (range.offset + range.length) / 512);
          await withServer({ device: failing, limits: { deviceRequestBytesMax: 4096 } }, async (fixture) => {
            const wire = await fixture.structured();
            await wire.send(requestHex(read, 1, start, length, { flags: inOnePiece ? df : 0 }));
            const chunks = await receiveReply(wire);
            const delivered = new Uint8Array(blocks);
            let errors = 0;
            for (const { type, payload } of chunks) {
              if (type === chunk.errorOffset) {
                errors += 1;
                const place = Number(payload.readBigUInt64BE(payload.length - 8));
                assert.equal(bad[place / 512], 1, 'an error where nothing failed');
                continue;
              }
              assert.equal(type, chunk.data);
              const at = Number(payload.readBigUInt64BE(0));
              const data = payload.subarray(8);
              assert.ok(data.equals(device.bytes.subarray(at, at + data.length)), 'bytes that nobody wrote');
              for (let block = at / 512; block < (at + data.length) / 512; block += 1) {
                assert.equal(delivered[block], 0, 'sent twice');
                delivered[block] = 1;
              }
            }
            const asked = bad.slice(first, first + length / 512);
            const firstBad = asked.indexOf(1);
            for (const [index, isBad] of asked.entries()) {
              const expected = inOnePiece && firstBad >= 0 ? index < firstBad : isBad === 0;
              assert.equal(delivered[first + index] === 1, expected, `block ${first + index}`);
            }
            assert.equal(errors > 0, firstBad >= 0);
            if (inOnePiece) assert.ok(chunks.filter(({ type }) => type === chunk.data).length <= 1);
          });
        },
      ),
      { numRuns: 150 },
    );
  });
});
