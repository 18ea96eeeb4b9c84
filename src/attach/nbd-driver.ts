import { assert } from '../block/assert.ts';
import { Errno, errnoName } from '../block/errno.ts';
import { BlockingSocket } from '../linux/blocking-socket.ts';
import { SystemCallError } from '../linux/system-call.ts';
import { AttachError } from './attach-error.ts';
import {
  decodeReplies,
  encodeConnect,
  encodeDisconnect,
  encodeFamilyRequest,
  encodeReconnect,
  familyOf,
  indexOf,
  type NbdConnectOptions,
} from './nbd-netlink.ts';

const answerTimeoutMs = 10_000;
const datagramBytesMax = 8192;

/**
 * The kernel's nbd driver. Over netlink, not by nbd-client: that has no way to say how long requests wait for a dead connection
 * and to give a device another connection, and an ioctl of its would keep a process for as long as the device is there.
 */
export class NbdDriver {
  readonly #socket: BlockingSocket;
  readonly #family: number;
  #sequence = 1;

  private constructor(socket: BlockingSocket, family: number) {
    this.#socket = socket;
    this.#family = family;
  }

  /** Undefined where the kernel has none, and has no module of it either: asking loads it. */
  static open(): NbdDriver | undefined {
    const socket = openNetlink();
    if (socket === undefined) return undefined;
    socket.setTimeouts(answerTimeoutMs);
    const { errno, answers } = exchange(socket, encodeFamilyRequest(1), 1);
    const family = answers.map(familyOf).find((one) => one !== undefined);
    if (errno === 0 && family !== undefined) return new NbdDriver(socket, family);
    socket.close();
    return undefined;
  }

  /** The number of the device that is a client on the socket now. Throws `AttachError`. */
  connect(options: NbdConnectOptions): number {
    const answers = this.#ask('connect', (family, sequence) => encodeConnect(family, sequence, options));
    const index = answers.map(indexOf).find((one) => one !== undefined);
    assert(index !== undefined, 'nbd: the kernel connected a device and did not say which');
    return index;
  }

  /** False when the device's connection is not dead yet. */
  reconnect(index: number, socketFd: number, backend: string): boolean {
    const sequence = this.#next();
    const { errno } = exchange(
      this.#socket,
      encodeReconnect(this.#family, sequence, index, socketFd, backend),
      sequence,
    );
    if (errno === Errno.ENOSPC) return false;
    if (errno !== 0) throw refused('reconnect', errno);
    return true;
  }

  disconnect(index: number): void {
    this.#ask('disconnect', (family, sequence) => encodeDisconnect(family, sequence, index));
  }

  close(): void {
    this.#socket.close();
  }

  #next(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  #ask(
    what: string,
    encode: (family: number, sequence: number) => Uint8Array,
  ): readonly ReadonlyMap<number, Uint8Array>[] {
    const sequence = this.#next();
    const { errno, answers } = exchange(this.#socket, encode(this.#family, sequence), sequence);
    if (errno !== 0) throw refused(what, errno);
    return answers;
  }
}

function openNetlink(): BlockingSocket | undefined {
  try {
    return BlockingSocket.genericNetlink();
  } catch (error) {
    if (error instanceof SystemCallError) return undefined;
    throw error;
  }
}

/** Until the kernel acknowledges; what it answered before. */
function exchange(
  socket: BlockingSocket,
  request: Uint8Array,
  sequence: number,
): { readonly errno: number; readonly answers: readonly ReadonlyMap<number, Uint8Array>[] } {
  socket.send(request);
  const answers: ReadonlyMap<number, Uint8Array>[] = [];
  const datagram = new Uint8Array(datagramBytesMax);
  for (;;) {
    const length = socket.receive(datagram);
    if (length <= 0) return { errno: length === 0 ? Errno.EIO : -length, answers };
    for (const reply of decodeReplies(datagram.slice(0, length), sequence)) {
      if (reply.kind === 'acknowledged') return { errno: reply.errno, answers };
      answers.push(reply.attributes);
    }
  }
}

function refused(what: string, errno: number): AttachError {
  const why = errno === Errno.EPERM ? `${errnoName(errno)}: it wants the rights of root` : errnoName(errno);
  return new AttachError('failed', `the kernel's nbd driver refuses to ${what}: ${why}`);
}
