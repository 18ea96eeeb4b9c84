import { MetadataError, type MetadataStore } from '../../metadata/metadata-store.ts';
import type { EventSink } from '../event-kinds.ts';
import { disksOf, type OpenedMain } from '../stack/disks.ts';
import { type IdentityRecord, identityRecord } from './main-identity.ts';

/** Under this key beside main's identity in the superblock: a file under main was cut while it was served. */
export const cutKey = 'cut';

/** A file under main was cut, and has its old size again or not: what it says of itself is true, what it holds is not. */
export function describeCut(recorded: IdentityRecord): string | undefined {
  const hasBytes = recorded[cutKey];
  if (hasBytes === undefined) return undefined;
  return `it was cut to ${hasBytes} bytes while it was served, and what lay behind is lost`;
}

/** Image files that were cut while they are served (`FileSizeWatch`). */
export class CutFiles {
  readonly #events: EventSink;
  readonly #hasBytes = new Map<string, number>();
  /** Main and where it is remembered, once it is served. */
  #recording: { readonly main: OpenedMain; readonly store: MetadataStore } | undefined;
  #recorded: Promise<void> = Promise.resolve();

  constructor(events: EventSink) {
    this.#events = events;
  }

  note(path: string, hadBytes: number, hasBytes: number): void {
    this.#hasBytes.set(path, hasBytes);
    this.#events.append({ kind: 'file-cut', path, hadBytes, hasBytes });
    if (this.#recording !== undefined) this.#recorded = this.#record();
  }

  /** From here on it is remembered on the spare when main is cut: given back its size, main would look as it should. */
  record(main: OpenedMain, store: MetadataStore): void {
    this.#recording = { main, store };
    this.#recorded = this.#record();
  }

  /** Resolves to true when main was cut; that is then remembered, where the spare can be written. */
  async mainWasCut(): Promise<boolean> {
    await this.#recorded;
    return this.#mainHasBytes() !== undefined;
  }

  #mainHasBytes(): number | undefined {
    if (this.#recording === undefined) return undefined;
    for (const { path } of disksOf(this.#recording.main)) {
      const hasBytes = this.#hasBytes.get(path);
      if (hasBytes !== undefined) return hasBytes;
    }
    return undefined;
  }

  async #record(): Promise<void> {
    const hasBytes = this.#mainHasBytes();
    if (hasBytes === undefined || this.#recording === undefined) return;
    const { main, store } = this.#recording;
    try {
      const mainIdentity = { ...identityRecord(main), [cutKey]: String(hasBytes) };
      await store.updateProperties({ mainIdentity });
    } catch (error) {
      // A spare that takes no more writes: the event log has it, and closing says so itself.
      if (!(error instanceof MetadataError)) throw error;
    }
  }
}
