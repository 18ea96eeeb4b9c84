import { AddressFamily } from './socket-address.ts';
import { bindLibc, checkedResult, lastErrno } from './system-call.ts';

/** linux/include/linux/net.h and socket.h, asm-generic/fcntl.h */
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;

const socket = bindLibc<(family: number, type: number, protocol: number) => number>('socket', 'int', [
  'int',
  'int',
  'int',
]);
const close = bindLibc<(fd: number) => number>('close', 'int', ['int']);
const sendto = bindLibc<
  (
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    addressLength: number,
  ) => number
>('sendto', 'long', ['int', 'void *', 'ulong', 'int', 'void *', 'uint']);

/** Unix sockets for datagrams, which Node has not: to say something to a service manager. Never waits. */
export class DatagramSocket {
  #fd: number;

  /** Throws `SystemCallError`. */
  constructor() {
    const type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    this.#fd = checkedResult('socket', socket(AddressFamily.unix, type, 0));
  }

  /** One datagram to `address` (struct sockaddr_un). The errno, 0 when the kernel has taken it. */
  send(address: Uint8Array, bytes: Uint8Array): number {
    const sent = sendto(this.#fd, bytes, bytes.length, MSG_NOSIGNAL, address, address.length);
    return sent < 0 ? lastErrno() : 0;
  }

  close(): void {
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1;
  }
}
