import { createCipheriv } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';

const chunkBytes = 4 * 1024 * 1024;
const blockBytesOfCipher = 16;

/**
 * Bytes that differ everywhere, between seeds too, and that anybody can compute again: the key stream of a cipher. A lost,
 * doubled or misplaced block never looks like the right one.
 */
function noiseSource(seed: number): (zeroes: Buffer) => Buffer {
  const key = Buffer.alloc(blockBytesOfCipher);
  key.writeUInt32LE(seed);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(blockBytesOfCipher));
  return (zeroes) => cipher.update(zeroes);
}

export function noise(seed: number, lengthBytes: number): Buffer {
  return noiseSource(seed)(Buffer.alloc(lengthBytes));
}

/** Makes a file full of noise, written out to the disk. */
export async function writeNoiseFile(path: string, seed: number, sizeBytes: number): Promise<void> {
  const nextNoise = noiseSource(seed);
  const zeroes = Buffer.alloc(chunkBytes);
  const file = await open(path, 'wx');
  try {
    for (let at = 0; at < sizeBytes; at += chunkBytes) {
      await file.write(nextNoise(zeroes.subarray(0, Math.min(chunkBytes, sizeBytes - at))));
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

export interface Comparison {
  readonly comparedBytes: number;
  readonly differentBytes: number;
  /** Undefined when all bytes are equal. */
  readonly firstDifference: number | undefined;
}

/** Compares two files byte by byte; a file that ends early differs in everything behind its end. */
export async function compareFiles(onePath: string, otherPath: string): Promise<Comparison> {
  const one = await open(onePath);
  const other = await open(otherPath);
  try {
    return await compareHandles(one, other);
  } finally {
    await one.close();
    await other.close();
  }
}

async function compareHandles(one: FileHandle, other: FileHandle): Promise<Comparison> {
  const sizeBytes = Math.max((await one.stat()).size, (await other.stat()).size);
  const [oneChunk, otherChunk] = [Buffer.alloc(chunkBytes), Buffer.alloc(chunkBytes)];
  let differentBytes = 0;
  let firstDifference: number | undefined;
  for (let at = 0; at < sizeBytes; at += chunkBytes) {
    const length = Math.min(chunkBytes, sizeBytes - at);
    const oneLength = await readFully(one, oneChunk, length, at);
    const otherLength = await readFully(other, otherChunk, length, at);
    const shorter = Math.min(oneLength, otherLength);
    const equal = oneChunk.compare(otherChunk, 0, shorter, 0, shorter) === 0;
    for (let index = equal ? shorter : 0; index < length; index += 1) {
      if (index < shorter && oneChunk[index] === otherChunk[index]) continue;
      differentBytes += 1;
      firstDifference ??= at + index;
    }
  }
  return { comparedBytes: sizeBytes, differentBytes, firstDifference };
}

async function readFully(file: FileHandle, target: Buffer, length: number, offset: number): Promise<number> {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(target, done, length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
