import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { CommandFailure, runCommand } from './command.ts';
import type { Contestant } from './contestant.ts';
import { startServerProcess } from './server-process.ts';
import { BenchRefusal, findTool } from './tools.ts';

/** What the neighbours serve, and where their sockets go. */
export interface Served {
  readonly folder: string;
  readonly imagePath: string;
  readonly imageBytes: number;
}

/** Locking is off because the file is open in the others too; they never work at one time. */
export function startQemuNbd(
  served: Served,
  aio: 'threads' | 'io_uring',
  cache: 'writeback' | 'none',
): Promise<Contestant> {
  const socketPath = join(served.folder, `qemu-${aio}-${cache}.sock`);
  const direct = cache === 'none' ? ',file.cache.direct=on' : '';
  return startServerProcess({
    name: `qemu-nbd ${aio}${cache === 'none' ? ' O_DIRECT' : ''}`,
    program: findTool('qemu-nbd') ?? 'qemu-nbd',
    words: [
      '--socket',
      socketPath,
      '--persistent',
      '--shared=8',
      `--cache=${cache}`,
      `--aio=${aio}`,
      '--image-opts',
      `driver=raw,file.driver=file,file.filename=${served.imagePath},file.locking=off${direct}`,
    ],
    socketPath,
  });
}

/** `threads` undefined is nbdkit's default, 16. */
export function startNbdkitFile(served: Served, threads?: number): Promise<Contestant> {
  const socketPath = join(served.folder, `nbdkit-${threads ?? 'default'}.sock`);
  return startServerProcess({
    name: threads === undefined ? 'nbdkit file' : `nbdkit file -t ${threads}`,
    program: findTool('nbdkit') ?? 'nbdkit',
    words: [
      '--foreground',
      ...(threads === undefined ? [] : ['--threads', String(threads)]),
      '--unix',
      socketPath,
      'file',
      served.imagePath,
    ],
    socketPath,
  });
}

/** No file at all: what nbdkit's protocol costs by itself. Its bytes are zeroes. */
export async function startNbdkitMemory(served: Served): Promise<Contestant> {
  const socketPath = join(served.folder, 'nbdkit-memory.sock');
  const server = await startServerProcess({
    name: 'nbdkit memory',
    program: findTool('nbdkit') ?? 'nbdkit',
    words: ['--foreground', '--unix', socketPath, 'memory', String(served.imageBytes)],
    socketPath,
  });
  return { ...server, servesImage: false };
}

export function startNbdServer(served: Served): Promise<Contestant> {
  const socketPath = join(served.folder, 'nbd-server.sock');
  const configPath = join(served.folder, 'nbd-server.conf');
  const lines = [
    '[generic]',
    `unixsock = ${socketPath}`,
    // It always opens a TCP socket too: on the loopback, and nobody is told of it.
    'listenaddr = 127.0.0.1',
    'port = 10899',
    '[image]',
    `exportname = ${served.imagePath}`,
  ];
  writeFileSync(configPath, `${lines.join('\n')}\n`);
  return startServerProcess({
    name: 'nbd-server',
    program: findTool('nbd-server') ?? 'nbd-server',
    words: ['--dont-fork', '--config-file', configPath],
    socketPath,
    exportName: 'image',
  });
}

/** Our server without remap target and metadata: what the remap target costs is the difference. */
export function startLinearServer(served: Served): Promise<Contestant> {
  const socketPath = join(served.folder, 'linear.sock');
  const program = fileURLToPath(new URL('./linear-server.js', import.meta.url));
  return startServerProcess({
    name: 'dm-remap, linear',
    program: process.execPath,
    words: [program, served.imagePath, socketPath],
    socketPath,
  });
}

/**
 * Throws when an export does not begin with the image's bytes; compared by a program that is none of the servers. What lies
 * behind them is not looked at.
 */
export async function requireImageBytes(
  { name, target }: Contestant,
  served: Served,
  signal: AbortSignal,
): Promise<void> {
  if (target.kind !== 'nbd') return;
  const { pathname, searchParams } = new URL(target.uri);
  const exported = [
    'driver=raw',
    'offset=0',
    `size=${served.imageBytes}`,
    'file.driver=nbd',
    'file.server.type=unix',
    `file.server.path=${searchParams.get('socket')}`,
    `file.export=${pathname.slice(1)}`,
  ];
  const words = ['compare', '--image-opts', `driver=raw,file.driver=file,file.filename=${served.imagePath}`];
  try {
    await runCommand(findTool('qemu-img') ?? 'qemu-img', [...words, exported.join(',')], { signal });
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    throw new BenchRefusal(`${name} does not serve the bytes of the image: ${error.message}`);
  }
}
