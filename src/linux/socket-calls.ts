import { AddressFamily, socketAddressBytesMax } from './socket-address.ts';
import { bindLibc, checkedResult, lastErrno } from './system-call.ts';

/** linux/include/linux/net.h and asm-generic/fcntl.h */
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SHUT_RDWR = 2;
/** linux/include/uapi/asm-generic/socket.h */
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_KEEPALIVE = 9;
/** linux/include/uapi/linux/in.h and tcp.h */
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;

/** linux/include/linux/socket.h: a peer that has gone is an error to us, never a signal; send all or say how much. */
export const messageFlag = { noSignal: 0x4000, waitAll: 0x100 } as const;

/** linux/include/uapi/asm-generic/poll.h */
const POLLERR = 0x8;
const POLLHUP = 0x10;
const POLLNVAL = 0x20;
const POLLRDHUP = 0x2000;

/** For accept: descriptors are never inherited by a child. */
export const acceptFlags: number = SOCK_CLOEXEC;

const socket = bindLibc<(family: number, type: number, protocol: number) => number>('socket', 'int', [
  'int',
  'int',
  'int',
]);
const addressParameters = ['int', 'void *', 'uint'] as const;
type AddressCall = (fd: number, address: Uint8Array, length: number) => number;
const bind = bindLibc<AddressCall>('bind', 'int', addressParameters);
const connect = bindLibc<AddressCall>('connect', 'int', addressParameters);
const listen = bindLibc<(fd: number, backlog: number) => number>('listen', 'int', ['int', 'int']);
const shutdown = bindLibc<(fd: number, how: number) => number>('shutdown', 'int', ['int', 'int']);
const poll = bindLibc<(entries: Uint8Array, count: number, timeoutMs: number) => number>('poll', 'int', [
  'void *',
  'ulong',
  'int',
]);
const close = bindLibc<(fd: number) => number>('close', 'int', ['int']);
const setsockopt = bindLibc<
  (fd: number, level: number, option: number, value: Int32Array, length: number) => number
>('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint']);
const accept4 = bindLibc<
  (fd: number, address: Uint8Array | null, length: Uint8Array | null, flags: number) => number
>('accept4', 'int', ['int', 'void *', 'void *', 'int']);
type NameCall = (fd: number, address: Uint8Array, length: Uint32Array) => number;
const nameParameters = ['int', 'void *', 'void *'] as const;
const getsockname = bindLibc<NameCall>('getsockname', 'int', nameParameters);
const getpeername = bindLibc<NameCall>('getpeername', 'int', nameParameters);

function familyOf(address: Uint8Array): number {
  return new DataView(address.buffer, address.byteOffset).getUint16(0, true);
}

/** A stream socket of the family of `address`, closed on exec. */
export function openStreamSocket(address: Uint8Array): number {
  return checkedResult('socket', socket(familyOf(address), SOCK_STREAM | SOCK_CLOEXEC, 0));
}

export function bindSocket(fd: number, address: Uint8Array): void {
  if (familyOf(address) !== AddressFamily.unix) setOption(fd, SOL_SOCKET, SO_REUSEADDR, 'SO_REUSEADDR');
  checkedResult('bind', bind(fd, address, address.length));
}

export function listenOnSocket(fd: number, backlog: number): void {
  checkedResult('listen', listen(fd, backlog));
}

/** The descriptor of the next connection to a non-blocking listener, or the negative errno; -EAGAIN when there is none. */
export function acceptNow(fd: number): number {
  const result = accept4(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
  return result < 0 ? -lastErrno() : result;
}

/** An idle peer whose machine has gone, and said nothing, is noticed after 120 s: 60 s, then 6 probes 10 s apart. */
export const keepAliveIdleSeconds = 60;
const keepAliveProbeSeconds = 10;
const keepAliveProbes = 6;

/** For TCP. Small replies leave at once, since a request waits for each of them; a dead peer does not stay connected for ever. */
export function prepareTcpSocket(fd: number): void {
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, 'TCP_NODELAY');
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 'SO_KEEPALIVE');
  setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, 'TCP_KEEPIDLE', keepAliveIdleSeconds);
  setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, 'TCP_KEEPINTVL', keepAliveProbeSeconds);
  setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 'TCP_KEEPCNT', keepAliveProbes);
}

/** Whether the peer of a connected socket has ended its side or is gone, whatever is still to be received. */
export function hasPeerLeft(fd: number): boolean {
  // struct pollfd: fd i32, events i16, revents i16.
  const entry = new DataView(new ArrayBuffer(8));
  entry.setInt32(0, fd, true);
  entry.setInt16(4, POLLRDHUP, true);
  if (poll(new Uint8Array(entry.buffer), 1, 0) <= 0) return false;
  return (entry.getInt16(6, true) & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) !== 0;
}

/** Ends both directions: what waits in the kernel on this socket answers now. Harmless when already ended. */
export function shutdownSocket(fd: number): void {
  shutdown(fd, SHUT_RDWR);
}

export function closeDescriptor(fd: number): void {
  close(fd);
}

/** Errno of one attempt to connect that does not wait, 0 when somebody listens. */
export function tryConnect(address: Uint8Array): number {
  const type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const fd = checkedResult('socket', socket(familyOf(address), type, 0));
  const errno = connect(fd, address, address.length) === 0 ? 0 : lastErrno();
  close(fd);
  return errno;
}

export function localAddress(fd: number): Uint8Array {
  return readName('getsockname', getsockname, fd);
}

/** The other end's address; undefined when it has gone already. */
export function peerAddress(fd: number): Uint8Array | undefined {
  const address = new Uint8Array(socketAddressBytesMax);
  const length = new Uint32Array([address.length]);
  return getpeername(fd, address, length) === 0 ? address.subarray(0, length[0]) : undefined;
}

function readName(name: string, call: NameCall, fd: number): Uint8Array {
  const address = new Uint8Array(socketAddressBytesMax);
  const length = new Uint32Array([address.length]);
  checkedResult(name, call(fd, address, length));
  return address.subarray(0, length[0]);
}

function setOption(fd: number, level: number, option: number, name: string, value = 1): void {
  checkedResult(`setsockopt(${name})`, setsockopt(fd, level, option, new Int32Array([value]), 4));
}
