import { type FileHandle, open } from 'node:fs/promises';
import { createDataPlane } from '../src/io/data-plane.ts';
import { connectNbd, type NbdClient } from '../src/nbd/client.ts';
import { findProgram, type Stage } from './stage.ts';

/** Where a device is exported. */
export interface Export {
  readonly uri: string;
  readonly socketPath: string;
  readonly name: string;
}

const pieceBytes = 1024 * 1024;
const arenaBytes = 64 * 1024 * 1024;

/** Writes a whole file to a device, by a client of somebody else where one is installed. */
export async function copyToDevice(stage: Stage, file: string, target: Export): Promise<void> {
  if (findProgram('nbdcopy') !== undefined) await stage.foreign('nbdcopy', file, target.uri);
  else if (findProgram('qemu-img') !== undefined) {
    await stage.foreign('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', file, target.uri);
  } else {
    stage.narrator.say('(neither nbdcopy nor qemu-img is installed: our own client writes)');
    await builtInCopy(target, stage.path(file), 'to device');
  }
}

/** Reads a whole device into a new file, likewise. */
export async function copyFromDevice(stage: Stage, source: Export, file: string): Promise<void> {
  if (findProgram('nbdcopy') !== undefined) await stage.foreign('nbdcopy', source.uri, file);
  else if (findProgram('qemu-img') !== undefined) {
    await stage.foreign('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', source.uri, file);
  } else {
    stage.narrator.say('(our own client reads)');
    await builtInCopy(source, stage.path(file), 'from device');
  }
}

async function builtInCopy(exported: Export, path: string, way: 'to device' | 'from device'): Promise<void> {
  await withClient(exported, async (client) => {
    const file = await open(path, way === 'to device' ? 'r' : 'wx');
    try {
      await copyPieces(client, file, way);
    } finally {
      await file.close();
    }
  });
}

async function copyPieces(
  client: NbdClient,
  file: FileHandle,
  way: 'to device' | 'from device',
): Promise<void> {
  const piece = Buffer.alloc(pieceBytes);
  const { sizeBytes } = client.exported;
  for (let at = 0; at < sizeBytes; at += pieceBytes) {
    const part = piece.subarray(0, Math.min(pieceBytes, sizeBytes - at));
    if (way === 'to device') {
      await file.read(part, 0, part.length, at);
      await client.write(part, at);
    } else {
      await client.read(part, at);
      await file.write(part, 0, part.length, at);
    }
  }
  if (way === 'to device') await client.flush();
}

/** Connects our own client for as long as `use` takes. */
export async function withClient<T>(exported: Export, use: (client: NbdClient) => Promise<T>): Promise<T> {
  const plane = createDataPlane({ arenaBytes });
  try {
    const client = await connectNbd(await plane.connectUnix(exported.socketPath), exported.name);
    try {
      return await use(client);
    } finally {
      await client.close();
    }
  } finally {
    await plane.close();
  }
}
