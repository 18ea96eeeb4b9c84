import type { FioTarget } from './fio.ts';

/** Something that gives the bytes to a client: an NBD server that runs and answers, or the file itself. */
export interface Contestant {
  /** Row label, unique. */
  readonly name: string;
  readonly target: FioTarget;
  /** Of the server; undefined where there is none. */
  readonly pid: number | undefined;
  /** It serves the image's bytes, which are compared before anything is timed. */
  readonly servesImage: boolean;
  stop(): Promise<void>;
}

/** The file without a server between: what no server can be faster than. */
export function rawFile(path: string, direct: boolean): Contestant {
  return {
    name: direct ? 'raw file, O_DIRECT' : 'raw file',
    target: { kind: 'file', path, direct },
    pid: undefined,
    servesImage: false,
    stop: () => Promise.resolve(),
  };
}
