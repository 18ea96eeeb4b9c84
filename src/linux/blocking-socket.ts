import { bindLibc, checkedResult, lastErrno } from './system-call.ts';

/** linux/include/linux/socket.h and net.h */
const AF_UNIX = 1;
const AF_NETLINK = 16;
const SOCK_STREAM = 1;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_GENERIC = 16;
const MSG_NOSIGNAL = 0x4000;
/** linux/include/uapi/asm-generic/socket.h */
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;

const socket = bindLibc<(family: number, type: number, protocol: number) => number>('socket', 'int', [
  'int',
  'int',
  'int',
]);
const connect = bindLibc<(fd: number, address: Uint8Array, length: number) => number>('connect', 'int', [
  'int',
  'void *',
  'uint',
]);
type TransferCall = (fd: number, bytes: Uint8Array, length: number, flags: number) => number;
const send = bindLibc<TransferCall>('send', 'intptr_t', ['int', 'void *', 'size_t', 'int']);
const recv = bindLibc<TransferCall>('recv', 'intptr_t', ['int', 'void *', 'size_t', 'int']);
const setsockopt = bindLibc<
  (fd: number, level: number, option: number, value: Uint8Array, length: number) => number
>('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint']);
const close = bindLibc<(fd: number) => number>('close', 'int', ['int']);

/**
 * A socket whose calls wait, for programs that do one thing after the other, and for a descriptor that the kernel is to take over:
 * it belongs to no event loop.
 */
export class BlockingSocket {
  readonly fd: number;
  #closed = false;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Connected to a Unix socket, by its `sockaddr_un`. Throws `SystemCallError`. */
  static unix(address: Uint8Array): BlockingSocket {
    const opened = new BlockingSocket(
      checkedResult('socket', socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
    );
    return opened.#connected(address);
  }

  /** To the kernel's generic netlink. */
  static genericNetlink(): BlockingSocket {
    const opened = new BlockingSocket(
      checkedResult('socket', socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC)),
    );
    // struct sockaddr_nl: family u16, pad u16, pid u32, groups u32; pid 0 is the kernel.
    const address = new Uint8Array(12);
    address[0] = AF_NETLINK;
    return opened.#connected(address);
  }

  /** No call waits longer; 0: for ever. */
  setTimeouts(timeoutMs: number): void {
    // struct timeval
    const time = new BigInt64Array([BigInt(Math.floor(timeoutMs / 1000)), BigInt((timeoutMs % 1000) * 1000)]);
    for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) {
      checkedResult('setsockopt', setsockopt(this.fd, SOL_SOCKET, option, new Uint8Array(time.buffer), 16));
    }
  }

  /** Sends all of it. Throws `SystemCallError`. */
  send(bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0; ) {
      rest = rest.subarray(checkedResult('send', send(this.fd, rest, rest.length, MSG_NOSIGNAL)));
    }
  }

  /** Bytes received, 0 when the other end has closed, or the negative errno. */
  receive(target: Uint8Array): number {
    const result = recv(this.fd, target, target.length, 0);
    return result < 0 ? -lastErrno() : result;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    close(this.fd);
  }

  #connected(address: Uint8Array): BlockingSocket {
    try {
      checkedResult('connect', connect(this.fd, address, address.length));
      return this;
    } catch (error) {
      this.close();
      throw error;
    }
  }
}
