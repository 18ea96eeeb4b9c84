import { lookup } from 'node:dns';
import { internetAddress } from '../linux/socket-address.ts';
import { StreamError } from './byte-stream.ts';

/** The resolver's own patience is 30 s with two silent name servers; the answer that comes later is for nobody. */
export const lookupTimeoutMs = 5_000;
/** Addresses of one name that are tried. */
const addressesMax = 8;

/** What finds the addresses of a name; `node:dns` outside of tests. */
export type LookUp = (
  host: string,
  options: { readonly all: true; readonly order: 'verbatim' },
  answered: (error: NodeJS.ErrnoException | null, addresses: readonly { readonly address: string }[]) => void,
) => void;

export interface HostAddress {
  /** The text of an IP address. */
  readonly ip: string;
  /** struct sockaddr of it. */
  readonly bytes: Uint8Array;
}

/** The addresses to try for a host name or an IP address, in order, at least one. Rejects with `StreamError`. */
export async function hostAddresses(
  host: string,
  port: number,
  lookUp: LookUp = lookup,
): Promise<readonly HostAddress[]> {
  // The server of this machine listens on the one address that everybody means by it.
  const ip = host === 'localhost' ? '127.0.0.1' : host;
  const bytes = internetAddress(ip, port);
  if (bytes !== undefined) return [{ ip, bytes }];
  const found = (await ask(host, lookUp)).flatMap((address) => {
    const known = internetAddress(address, port);
    return known === undefined ? [] : [{ ip: address, bytes: known }];
  });
  if (found.length === 0) throw new StreamError('STREAM_FAILED', `${host}: this name has no usable address`);
  return found.slice(0, addressesMax);
}

function ask(host: string, lookUp: LookUp): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(new StreamError('STREAM_FAILED', `${host}: ${why}`));
    const timer = setTimeout(() => {
      fail(`no name server has answered in ${lookupTimeoutMs / 1000} s`);
    }, lookupTimeoutMs);
    lookUp(host, { all: true, order: 'verbatim' }, (error, addresses) => {
      clearTimeout(timer);
      if (error === null) resolve(addresses.map(({ address }) => address));
      else fail(`not an IP address, and no host of this name is known (${error.code ?? error.message})`);
    });
  });
}
