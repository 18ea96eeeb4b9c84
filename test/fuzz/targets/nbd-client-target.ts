import { DeviceError } from '../../../src/block/device-error.ts';
import { OpenError } from '../../../src/io/open-error.ts';
import type { NbdDevice } from '../../../src/nbd/nbd-device.ts';
import { openNbdDevice } from '../../../src/nbd/open-nbd-device.ts';
import { ManualClock, settle } from '../../nbd/manual-clock.ts';
import { memoryStreamPair } from '../../nbd/memory-stream.ts';
import { address } from '../../nbd/remote-lab.ts';
import {
  bytesOf,
  chunk,
  chunkHex,
  dataChunkHex,
  errorChunkHex,
  errorOffsetHex,
  field,
  optionReplyHex,
  replyHex,
  statusChunkHex,
  textHex,
} from '../../nbd/wire-client.ts';
import { expecting, type FuzzTarget, must } from '../engine/fuzz-target.ts';

const hello = '4e42444d4147494349484156454f50540003';
const exportReply = optionReplyHex(7, 3, `0000${field(1 << 20, 8)}04fd`);
const blockSizes = optionReplyHex(7, 3, '0003000002000000100002000000');
const go = exportReply + blockSizes + optionReplyHex(7, 1);
const simple = hello + optionReplyHex(8, 0x80000001) + go;
const structured =
  hello +
  optionReplyHex(8, 1) +
  optionReplyHex(10, 4, `00000001${textHex('base:allocation')}`) +
  optionReplyHex(10, 1) +
  go;
const data = new Uint8Array(512).fill(7);

function text(hex: string): Buffer {
  return Buffer.from(bytesOf(hex));
}

/** An input's first byte: what the client is given before its first request; the rest comes behind its requests. */
const beginnings: readonly Uint8Array[] = ['', simple, structured].map(bytesOf);
const [raw, simply, structuredly] = ['00', '01', '02'];

/** What a good server answers to the requests below, in the order of their cookies. */
const seedTexts: readonly string[] = [
  raw + simple,
  raw + structured,
  simply + replyHex(1, 0, new Uint8Array(1024)) + replyHex(2) + replyHex(3),
  simply + replyHex(1, 5) + replyHex(2, 28) + replyHex(3, 5),
  structuredly +
    dataChunkHex(1, 512, data, false) +
    dataChunkHex(1, 1024, data) +
    chunkHex(2, chunk.none, '') +
    chunkHex(3, chunk.none, '') +
    statusChunkHex(4, 1, [
      [1024, 0],
      [1024, 3],
    ]),
  structuredly +
    dataChunkHex(1, 512, data, false) +
    errorOffsetHex(1, 5, 1024, 'bad') +
    errorChunkHex(2, 5) +
    chunkHex(3, chunk.none, '') +
    errorChunkHex(4, 22),
  structuredly + chunkHex(1, chunk.hole, `${field(512, 8)}${field(1024, 4)}`),
];

/** Around the bytes that a read may fill. */
const marginBytes = 4096;
const margin = 0x5a;
const turnsMax = 40;
const minuteMs = 61_000;

export const nbdClient: FuzzTarget = {
  name: 'nbd-client',
  what: 'a hostile server’s bytes to our client: every request ends with success or a typed error, and reads fill their buffer only',
  inputBytesMax: 4_096,
  executionsPerLook: 4,
  executionsInTests: 3_000,
  seeds: () => seedTexts.map(text),
  words: [
    ...[1, 2, 3, 4, 5].flatMap((cookie) => [
      replyHex(cookie),
      replyHex(cookie, 5),
      chunkHex(cookie, chunk.none, ''),
    ]),
    ...[
      dataChunkHex(1, 512, data),
      chunkHex(1, chunk.hole, `${field(512, 8)}${field(1024, 4)}`),
      errorChunkHex(4, 5),
    ],
    ...[
      statusChunkHex(4, 1, [[512, 0]]),
      errorOffsetHex(1, 5, 512, 'x', false),
      go,
      exportReply,
      blockSizes,
      hello,
    ],
    ...[
      optionReplyHex(8, 1),
      optionReplyHex(10, 1),
      optionReplyHex(7, 0x80000006),
      optionReplyHex(7, 3, '000161'),
    ],
  ].map(text),
  open: () => Promise.resolve({ run: serve }),
};

async function serve(input: Buffer): Promise<void> {
  const clock = new ManualClock();
  const pair = memoryStreamPair();
  let connections = 0;
  const opening = openNbdDevice({
    address,
    clock,
    readOnly: false,
    stream: () => {
      connections += 1;
      return Promise.resolve(pair.client);
    },
  });
  const beginning = beginnings[(input[0] ?? 0) % beginnings.length]!;
  const rest = input.subarray(1);
  await pair.server.send([beginning.length === 0 ? rest : beginning]);
  if (beginning.length === 0) pair.server.finish();
  void drain(pair.server);
  const device = await ended(clock, opening, (error) => error instanceof OpenError);
  must(connections === 1, 'it connected more than once');
  if (device === undefined) return;
  const { sizeBytes, logicalBlockBytes } = device.geometry;
  must(
    Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % logicalBlockBytes === 0,
    `${sizeBytes} bytes`,
  );
  await useDevice(clock, device, async () => {
    if (beginning.length === 0) return;
    await pair.server.send([rest]);
    pair.server.finish();
  });
  await ended(clock, device.close(), () => false);
}

/** `answer` comes when the requests are under way. */
async function useDevice(clock: ManualClock, device: NbdDevice, answer: () => Promise<void>): Promise<void> {
  const { sizeBytes, logicalBlockBytes } = device.geometry;
  const length = Math.min(sizeBytes, Math.max(1024, logicalBlockBytes));
  const offset = sizeBytes >= length + logicalBlockBytes ? logicalBlockBytes : 0;
  const memory = new Uint8Array(length + 2 * marginBytes).fill(margin);
  const requests: readonly Promise<unknown>[] = [
    device.read(memory.subarray(marginBytes, marginBytes + length), offset),
    device.write(new Uint8Array(length), offset),
    device.flush(),
    device.extents(offset, length),
    device.discard(offset, length),
    device.writeZeroes(offset, length),
  ];
  for (const request of requests) request.catch(() => undefined);
  await settle();
  await answer();
  const isDeviceError = (error: unknown): boolean => error instanceof DeviceError;
  await Promise.all(requests.map((request) => ended(clock, request, isDeviceError)));
  const around = [memory.subarray(0, marginBytes), memory.subarray(marginBytes + length)];
  must(
    around.every((bytes) => bytes.every((byte) => byte === margin)),
    'a read wrote beside its buffer',
  );
}

/** The result; undefined for an expected error. Time passes until it is there. */
async function ended<T>(
  clock: ManualClock,
  promise: Promise<T>,
  isExpected: (error: unknown) => boolean,
): Promise<T | undefined> {
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  promise.then(over, over);
  for (let turn = 0; turn < turnsMax && !isOver; turn += 1) {
    await settle();
    if (!isOver && turn > 2) clock.advance(minuteMs);
  }
  must(isOver, 'a request never ends');
  return await expecting(promise, isExpected);
}

/** Whatever the client sends. */
async function drain(stream: { receive(target: Uint8Array): Promise<number> }): Promise<void> {
  const chunkBytes = new Uint8Array(65_536);
  while ((await stream.receive(chunkBytes).catch(() => 0)) > 0);
}
