import type { Clock, ScheduledAction } from '../../block/clock.ts';
import type { MappingRecord, MappingStateSource, StateCursor } from '../../metadata/mapping-state.ts';
import { startCursor } from '../../metadata/mapping-state.ts';
import type { MetadataStatus } from '../../metadata/metadata-store.ts';
import { recordsPerPiece, TableCopyEncoder } from '../../metadata/table-copy.ts';
import type { TableCopyHeader } from '../../metadata/table-copy-header.ts';
import type { HostStateStatus } from '../messages.ts';
import { isWorldError } from '../setup-failure.ts';
import type { HostState } from './host-state.ts';

/** M12, M13: how often the writer looks whether something changed, in a wake-up that the heartbeat needs in any case. */
export const lookIntervalMs = 10_000;
/** A commit is in the copy of the table at most this and one look later, with time to write it: within 60 s. */
export const tableDelayMs = 30_000;
/** How often the log may hear that the host state cannot be written. */
export const complaintIntervalMs = 600_000;

export interface HostStateWriterParts {
  readonly clock: Clock;
  readonly state: HostState;
  readonly table: MappingStateSource;
  readonly status: () => MetadataStatus;
  /** What the copy says of its device. */
  readonly device: Pick<
    TableCopyHeader,
    | 'uuid'
    | 'name'
    | 'mainSizeBytes'
    | 'logicalBlockBytes'
    | 'granuleBytes'
    | 'mainIdentity'
    | 'spareIdentity'
  >;
  /** One clause, rarely. */
  readonly complain: (trouble: string) => void;
}

/**
 * Keeps what the host remembers of one device up to date, in the background of the main thread: files are written by libuv,
 * the table is encoded in slices of a millisecond. Nothing waits for it, and a failure stops nothing.
 */
export class HostStateWriter {
  readonly #parts: HostStateWriterParts;
  #timer: ScheduledAction | undefined;
  #running: Promise<void> | undefined;
  #closed = false;
  #writtenSession = '';
  /** Commits and checkpoints that are in the copy on disk; -1 before the first. */
  #copiedCommits = -1;
  #copiedCheckpoints = 0;
  #dirtySinceMs: number | undefined;
  #tableUnixSeconds = 0;
  #spareIdentity: TableCopyHeader['spareIdentity'] | undefined;
  #trouble = '';
  #complainedMs: number | undefined;

  constructor(parts: HostStateWriterParts) {
    this.#parts = parts;
  }

  /** Writes both files soon, then whenever they are due. */
  start(): void {
    this.#look();
  }

  report(): HostStateStatus {
    const { directory } = this.#parts.state;
    return { directory, tableUnixSeconds: this.#tableUnixSeconds, trouble: this.#trouble };
  }

  /** The spare is another disk now: copies of the table written from now on say so. */
  noteSpare(spareIdentity: TableCopyHeader['spareIdentity']): void {
    this.#spareIdentity = spareIdentity;
    this.#copiedCommits = -1;
  }

  /** The session is another one, and that must be known before the next request. Never rejects. */
  async writeSessionNow(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    this.#running = this.#guarded(() => this.#writeSession(false)).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  /** Resolves when nothing is being written. */
  async drained(): Promise<void> {
    await this.#running;
  }

  /** After the metadata is closed: writes what is true now, `clean` when the superblocks say so too. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.drained();
    const clean = this.#parts.status().closedCleanly;
    await this.#guarded(async () => {
      if (this.#isTableStale() || clean) await this.#writeTable(clean);
      await this.#writeSession(clean);
    });
  }

  #look(): void {
    if (this.#closed) return;
    this.#timer = this.#parts.clock.schedule(lookIntervalMs, () => this.#look());
    // One writer at a time: a slow disk is asked again at the next look.
    if (this.#running !== undefined) return;
    this.#running = this.#guarded(() => this.#writeWhatIsDue()).finally(() => {
      this.#running = undefined;
    });
  }

  async #writeWhatIsDue(): Promise<void> {
    await this.#writeSession(false);
    if (this.#isTableDue()) await this.#writeTable(false);
  }

  #isTableStale(): boolean {
    const { commits, checkpoints } = this.#parts.status();
    return commits !== this.#copiedCommits || checkpoints !== this.#copiedCheckpoints;
  }

  #isTableDue(): boolean {
    const { commits, checkpoints } = this.#parts.status();
    if (this.#copiedCommits < 0 || checkpoints !== this.#copiedCheckpoints) return true;
    if (commits === this.#copiedCommits) {
      this.#dirtySinceMs = undefined;
      return false;
    }
    const nowMs = this.#parts.clock.nowMs();
    this.#dirtySinceMs ??= nowMs;
    return nowMs - this.#dirtySinceMs >= tableDelayMs;
  }

  async #writeSession(clean: boolean): Promise<void> {
    const { uuid, acknowledgedSequence, sessionNonce, generation, revision } = this.#parts.status();
    const facts = {
      uuid,
      sequence: acknowledgedSequence,
      sessionNonce,
      generation,
      closedRevision: clean ? revision : 0,
    };
    const key = JSON.stringify(facts);
    if (key === this.#writtenSession) return;
    await this.#parts.state.writeSession({ ...facts, writtenUnixSeconds: this.#nowSeconds() });
    this.#writtenSession = key;
  }

  async #writeTable(complete: boolean): Promise<void> {
    const { state, status, device } = this.#parts;
    // Taken before the pass: whatever is acknowledged during it may be in the copy, all before it is.
    const { commits, checkpoints, acknowledgedSequence, sessionNonce } = status();
    const header: TableCopyHeader = {
      format: 1,
      ...device,
      spareIdentity: this.#spareIdentity ?? device.spareIdentity,
      sequence: acknowledgedSequence,
      sessionNonce,
      complete,
      writtenUnixSeconds: this.#nowSeconds(),
    };
    await state.writeTable(device.uuid, (write) => this.#writePieces(header, write));
    this.#copiedCommits = commits;
    this.#copiedCheckpoints = checkpoints;
    this.#dirtySinceMs = undefined;
    this.#tableUnixSeconds = header.writtenUnixSeconds;
  }

  async #writePieces(header: TableCopyHeader, write: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    const encoder = new TableCopyEncoder();
    await write(encoder.begin(header));
    let cursor: StateCursor | undefined = startCursor;
    while (cursor !== undefined) {
      const slice: { records: MappingRecord[]; cursor: StateCursor | undefined } =
        this.#parts.table.recordsAfter(cursor, recordsPerPiece);
      if (slice.records.length > 0) await write(encoder.records(slice.records));
      cursor = slice.cursor;
    }
    await write(encoder.end());
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#trouble = '';
    } catch (error) {
      if (!(error instanceof Error) || !isWorldError(error)) throw error;
      this.#trouble = `cannot be written: ${error.message}`;
      const nowMs = this.#parts.clock.nowMs();
      if (this.#complainedMs !== undefined && nowMs - this.#complainedMs < complaintIntervalMs) return;
      this.#complainedMs = nowMs;
      this.#parts.complain(this.#trouble);
    }
  }

  #nowSeconds(): number {
    return Math.floor(this.#parts.clock.unixMs() / 1000);
  }
}
