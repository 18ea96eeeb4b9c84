import { isIPv4, isIPv6 } from 'node:net';
import { assert } from '../block/assert.ts';

/** linux/include/linux/socket.h */
export const AddressFamily = { unix: 1, ipv4: 2, ipv6: 10 } as const;

/** sizeof(sun_path) in linux/include/uapi/linux/un.h, without the closing zero. */
export const unixPathBytesMax = 107;

/** sizeof(struct sockaddr_storage): the kernel never answers with more. */
export const socketAddressBytesMax = 128;

const ipv4AddressBytes = 16;
const ipv6AddressBytes = 28;

/** struct sockaddr_un for a path that fits (`unixPathBytesMax`). */
export function unixAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path);
  assert(name.length > 0 && name.length <= unixPathBytesMax, 'unixAddress: the path does not fit');
  const address = new Uint8Array(2 + name.length + 1);
  new DataView(address.buffer).setUint16(0, AddressFamily.unix, true);
  address.set(name, 2);
  return address;
}

/** struct sockaddr_un for a name that is no file: a zero, then the name to the end of the address (man 7 unix). */
export function abstractAddress(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  assert(bytes.length > 0 && bytes.length <= unixPathBytesMax, 'abstractAddress: the name does not fit');
  const address = new Uint8Array(3 + bytes.length);
  new DataView(address.buffer).setUint16(0, AddressFamily.unix, true);
  address.set(bytes, 3);
  return address;
}

/** struct sockaddr_in or sockaddr_in6; undefined when `host` is not the text of an IP address. */
export function internetAddress(host: string, port: number): Uint8Array | undefined {
  if (isIPv4(host)) return ipv4Address(host, port);
  if (isIPv6(host) && !host.includes('%')) return ipv6Address(host, port);
  return undefined;
}

/** `127.0.0.1:10809`, `[::1]:10809`, or `unix` for a Unix socket. */
export function describeAddress(address: Uint8Array): string {
  const fields = new DataView(address.buffer, address.byteOffset, address.byteLength);
  const family = fields.getUint16(0, true);
  if (family === AddressFamily.ipv4)
    return `${address.subarray(4, 8).join('.')}:${fields.getUint16(2, false)}`;
  if (family !== AddressFamily.ipv6) return 'unix';
  const groups = Array.from({ length: 8 }, (_, index) => fields.getUint16(8 + index * 2, false).toString(16));
  // One name for one address: `URL` writes the short form of RFC 5952.
  return `${new URL(`http://[${groups.join(':')}]/`).hostname}:${fields.getUint16(2, false)}`;
}

function ipv4Address(host: string, port: number): Uint8Array {
  const address = new Uint8Array(ipv4AddressBytes);
  const fields = new DataView(address.buffer);
  fields.setUint16(0, AddressFamily.ipv4, true);
  fields.setUint16(2, port, false);
  address.set(host.split('.').map(Number), 4);
  return address;
}

function ipv6Address(host: string, port: number): Uint8Array {
  const address = new Uint8Array(ipv6AddressBytes);
  const fields = new DataView(address.buffer);
  fields.setUint16(0, AddressFamily.ipv6, true);
  fields.setUint16(2, port, false);
  // `URL` turns a dotted tail into groups and validates; `::` stands for as many zero groups as are missing.
  const [front = '', back = ''] = new URL(`http://[${host}]/`).hostname.slice(1, -1).split('::');
  const head = front === '' ? [] : front.split(':');
  const tail = back === '' ? [] : back.split(':');
  const groups = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => '0'), ...tail];
  for (const [index, group] of groups.entries()) {
    fields.setUint16(8 + index * 2, Number.parseInt(group, 16), false);
  }
  return address;
}
