import type { ExportView } from './export-list.ts';
import type { RequestAges, ShowRequest } from './request-ages.ts';
import type { RequestMemory } from './request-memory.ts';
import type { UnfinishedWrites } from './unfinished-writes.ts';

/** What all clients of a server share, for one that does not come over a stream. */
export interface SharedByClients extends ExportView {
  /** Of all clients of the export. */
  readonly unfinishedWrites: UnfinishedWrites;
  /** Of all clients of the server. */
  readonly memory: RequestMemory;
  readonly ages: RequestAges;
  readonly counters: Float64Array;
}

/**
 * A client of a server by another way than the NBD protocol: it takes one of the server's places, and is counted, watched,
 * suspended, refused and closed with the others. What the methods mean: `NbdConnection`.
 */
export interface OtherClient {
  readonly peer: string;
  readonly hasClient: boolean;
  readonly isBusy: boolean;
  readonly requestsInFlight: number;
  /** R7: a flush failed since the client last heard of one. */
  readonly owesFlushFailure: boolean;
  /** Resolves when nothing of it is left. */
  run(): Promise<undefined>;
  showUnanswered(show: ShowRequest): void;
  suspend(): void;
  resume(): void;
  refuse(): void;
  becomesQuiet(): boolean;
  drain(): void;
  drop(): void;
}
