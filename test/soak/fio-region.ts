import type { NbdClient } from '../../src/nbd/client.ts';
import { NbdRequestError } from '../../src/nbd/client.ts';
import { assertFioBlocks } from '../acceptance/fio-blocks.ts';

const sectorBytes = 512;
const pageBytes = 4096;
const pieceBytes = 128 * 1024;
const readersAtOnce = 8;

/**
 * Reads all that fio wrote: old or new, whichever was there when it ended; each sector is whole, and at its own place. Calls
 * `lost` for each sector that nobody can read.
 */
export async function verifyFioRegion(
  client: NbdClient,
  { offset, size }: { readonly offset: number; readonly size: number },
  lost: (sector: number) => void,
): Promise<void> {
  const reader = async (first: number): Promise<void> => {
    for (let at = first * pieceBytes; at < size; at += readersAtOnce * pieceBytes) {
      await verifyPiece(client, offset + at, Math.min(pieceBytes, size - at), lost);
    }
  };
  await Promise.all(Array.from({ length: readersAtOnce }, (_, first) => reader(first)));
}

/** A piece that fails is read by pages, a page by sectors. */
async function verifyPiece(
  client: NbdClient,
  offset: number,
  length: number,
  lost: (sector: number) => void,
): Promise<void> {
  const bytes = Buffer.alloc(length);
  try {
    await client.read(bytes, offset);
  } catch (error) {
    if (!(error instanceof NbdRequestError) || !/EIO/.test(String(error))) throw error;
    if (length === sectorBytes) {
      lost(offset / sectorBytes);
      return;
    }
    const part = length > pageBytes ? pageBytes : sectorBytes;
    for (let at = 0; at < length; at += part) await verifyPiece(client, offset + at, part, lost);
    return;
  }
  assertFioBlocks(bytes, offset, sectorBytes);
}
