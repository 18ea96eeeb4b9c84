import { DeviceError } from '../../../src/block/device-error.ts';
import { MemoryDevice } from '../../../src/block/memory-device.ts';
import { createMappedDevice } from '../../../src/mapping/create-mapped-device.ts';
import { TargetRegistry } from '../../../src/mapping/registry.ts';
import { formatTable, parseTable } from '../../../src/mapping/table-syntax.ts';
import { TargetError } from '../../../src/mapping/target-error.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { VirtualClock } from '../../../src/simulator/virtual-clock.ts';
import { standardTargets } from '../../../src/targets/standard-targets.ts';
import { expecting, type FuzzTarget, isOutOfBounds, must, textWords } from '../engine/fuzz-target.ts';

const diskBytes = 64 * 1024;
const eventsMax = 20_000;
const isTyped = (error: unknown): boolean =>
  error instanceof TargetError || (error instanceof DeviceError && !isOutOfBounds(error));

/** Lines of the table; behind a line `message`, lines `SECTOR WORDS…` for what it made. */
const seedTexts = [
  '0 128 linear a 0\n',
  '0 8 zero\n8 8 error\n16 8 linear b 16\n',
  '0 128 delay a 0 5 b 0 7 a 0 1\n',
  '0 128 flakey a 0 1 1 1 drop_writes\nmessage\n0 x\n',
  '0 128 flakey a 0 0 1 5 corrupt_bio_byte 32 r 1 0\n',
  '0 128 flakey b 0 1 0 2 random_read_corrupt 500000\n',
  '0 128 dust a 0 512\nmessage\n0 addbadblock 5\n0 enable\n0 countbadblocks\n0 listbadblocks\n0 removebadblock 5\n',
  '0 128 dust b 0 4096\nmessage\n0 addbadblock 3 7\n0 queryblock 3\n0 quiet\n0 disable\n0 clearbadblocks\n',
  '# a remark\n0 64 linear a\\ b 0\n64 64 linear a 0\n',
];

export const tableLines: FuzzTarget = {
  name: 'table-lines',
  what: 'tables and messages to what they make: a device of that size that reads, writes and answers, or a typed refusal; no byte outside its disks',
  inputBytesMax: 4_096,
  executionsPerLook: 32,
  executionsInTests: 12_000,
  seeds: () => seedTexts.map((text) => Buffer.from(text)),
  words: textWords(
    ...[
      'linear',
      'zero',
      'error',
      'delay',
      'flakey',
      'dust',
      'a',
      'b',
      'missing',
      '\n',
      ' ',
      '\\',
      '0 ',
      '128',
      '512',
    ],
    ...[
      'drop_writes',
      'error_writes',
      'error_reads',
      'corrupt_bio_byte',
      'random_write_corrupt',
      'random_read_corrupt',
    ],
    ...[
      'message\n',
      'addbadblock',
      'removebadblock',
      'queryblock',
      'enable',
      'disable',
      'countbadblocks',
      'listbadblocks',
    ],
    ...['clearbadblocks', 'quiet', '17592186044415', '18446744073709551615', '-1', '0x10', '1e3'],
  ),
  open: () => Promise.resolve({ run: (input) => makeAndUse(input.toString('latin1')) }),
};

async function makeAndUse(text: string): Promise<void> {
  const [table = '', messages = ''] = text.split('message\n');
  const random = new SeededRandom('table lines');
  const clock = new VirtualClock(random.fork('clock'), { eventsMax });
  const registry = new TargetRegistry(standardTargets({ clock, random }));
  const disks: MemoryDevice[] = [];
  const openDevice = (path: string): Promise<MemoryDevice> => {
    if (!/^[ab ]{1,4}$/.test(path))
      return Promise.reject(new TargetError('TARGET_DEVICE', `${path}: no such disk`));
    const logicalBlockBytes = path.startsWith('b') ? 4096 : 512;
    const disk = new MemoryDevice({ name: path, sizeBytes: diskBytes, logicalBlockBytes });
    disks.push(disk);
    return Promise.resolve(disk);
  };
  const device = await expecting(
    clock.run(createMappedDevice({ name: 'mapped', table, registry, openDevice })),
    isTyped,
  );
  if (device === undefined) {
    await mustBeClosed(disks);
    return;
  }
  const segments = parseTable(table, registry);
  must(
    JSON.stringify(parseTable(formatTable(segments), registry)) === JSON.stringify(segments),
    'a table is another when it was printed',
  );
  const { sizeBytes, logicalBlockBytes } = device.geometry;
  must(
    sizeBytes > 0 && sizeBytes % logicalBlockBytes === 0,
    `${sizeBytes} bytes of blocks of ${logicalBlockBytes}`,
  );
  for (const line of messages.split('\n').slice(0, 20)) {
    const [sector = '', ...words] = line.split(' ');
    const asked = device.message(Number.parseInt(sector, 10) || 0, words);
    await expecting(clock.run(asked), isTyped);
  }
  const block = new Uint8Array(logicalBlockBytes);
  for (const offset of [0, sizeBytes - logicalBlockBytes]) {
    await expecting(clock.run(device.write(block, offset)), isTyped);
    await expecting(clock.run(device.read(block, offset)), isTyped);
  }
  await expecting(clock.run(device.discard(0, logicalBlockBytes)), isTyped);
  await expecting(clock.run(device.flush()), isTyped);
  device.status('info');
  const again = device.status('table').join('\n');
  must(parseTable(again, registry).length === segments.length, 'what it says of itself is no table');
  await clock.run(device.close());
  await mustBeClosed(disks);
}

async function mustBeClosed(disks: readonly MemoryDevice[]): Promise<void> {
  for (const disk of disks) {
    const isClosed = await disk.flush().then(
      () => false,
      () => true,
    );
    must(isClosed, `${disk.name} was left open`);
  }
}
