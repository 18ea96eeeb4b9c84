import { closeSync, existsSync, fsyncSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ByteStream, streamErrorOf } from '../io/byte-stream.ts';
import { BlockingSocket } from '../linux/blocking-socket.ts';
import { unixAddress } from '../linux/socket-address.ts';
import { type RemoteExport, shakeHands } from '../nbd/client-handshake.ts';
import { TransmissionFlag } from '../nbd/constants.ts';
import { handshakeBufferBytes } from '../nbd/handshake.ts';
import { StreamReader } from '../nbd/stream-reader.ts';
import { AttachError } from './attach-error.ts';
import { openClaimed } from './loop-attachment.ts';
import { NbdDriver } from './nbd-driver.ts';

const handshakeTimeoutMs = 10_000;
/** The kernel sees at once that a connection is dead, in work that it does besides. */
const deadDeadlineMs = 5_000;
const pollMs = 20;
const disconnectDeadlineMs = 10_000;

/**
 * After a new connection the driver sends again what was under way on the old one when that request's timer ends, 30 s by
 * default (drivers/block/nbd.c, nbd_xmit_timeout with a timeout of 0). The timer does nothing else but write a line to the
 * kernel's log about a request that is slow.
 */
const resendTimerMs = 5_000;

export interface NbdAttachmentOptions {
  readonly socketPath: string;
  readonly exportName: string;
  readonly logicalBlockBytes: number;
  readonly readOnly: boolean;
  readonly queueSeconds: number;
  /** What the kernel knows it by. */
  readonly backend: string;
}

/** Whether this kernel has nbd, now or as a module. */
export function hasNbd(): boolean {
  const driver = NbdDriver.open();
  driver?.close();
  return driver !== undefined;
}

/** Makes a device of the nbd driver a client of the export; its name. Throws `AttachError`. */
export async function attachNbd(options: NbdAttachmentOptions): Promise<string> {
  return await withConnection(options, (driver, socketFd, exported) => {
    const { logicalBlockBytes: blockBytes, readOnly, queueSeconds, backend } = options;
    const { sizeBytes } = exported;
    const serverFlags = flagsOf(exported, readOnly);
    const index = driver.connect({ sizeBytes, blockBytes, serverFlags, socketFd, queueSeconds, backend });
    const timer = `/sys/block/nbd${index}/queue/io_timeout`;
    if (existsSync(timer)) writeFileSync(timer, String(resendTimerMs));
    return `nbd${index}`;
  });
}

/** Gives the device, whose server died, a connection to the one that serves now: its requests go on. Throws `AttachError`. */
export async function reconnectNbd(deviceName: string, options: NbdAttachmentOptions): Promise<void> {
  await withConnection(options, async (driver, socketFd) => {
    for (
      let waitedMs = 0;
      !driver.reconnect(indexOfName(deviceName), socketFd, options.backend);
      waitedMs += pollMs
    ) {
      if (waitedMs >= deadDeadlineMs) {
        throw new AttachError('busy', `/dev/${deviceName}: is connected to another server`);
      }
      await sleep(pollMs);
    }
  });
}

/** Makes what was written durable and takes the device down. Throws `AttachError` busy when somebody has claimed it. */
export async function detachNbd(deviceName: string, isServed: boolean): Promise<void> {
  const path = `/dev/${deviceName}`;
  if (isServed) {
    const fd = openClaimed(path);
    try {
      fsyncSync(fd);
      disconnectNbd(deviceName);
    } finally {
      closeSync(fd);
    }
  } else disconnectNbd(deviceName);
  for (let waitedMs = 0; existsSync(`/sys/block/${deviceName}/pid`); waitedMs += pollMs) {
    if (waitedMs >= disconnectDeadlineMs)
      throw new AttachError('busy', `${path}: the kernel does not let go of it`);
    await sleep(pollMs);
  }
}

/** Whoever still uses it gets errors from now on. */
export function disconnectNbd(deviceName: string): void {
  const driver = openDriver();
  try {
    driver.disconnect(indexOfName(deviceName));
  } finally {
    driver.close();
  }
}

async function withConnection<T>(
  { socketPath, exportName }: NbdAttachmentOptions,
  work: (driver: NbdDriver, socketFd: number, exported: RemoteExport) => T | Promise<T>,
): Promise<T> {
  const driver = openDriver();
  const socket = BlockingSocket.unix(unixAddress(socketPath));
  try {
    socket.setTimeouts(handshakeTimeoutMs);
    const stream = new BlockingStream(socket);
    const exported = await shakeHands(
      stream,
      new StreamReader(stream, handshakeBufferBytes),
      exportName,
      false,
    );
    // The kernel takes the socket over as it is.
    socket.setTimeouts(0);
    return await work(driver, socket.fd, exported);
  } finally {
    socket.close();
    driver.close();
  }
}

function openDriver(): NbdDriver {
  const driver = NbdDriver.open();
  if (driver === undefined)
    throw new AttachError('failed', 'this kernel has no nbd driver; --driver loop does without');
  return driver;
}

/** What the kernel's client makes use of. */
function flagsOf(exported: RemoteExport, readOnly: boolean): number {
  const { hasFlags, sendFlush, sendFua, rotational, sendTrim, sendWriteZeroes } = TransmissionFlag;
  return (
    hasFlags |
    (readOnly || exported.readOnly ? TransmissionFlag.readOnly : 0) |
    (exported.flush ? sendFlush : 0) |
    (exported.fua ? sendFua : 0) |
    (exported.rotational ? rotational : 0) |
    (exported.trim ? sendTrim : 0) |
    (exported.writeZeroes ? sendWriteZeroes : 0)
  );
}

function indexOfName(deviceName: string): number {
  return Number(deviceName.slice('nbd'.length));
}

/** For a handshake by a program that has nothing else to do. */
class BlockingStream implements ByteStream {
  readonly peer = 'unix';
  readonly #socket: BlockingSocket;

  constructor(socket: BlockingSocket) {
    this.#socket = socket;
  }

  receive(target: Uint8Array): Promise<number> {
    const result = this.#socket.receive(target);
    return result < 0 ? Promise.reject(streamErrorOf(this.peer, -result)) : Promise.resolve(result);
  }

  send(parts: readonly Uint8Array[]): Promise<void> {
    for (const part of parts) this.#socket.send(part);
    return Promise.resolve();
  }

  peerHasLeft(): boolean {
    return false;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
