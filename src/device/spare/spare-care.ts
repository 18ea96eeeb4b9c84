import type { Clock, ScheduledAction } from '../../block/clock.ts';
import { heartbeatIntervalMs, MetadataError, type MetadataStore } from '../../metadata/metadata-store.ts';
import type { EventSink } from '../event-kinds.ts';

/** A replica that left the set is asked again after this long, and after twice as long each time it fails again. */
export const repairDelayMs = 60_000;
export const repairDelayMaxMs = 3_600_000;

export interface SpareCareParts {
  readonly clock: Clock;
  readonly store: Pick<MetadataStore, 'heartbeat' | 'repairReplicas' | 'status'>;
  readonly suspended: () => boolean;
  /** Somebody else has the spare: no more writes, to main either (M11). */
  readonly onTaken: () => void;
  readonly events: EventSink;
}

/** What a spare needs from time to time while it serves: a sign of life (M11), and its lost replicas back (M2). */
export class SpareCare {
  readonly #parts: SpareCareParts;
  #next: ScheduledAction;
  #running: Promise<void> | undefined;
  #ended = false;
  #beatsFailing = false;
  #repairDelayMs: number = repairDelayMs;
  #repairAtMs: number | undefined;
  #inSyncBefore: number;

  constructor(parts: SpareCareParts) {
    this.#parts = parts;
    this.#inSyncBefore = parts.store.status().replicasInSync;
    this.#next = this.#schedule();
  }

  /**
   * Nothing is begun any more; resolves when nothing runs. Ends with one more beat: what closing writes must not go to a
   * spare that somebody took over since the last one.
   */
  async close(): Promise<void> {
    const wasTaken = this.#ended;
    this.#ended = true;
    this.#next.cancel();
    await this.#running;
    if (!wasTaken) await this.#beat();
  }

  #schedule(): ScheduledAction {
    return this.#parts.clock.schedule(heartbeatIntervalMs, () => {
      this.#running = this.#round();
    });
  }

  async #round(): Promise<void> {
    await this.#beat();
    // R30: a suspended device's disks are left alone, but for the sign of life.
    if (!this.#ended && !this.#parts.suspended()) await this.#repair();
    // After the round, not beside it: a spare that is slow is not asked twice at a time.
    if (!this.#ended) this.#next = this.#schedule();
  }

  async #beat(): Promise<void> {
    const { store, events, onTaken } = this.#parts;
    try {
      const failing = !(await store.heartbeat());
      if (failing && !this.#beatsFailing) events.append({ kind: 'heartbeat-failed' });
      this.#beatsFailing = failing;
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      this.#ended = true;
      events.append({ kind: 'spare-taken', detail: error.message });
      onTaken();
    }
  }

  async #repair(): Promise<void> {
    const { store, clock } = this.#parts;
    const before = store.status();
    this.#tellReplicas();
    if (before.state !== 'open' || before.replicasInSync === before.replicasTotal) {
      this.#repairAtMs = undefined;
      this.#repairDelayMs = repairDelayMs;
      return;
    }
    this.#repairAtMs ??= clock.nowMs() + this.#repairDelayMs;
    if (clock.nowMs() < this.#repairAtMs) return;
    await store.repairReplicas();
    this.#repairAtMs = undefined;
    this.#repairDelayMs = Math.min(repairDelayMaxMs, 2 * this.#repairDelayMs);
    this.#tellReplicas();
  }

  #tellReplicas(): void {
    const { store, events } = this.#parts;
    const { replicasInSync: inSync, replicasTotal: total } = store.status();
    const before = this.#inSyncBefore;
    this.#inSyncBefore = inSync;
    if (inSync < before) events.append({ kind: 'replica-lost', inSync, total });
    if (inSync > before) events.append({ kind: 'replica-repaired', inSync, total, detail: '' });
  }
}
