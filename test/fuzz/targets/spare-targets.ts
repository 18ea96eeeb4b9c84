import type { FuzzTarget } from '../engine/fuzz-target.ts';
import { encodeStep } from './spare-program.ts';
import { type SpareAspect, SpareSession } from './spare-session.ts';

/** docs/on-disk-format.md, "Superblock": where its fields begin, then those of the properties. */
const superblockFields: readonly number[] = [
  ...[0, 8, 12, 14, 16, 32, 36, 40, 44, 48, 56, 64, 72, 80, 84, 86, 88, 90, 92, 96, 100, 104, 112, 120, 128],
  ...[132, 136, 144, 152, 156, 160, 164, 328, 336, 384, 386, 388, 400, 404, 420],
  ...[0, 1, 2, 3].flatMap((place) => [0, 8, 16, 24, 32].map((at) => 168 + place * 40 + at)),
];
/** "Record block", and the fields of the first records. */
const recordBlockFields: readonly number[] = [
  ...[0, 12, 14, 16, 32, 40, 48, 56, 64, 68, 70, 72],
  ...[0, 1, 2, 40, 82].flatMap((record) =>
    [0, 1, 2, 4, 8, 12, 16, 24, 32, 36, 40].map((at) => 112 + record * 48 + at),
  ),
];

const numbers: readonly Buffer[] = [
  Buffer.of(0),
  Buffer.of(1),
  Buffer.of(0xff, 0xff, 0xff, 0xff),
  Buffer.of(0, 0, 0, 0, 0, 0, 0, 0),
  Buffer.alloc(8, 0xff),
  Buffer.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0),
  Buffer.of(0, 2, 0, 0),
];
/** In `recordBlockFields`, the slots of the first records. */
const slotFieldAt = 19;
const fieldsPerRecord = 11;
const slot300 = Buffer.of(0x60, 9, 0, 0, 0, 0, 0, 0);
const sealed = 1;
const chained = 2;

/** One field at a time, in all copies, sealed and not. */
function seedsOf(fields: readonly number[], images: readonly number[], hows: readonly number[]): Buffer[] {
  return images.flatMap((image) =>
    hows.flatMap((how) => [
      Buffer.of(image, how),
      ...fields.map((_, index) =>
        Buffer.concat([
          Buffer.of(image, how),
          encodeStep(0, index % 2 === 0 ? 255 : 0, index, numbers[index % numbers.length]!),
        ]),
      ),
      Buffer.concat([Buffer.of(image, how), encodeStep(3, 1, 0, Buffer.alloc(0))]),
      Buffer.concat([Buffer.of(image, how), encodeStep(4, 0, 0, Buffer.alloc(0))]),
    ]),
  );
}

function spareTarget(
  name: string,
  what: string,
  aspect: SpareAspect,
  seeds: () => readonly Buffer[],
): FuzzTarget {
  return {
    name,
    what: `${what}: opened with every acknowledged record or refused with a MetadataError, nothing written outside the metadata`,
    inputBytesMax: 512,
    executionsPerLook: 4,
    executionsInTests: 500,
    seeds,
    words: [
      ...numbers,
      ...aspect.fields.slice(0, 60).map((_, index) => encodeStep(0, 255, index, Buffer.alloc(8))),
    ],
    open: () => Promise.resolve(new SpareSession(aspect)),
  };
}

/** Golden images by their names: closed, crashed, created, fresh, given-up, in-use, replica-lost. */
const [crashed, fresh, inUse, replicaLost] = [1, 3, 5, 6];

export const superblocks: FuzzTarget = spareTarget(
  'superblock',
  'superblocks and in-use marks, damaged and forged',
  { blocksOf: (image) => [...image.superblocks, ...image.marks], fields: superblockFields },
  () => [
    ...seedsOf(superblockFields, [fresh], [sealed]),
    ...seedsOf(superblockFields.slice(0, 12), [crashed, replicaLost], [0]),
    ...seedsOf([32, 40, 48, 56, 60, 100], [inUse], [sealed + 4]),
  ],
);

export const journals: FuzzTarget = spareTarget(
  'journal',
  'blocks of the journal, damaged and forged',
  { blocksOf: (image) => image.journal, fields: recordBlockFields },
  () => [
    ...seedsOf(recordBlockFields, [crashed], [sealed]),
    ...seedsOf(recordBlockFields.slice(0, 8), [crashed, replicaLost], [0]),
  ],
);

export const checkpoints: FuzzTarget = spareTarget(
  'checkpoint',
  'blocks of the checkpoint, damaged, forged, and chained anew so that only their records are wrong',
  { blocksOf: (image) => image.checkpoint, fields: recordBlockFields },
  () => [
    ...seedsOf(recordBlockFields, [crashed, fresh], [chained]),
    // Two records whose slots are one.
    Buffer.concat([
      Buffer.of(crashed, chained),
      ...[0, 1].map((record) => encodeStep(1, 255, slotFieldAt + record * fieldsPerRecord, slot300)),
    ]),
    ...seedsOf(recordBlockFields.slice(0, 8), [crashed, replicaLost], [0, sealed]),
  ],
);
