import assert from 'node:assert/strict';
import { type FileHandle, open } from 'node:fs/promises';

/** drivers/md/dm-log-writes.c, struct log_write_super and log_write_entry: little-endian. */
const magic = 0x6a736677736872n;
const superVersion = 1n;
const superEntriesAt = 16;
const superSectorBytesAt = 24;
const entryBytes = 32;
export const LogFlag = { flush: 1, fua: 2, discard: 4, mark: 8, metadata: 16 } as const;

/** What reached the disk below dm-log-writes: a write, a flush, or what somebody noted between. */
export interface LogEntry {
  readonly offset: number;
  readonly flags: number;
  /** Bytes that are written; empty for a discard, whose effect nobody promises. */
  readonly data: Uint8Array;
  /** Of a mark. */
  readonly text: string;
}

/** The entries of a log device in their order: a write is there once a flush made it durable, one with FUA when it was answered. */
export async function* readWriteLog(path: string): AsyncGenerator<LogEntry> {
  const file = await open(path, 'r');
  try {
    const header = await readPart(file, 0, 512);
    assert.equal(header.readBigUInt64LE(0), magic, 'a log of dm-log-writes');
    assert.equal(header.readBigUInt64LE(8), superVersion);
    const entryCount = Number(header.readBigUInt64LE(superEntriesAt));
    const sectorBytes = header.readUInt32LE(superSectorBytesAt);
    let at = sectorBytes;
    for (let index = 0; index < entryCount; index += 1) {
      const entry = await readPart(file, at, sectorBytes);
      const offset = Number(entry.readBigUInt64LE(0)) * sectorBytes;
      const length = Number(entry.readBigUInt64LE(8)) * sectorBytes;
      const flags = Number(entry.readBigUInt64LE(16));
      const dataLength = Number(entry.readBigUInt64LE(24));
      at += sectorBytes;
      const isMark = (flags & LogFlag.mark) !== 0;
      const isData = !isMark && (flags & LogFlag.discard) === 0;
      yield {
        offset,
        flags,
        data: isData ? await readPart(file, at, length) : new Uint8Array(),
        text: isMark
          ? entry.toString('latin1', entryBytes, entryBytes + dataLength).replace(/\0.*$/s, '')
          : '',
      };
      if (isData) at += length;
    }
  } finally {
    await file.close();
  }
}

async function readPart(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await file.read(bytes, 0, length, position);
  assert.equal(bytesRead, length, 'the log ends within an entry');
  return bytes;
}
