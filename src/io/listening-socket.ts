import { chmodSync, lstatSync, type Stats, unlinkSync } from 'node:fs';
import { Errno, errnoName } from '../block/errno.ts';
import { describeAddress, internetAddress, unixAddress, unixPathBytesMax } from '../linux/socket-address.ts';
import {
  bindSocket,
  closeDescriptor,
  listenOnSocket,
  localAddress,
  openStreamSocket,
  tryConnect,
} from '../linux/socket-calls.ts';
import { StreamError } from './byte-stream.ts';

/** Connections that the kernel keeps for us between two accepts. */
const backlogMax = 128;
/** Out of descriptors or memory: connections wait in the backlog until some are free. */
export const acceptRetryMs = 100;
/** The export carries somebody's disk: only its owner may connect. */
const unixSocketMode = 0o600;

export type ListenErrorCode = 'LISTEN_IN_USE' | 'LISTEN_BAD_ADDRESS' | 'LISTEN_PERMISSION' | 'LISTEN_FAILED';

/** An address that cannot be listened on; one clear line. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: ListenErrorCode;

  constructor(code: ListenErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** A socket that the kernel takes connections on; an engine's listener accepts them. */
export interface ListeningSocket {
  /** Its owner closes it. */
  readonly fd: number;
  /** For messages and `status`: the path, or address and port. */
  readonly address: string;
  /** Removes a Unix socket's path if it is still this one's. */
  readonly removePath: () => void;
}

/**
 * Listens on a Unix socket that only its owner may use. A socket that nobody listens on any more is replaced; one that
 * is served, and anything that is not a socket, is refused and left alone.
 *
 * @throws ListenError
 */
export function listenAtPath(path: string): ListeningSocket {
  if (path === '' || Buffer.byteLength(path) > unixPathBytesMax) {
    throw new ListenError(
      'LISTEN_BAD_ADDRESS',
      `${path}: a socket's path has 1 to ${unixPathBytesMax} bytes`,
    );
  }
  const address = unixAddress(path);
  return orRefuse(path, () => {
    removeStale(path, address);
    return openListener(address, (fd) => {
      // Before listen: nobody can connect yet.
      chmodSync(path, unixSocketMode);
      const ours = lstatSync(path);
      listenOnSocket(fd, backlogMax);
      return { fd, address: path, removePath: () => removeIfOurs(path, ours) };
    });
  });
}

/** Listens on an IP address, or `localhost`; port 0 lets the kernel choose. @throws ListenError */
export function listenAtPort(host: string, port: number): ListeningSocket {
  const address = internetAddress(host === 'localhost' ? '127.0.0.1' : host, port);
  if (address === undefined) throw new ListenError('LISTEN_BAD_ADDRESS', `${host}: not an IP address`);
  return orRefuse(`${host}:${port}`, () =>
    openListener(address, (fd) => {
      listenOnSocket(fd, backlogMax);
      return { fd, address: describeAddress(localAddress(fd)), removePath: () => {} };
    }),
  );
}

function openListener(address: Uint8Array, listen: (fd: number) => ListeningSocket): ListeningSocket {
  const fd = openStreamSocket(address);
  try {
    bindSocket(fd, address);
    return listen(fd);
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

function removeStale(path: string, address: Uint8Array): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new ListenError('LISTEN_IN_USE', `${path}: exists and is not a socket`);
  if (tryConnect(address) !== Errno.ECONNREFUSED) {
    throw new ListenError('LISTEN_IN_USE', `${path}: another process listens there`);
  }
  unlinkSync(path);
}

function removeIfOurs(path: string, ours: Stats): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && found.ino === ours.ino && found.dev === ours.dev) unlinkSync(path);
}

function orRefuse<T>(where: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof ListenError || error instanceof StreamError) throw error;
    if (!(error instanceof Error && 'errno' in error && typeof error.errno === 'number')) throw error;
    const errno = Math.abs(error.errno);
    if (errno === Errno.EADDRINUSE)
      throw new ListenError('LISTEN_IN_USE', `${where}: another process listens there`);
    if (errno === Errno.EACCES || errno === Errno.EPERM) {
      throw new ListenError('LISTEN_PERMISSION', `${where}: permission denied`);
    }
    throw new ListenError('LISTEN_FAILED', `${where}: cannot listen: ${errnoName(errno)}`);
  }
}
