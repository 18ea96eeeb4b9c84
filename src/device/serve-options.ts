import type { EngineChoice } from '../io/io-engine.ts';
import type { ChosenPolicies } from './stack/chosen-policies.ts';

/** What lies under a device as its main: one disk or image, or a device-mapper table over some (the fault lab). */
export type MainChoice =
  | { readonly kind: 'path'; readonly path: string }
  /** `label` is where the text came from, for messages: a path, or `-`. */
  | { readonly kind: 'table'; readonly text: string; readonly label: string };

export type CacheMode = 'none' | 'writeback';

/** Everything that one device's process is started with. */
export interface ServeOptions {
  readonly cache: CacheMode;
  /** Default: what `DM_REMAP_IO` says, else io_uring where it is to be had, else libuv. */
  readonly io?: EngineChoice;
  /** Default: the name that the spare remembers. */
  readonly name?: string;
  /** Empty with `withoutSpare`. */
  readonly sparePath: string;
  /** M13: main alone, read-only, over this host's copy of the table; `name` says of which device. */
  readonly withoutSpare?: boolean;
  /** Default: where the spare last saw its main. */
  readonly main?: MainChoice;
  /** Policies that replace the stored ones. */
  readonly policies?: ChosenPolicies;
  /** The export's Unix socket; default: `nbd.sock` in the device's folder. */
  readonly socketPath?: string;
  /** Also export on 127.0.0.1 at this port. */
  readonly port?: number;
  /** Memory for requests of clients, in bytes; `requestMemory` has the default and the bounds. */
  readonly requestMemoryBytes?: number;
  /** Open from a set of replicas that is not the in-sync one; acknowledged records may be missing. */
  readonly force: boolean;
  /** Take the spare from whoever marks it as in use (M11). */
  readonly takeover?: boolean;
  /** Take a main that is not the one the spare remembers. */
  readonly acceptMain: boolean;
  /** Take a main that somebody wrote to since the last clean close. */
  readonly acceptChanges: boolean;
}

/** The line that a starting process writes to its starter, as JSON. */
export type ReadinessReport =
  | {
      readonly ready: true;
      readonly name: string;
      readonly exports: readonly string[];
      readonly notes: readonly string[];
    }
  | { readonly ready: false; readonly exitCode: number; readonly message: string };
