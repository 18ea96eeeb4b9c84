import { type FileHandle, open } from 'node:fs/promises';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { fileMode, fuseRequestBytesMax, fuseTransferBytesMax } from '../../src/fuse/constants.ts';
import { FuseSession } from '../../src/fuse/session.ts';
import { createDataPlane, type DataPlane } from '../../src/io/data-plane.ts';
import { allocateRange } from '../../src/linux/file-calls.ts';
import { connectNbd } from '../../src/nbd/client.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { memoryStreamPair } from '../nbd/memory-stream.ts';

const mebibyte = 1024 * 1024;

/** A device as a user of one export sees it. Everything rejects when the device fails, or refuses. */
export interface ExportedDisk {
  readonly sizeBytes: number;
  read(offset: number, length: number): Promise<Uint8Array>;
  write(bytes: Uint8Array, offset: number): Promise<void>;
  flush(): Promise<void>;
  zero(offset: number, length: number): Promise<void>;
  close(): Promise<void>;
}

/** By calling the device. */
export function byLibrary(device: BlockDevice): Promise<ExportedDisk> {
  return Promise.resolve({
    sizeBytes: device.geometry.sizeBytes,
    read: async (offset, length) => {
      const target = new Uint8Array(length);
      await device.read(target, offset);
      return target;
    },
    write: (bytes, offset) => device.write(bytes, offset),
    flush: () => device.flush(),
    zero: (offset, length) => device.writeZeroes(offset, length),
    close: () => Promise.resolve(),
  });
}

/** By our server and our client. */
export async function byNbd(device: BlockDevice): Promise<ExportedDisk> {
  const { plane, server } = serve(device);
  const pair = memoryStreamPair({});
  server.serve(pair.server);
  const client = await connectNbd(pair.client, 'disk');
  return {
    sizeBytes: client.exported.sizeBytes,
    read: async (offset, length) => {
      const target = new Uint8Array(length);
      await client.read(target, offset);
      return target;
    },
    write: (bytes, offset) => client.write(bytes, offset),
    flush: () => client.flush(),
    zero: (offset, length) => client.writeZeroes(offset, length),
    close: async () => {
      await client.disconnect();
      await server.close(1_000);
      await plane.close();
    },
  };
}

/** By the kernel, through our FUSE file: system calls of libuv's threads, which this thread answers. */
export async function byFuse(device: BlockDevice): Promise<ExportedDisk> {
  const { plane, server } = serve(device);
  const file = plane.openFuseFile({
    mode: fileMode,
    requestBytesMax: fuseRequestBytesMax,
    readBytesMax: fuseTransferBytesMax,
    readOnly: false,
  });
  let onEnd = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    onEnd = resolve;
  });
  server.serveOther((shared) => new FuseSession({ ...shared, channel: file, onEnd }));
  const handle = await open(file.path, 'r+');
  return {
    sizeBytes: (await handle.stat()).size,
    read: (offset, length) => readAll(handle, offset, length),
    write: (bytes, offset) => writeAll(handle, bytes, offset),
    flush: () => handle.datasync(),
    zero: (offset, length) => punch(handle, offset, length),
    close: async () => {
      await handle.close();
      await ended;
      await server.close(1_000);
      await plane.close();
    },
  };
}

function serve(device: BlockDevice): { plane: DataPlane; server: NbdServer } {
  const plane = createDataPlane({ arenaBytes: 24 * mebibyte, remapBytes: mebibyte, metadataBytes: mebibyte });
  const server = new NbdServer({
    exports: [{ name: 'disk', device }],
    arena: plane.arena,
    clock: plane.clock,
    limits: { connectionsMax: 4 },
  });
  return { plane, server };
}

/** As the loop driver does it, whose requests `attach` keeps so short that FUSE cuts none of them. */
const pieceBytes = 512 * 1024;

/** A read that gives nothing has met the end of the file. */
async function readAll(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const target = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(target, done, Math.min(pieceBytes, length - done), offset + done);
    if (bytesRead === 0) throw new Error('the file ends here');
    done += bytesRead;
  }
  return target;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(
      bytes,
      done,
      Math.min(pieceBytes, bytes.length - done),
      offset + done,
    );
    done += bytesWritten;
  }
}

/** FALLOC_FL_PUNCH_HOLE with KEEP_SIZE: what the loop driver sends for zeroes. */
function punch(handle: FileHandle, offset: number, length: number): Promise<void> {
  return new Promise((resolve, reject) => {
    allocateRange(handle.fd, 3, offset, length, (result) => {
      if (result === 0) resolve();
      else reject(new Error(`fallocate: errno ${-result}`));
    });
  });
}
