import { lstatSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { socketPathBytesMax } from '../device/process/runtime-directory.ts';
import { SetupError } from '../device/setup-error.ts';

/** Looked at before the spare is formatted, so that a typing error in `--socket` or `--port` costs nothing. */
export async function refuseTakenExport(
  socketPath: string | undefined,
  port: number | undefined,
): Promise<void> {
  if (socketPath !== undefined) await refuseSocketPath(socketPath);
  if (port !== undefined) await refusePort(port);
}

/** A socket that is there and that nobody listens on is a stale one; the device's process takes its place. */
async function refuseSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    throw new SetupError(
      'usage',
      `--socket ${path}: longer than the ${socketPathBytesMax} bytes of a socket's path; choose a shorter one`,
    );
  }
  if (statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new SetupError('not-found', `--socket ${path}: there is no folder ${dirname(path)}`);
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new SetupError('busy', `--socket ${path}: exists and is not a socket`);
  if (await isListenedOn(path)) {
    throw new SetupError('busy', `--socket ${path}: another process listens there`);
  }
}

function isListenedOn(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const answer = (listened: boolean): void => {
      socket.destroy();
      resolve(listened);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}

function refusePort(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      const why = taken ? 'another process listens there' : error.message;
      reject(new SetupError(taken ? 'busy' : 'failed', `--port ${port}: ${why}`, { cause: error }));
    });
    server.listen(port, '127.0.0.1', () => server.close(() => resolve()));
  });
}
