import { AddressFamily } from '../../src/linux/socket-address.ts';
import { bindLibc, checkedResult } from '../../src/linux/system-call.ts';

/** linux/include/linux/net.h, socket.h */
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const datagramBytesMax = 4096;

const socket = bindLibc<(family: number, type: number, protocol: number) => number>('socket', 'int', [
  'int',
  'int',
  'int',
]);
const bind = bindLibc<(fd: number, address: Uint8Array, length: number) => number>('bind', 'int', [
  'int',
  'void *',
  'uint',
]);
const recv = bindLibc<(fd: number, bytes: Uint8Array, length: number, flags: number) => number>(
  'recv',
  'long',
  ['int', 'void *', 'ulong', 'int'],
);
const close = bindLibc<(fd: number) => number>('close', 'int', ['int']);

/** A service manager's end: a real Unix socket for datagrams, which Node has not. */
export class DatagramReceiver {
  readonly #fd: number;

  constructor(address: Uint8Array) {
    this.#fd = checkedResult('socket', socket(AddressFamily.unix, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    checkedResult('bind', bind(this.#fd, address, address.length));
  }

  /** All datagrams that have come since the last call, in their order. */
  received(): string[] {
    const texts: string[] = [];
    const bytes = new Uint8Array(datagramBytesMax);
    for (;;) {
      const length = recv(this.#fd, bytes, bytes.length, MSG_DONTWAIT);
      if (length < 0) return texts;
      texts.push(Buffer.from(bytes.subarray(0, length)).toString());
    }
  }

  close(): void {
    close(this.#fd);
  }
}
