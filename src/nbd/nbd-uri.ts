/** Where an NBD server listens, and which of its exports is meant. */
export interface NbdAddress {
  /** The URI, as it was given: the only name that such a disk has. */
  readonly uri: string;
  /** "" is the default export. */
  readonly exportName: string;
  readonly place:
    | { readonly transport: 'unix'; readonly path: string }
    | { readonly transport: 'tcp'; readonly host: string; readonly port: number };
}

/** https://www.iana.org/assignments/service-names-port-numbers: nbd */
const defaultPort = 10_809;

const schemes: readonly string[] = ['nbd:', 'nbd+unix:', 'nbds:', 'nbds+unix:', 'nbd+vsock:', 'nbds+vsock:'];

/** True for what is meant as an NBD URI, well-formed or not. A path that begins so needs a `./` in front. */
export function looksLikeNbdUri(text: string): boolean {
  return schemes.some((scheme) => text.startsWith(scheme));
}

/**
 * Reads `nbd://HOST[:PORT]/EXPORT` and `nbd+unix:///EXPORT?socket=PATH`
 * (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md). A text is the complaint, one line.
 */
export function parseNbdUri(text: string): NbdAddress | string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return `${text}: is no URI, expected nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH`;
  }
  const exportName = decoded(url.pathname.replace(/^\//, ''));
  if (exportName === undefined) return `${text}: the export's name is not percent-encoded UTF-8`;
  if (url.protocol === 'nbd+unix:') {
    const path = url.searchParams.get('socket') ?? '';
    if (path === '') return `${text}: names no socket, expected nbd+unix:///EXPORT?socket=PATH`;
    return { uri: text, exportName, place: { transport: 'unix', path } };
  }
  if (url.protocol !== 'nbd:') return `${text}: only nbd: and nbd+unix: are served, TLS and vsock are not`;
  if (url.hostname === '') return `${text}: names no host, expected nbd://HOST:PORT/EXPORT`;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? defaultPort : Number(url.port);
  return { uri: text, exportName, place: { transport: 'tcp', host, port } };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
