import { DeviceError } from '../../../src/block/device-error.ts';
import { messageWordLengthMax, messageWordsMax } from '../../../src/device/messages.ts';
import { MetadataError } from '../../../src/metadata/metadata-error.ts';
import { MessageError } from '../../../src/remap/message/message-error.ts';
import { messageVerbs } from '../../../src/remap/message/remap-messages.ts';
import { policyNames } from '../../../src/remap/policies.ts';
import { finish, makeStack, patternOf, type Stack, writeSectors } from '../../remap/remap-stack.ts';
import { expecting, type FuzzTarget, isOutOfBounds, must, textWords } from '../engine/fuzz-target.ts';

const linesMax = 24;
/** Characters of a reply: the longest is a full list. */
const replyLengthMax = 1 << 20;
const diskBytes = 256 * 1024;
const sectorCount = diskBytes / 512;
/** Of main before anything is asked; making it took a tenth of an execution. */
const pattern = patternOf(0, sectorCount);
const written = patternOf(40, 3, 1);
/** What read-ahead is to a granule: small pieces where something is bad, so that each sector has its own answer. */
const pieces: readonly (readonly [sector: number, count: number])[] = [
  ...[0, 8].map((sector) => [sector, 8] as const),
  ...[16, 17].map((sector) => [sector, 1] as const),
  [18, 14],
  ...[32, 40, 48, 56, 64, 72].map((sector) => [sector, 8] as const),
  ...Array.from({ length: 8 }, (_, index) => [80 + index, 1] as const),
  [88, sectorCount - 88],
];
const isTyped = (error: unknown): boolean =>
  error instanceof MessageError ||
  (error instanceof DeviceError && !isOutOfBounds(error)) ||
  error instanceof MetadataError;

export const remapMessages: FuzzTarget = {
  name: 'remap-messages',
  what: 'messages to a remap device over bad sectors: a reply or a typed refusal, what is live is durable, no healthy byte changes',
  inputBytesMax: 1_024,
  // A look takes as long as eight executions.
  executionsPerLook: 48,
  executionsInTests: 1_500,
  seeds: () =>
    [
      'remap 8\nlist\nlist blocks\nquery 0 64\nunremap 8\nstats\n',
      'lost\nretry all\nlost zero 16 2 yes\nfill 80 1 yes\nverify\n',
      'import suspect 30 4\nremap 0 64\nverify 0 64\nretire\nspare\nhealth\n',
      'policy\npolicy on-lost zero\npolicy verify always\nclear_stats\nhelp\n',
      'retire 0 512\nverify 16 1\nretry 80 8\nlost zero all yes\n',
    ].map((text) => Buffer.from(text)),
  words: textWords(
    ...messageVerbs,
    ...policyNames,
    'zero',
    'yes',
    'all',
    'suspect',
    'blocks',
    '\n',
    ' ',
    '16',
    '80',
    '511',
  ),
  open: () => Promise.resolve({ run: (input) => sendAll(input.toString('utf8')) }),
};

async function sendAll(text: string): Promise<void> {
  const stack = makeStack({ mainBytes: diskBytes, spareBytes: diskBytes });
  stack.mainDisk.load(pattern);
  breakSome(stack);
  await writeSectors(stack, 40, written);
  for (const line of text.split('\n').slice(0, linesMax)) {
    const words = line.split(' ').filter((word) => word !== '');
    // As the control API lets them through (src/control/schema.ts).
    if (words.length === 0 || words.length > messageWordsMax) continue;
    if (words.some((word) => word.length > messageWordLengthMax)) continue;
    const reply = await expecting(stack.clock.run(stack.device.message(words)), isTyped);
    must(reply === undefined || reply.length <= replyLengthMax, `a reply of ${reply?.length} characters`);
  }
  await mustReadAlike(stack);
  await finish(stack, { lazyLost: true });
}

/** Sectors 16 and 17 fail altogether, 41 only for writes, 80 to 87 for reads. */
function breakSome({ mainDisk }: Stack): void {
  const fault = { on: 'both' } as const;
  mainDisk.faults.addBadSectors(16, 2, fault);
  mainDisk.faults.addBadSectors(41, 1, { on: 'write' });
  mainDisk.faults.addBadSectors(80, 8, { on: 'read' });
}

/**
 * Every sector that can be read has its bytes, or the zeroes that somebody asked for where it was lost. Piece by piece: a read
 * of each sector alone took two thirds of an execution.
 */
async function mustReadAlike({ clock, device }: Stack): Promise<void> {
  for (const [first, count] of pieces) {
    const bytes = new Uint8Array(count * 512);
    const read = clock.run(device.read(bytes, first * 512));
    const isRead = await expecting(
      read.then(() => true),
      (error) => error instanceof DeviceError && !isOutOfBounds(error),
    );
    // Only these fail reads.
    const mayBeZero = first === 16 || first === 17 || (first >= 80 && first < 88);
    if (isRead === undefined) {
      must(mayBeZero, `sectors ${first} to ${first + count - 1} cannot be read`);
      continue;
    }
    const isSame = Buffer.compare(bytes, pattern.subarray(first * 512, (first + count) * 512)) === 0;
    must(
      isSame || (mayBeZero && bytes.every((byte) => byte === 0)),
      `sectors ${first} to ${first + count - 1} have other bytes`,
    );
  }
}
