import { crc32c } from '@node-rs/crc32';
import { DeviceError } from '../../block/device-error.ts';
import type { MappingStateSource } from '../../metadata/mapping-state.ts';
import type { ReadAt } from '../stack/bounded-read.ts';

/**
 * M15: checksums of a few granules of main, taken at a clean end and compared before main is served again. They tell that
 * somebody wrote to the raw disk meanwhile, and that another disk carries the same contents. A look at 64 of a million
 * granules finds a file system that was mounted and written to, a new one, or another disk; it does not find one changed byte.
 */
export const samplesMax = 64;

/** A granule of main, whole, healthy and readable when the stamp was taken. */
export interface Sample {
  readonly granule: number;
  /** CRC-32C of its bytes. */
  readonly checksum: number;
}

/** Under this key beside main's identity in the superblock. */
export const stampKey = 'stamp';
const stampVersion = '1';
/** 6 bytes of the granule, 4 of the checksum, little-endian. */
const sampleBytes = 10;

/**
 * Where to look: one granule in each of 64 equal parts of main, in its middle or the first healthy one behind it; in the
 * first part the first granule, which every new partition table changes.
 */
export function samplePlaces(
  sizeBytes: number,
  granuleBytes: number,
  isHealthy: (granule: number) => boolean,
): readonly number[] {
  const granules = Math.floor(sizeBytes / granuleBytes);
  const places = new Set<number>();
  for (let part = 0; part < samplesMax; part += 1) {
    const start = Math.floor((part * granules) / samplesMax);
    const end = Math.floor(((part + 1) * granules) / samplesMax);
    const middle = part === 0 ? 0 : Math.floor((start + end) / 2);
    // Behind a long bad stretch nothing of this part is sampled: the look stays short whatever the table holds.
    const last = Math.min(end, middle + searchMax);
    for (let granule = middle; granule < last; granule += 1) {
      if (!isHealthy(granule)) continue;
      places.add(granule);
      break;
    }
  }
  return [...places].sort((a, b) => a - b);
}

const searchMax = 64;

/** True for granules that the table says nothing of: main holds their bytes. */
export function healthyIn(table: MappingStateSource): (granule: number) => boolean {
  return (granule) => {
    const [next] = table.recordsAfter({ section: 'granules', next: granule }, 1).records;
    return next?.type !== 'granules' || next.granule > granule;
  };
}

/** Reads and sums the granules; what cannot be read is left out. */
export async function takeSamples(
  readAt: ReadAt,
  granuleBytes: number,
  places: readonly number[],
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  for (const granule of places) {
    const checksum = await checksumAt(readAt, granule, granuleBytes);
    if (checksum !== undefined) samples.push({ granule, checksum });
  }
  return samples;
}

/** How main looks now, sample by sample. */
export interface StampComparison {
  readonly compared: number;
  /** Samples that could not be read now. */
  readonly unreadable: number;
  /** Granules whose bytes are others, ascending. */
  readonly different: readonly number[];
}

export async function compareSamples(
  readAt: ReadAt,
  granuleBytes: number,
  samples: readonly Sample[],
): Promise<StampComparison> {
  const different: number[] = [];
  let unreadable = 0;
  for (const { granule, checksum } of samples) {
    const now = await checksumAt(readAt, granule, granuleBytes);
    if (now === undefined) unreadable += 1;
    else if (now !== checksum) different.push(granule);
  }
  return { compared: samples.length - unreadable, unreadable, different };
}

/** Undefined for a granule that cannot be read. */
async function checksumAt(
  readAt: ReadAt,
  granule: number,
  granuleBytes: number,
): Promise<number | undefined> {
  try {
    return crc32c(await readAt(granule * granuleBytes, granuleBytes));
  } catch (error) {
    if (error instanceof DeviceError) return undefined;
    throw error;
  }
}

/** `1 BASE64`, at most 856 characters. */
export function formatStamp(samples: readonly Sample[]): string {
  const bytes = Buffer.alloc(samples.length * sampleBytes);
  samples.forEach(({ granule, checksum }, index) => {
    bytes.writeUIntLE(granule, index * sampleBytes, 6);
    bytes.writeUInt32LE(checksum, index * sampleBytes + 6);
  });
  return `${stampVersion} ${bytes.toString('base64')}`;
}

/** Undefined for a text that is no stamp this program knows, or that names no granule, or one outside of main. */
export function parseStamp(
  text: string | undefined,
  sizeBytes: number,
  granuleBytes: number,
): readonly Sample[] | undefined {
  const [version, encoded, ...rest] = (text ?? '').split(' ');
  if (version !== stampVersion || encoded === undefined || rest.length > 0) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.length === 0 || bytes.length % sampleBytes !== 0 || bytes.length > samplesMax * sampleBytes) {
    return undefined;
  }
  const samples = Array.from({ length: bytes.length / sampleBytes }, (_, index) => ({
    granule: bytes.readUIntLE(index * sampleBytes, 6),
    checksum: bytes.readUInt32LE(index * sampleBytes + 6),
  }));
  return samples.every(({ granule }) => (granule + 1) * granuleBytes <= sizeBytes) ? samples : undefined;
}
